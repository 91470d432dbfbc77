// The pane of frames: what passes on the WebSocket, without what proves the password.

import { NS, NotWellFormed, element, parse, serialize } from "./xml.js";

const MOST_FRAMES = 300;
const ARROWS = { sent: "→", received: "←", note: "!" };

export class Frames {
  #list;
  #count;
  #total = 0;

  constructor(list, count) {
    this.#list = list;
    this.#count = count;
  }

  /** Add a message that was "sent" or "received", or a "note" about one. */
  add(direction, text) {
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    const entry = document.createElement("li");
    const arrow = document.createElement("span");
    const content = document.createElement("code");
    entry.className = direction;
    arrow.textContent = ARROWS[direction];
    arrow.setAttribute("aria-label", direction);
    content.textContent = direction === "note" ? text : withoutSecrets(text);
    entry.append(arrow, content);
    this.#list.append(entry);
    if (this.#list.children.length > MOST_FRAMES) this.#list.firstChild.remove();
    this.#total += 1;
    this.#count.textContent = `(${this.#total})`;
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  clear() {
    this.#list.replaceChildren();
    this.#total = 0;
    this.#count.textContent = "";
  }
}

/** Return the message with the content of <auth/>, <challenge/>, <response/> and <success/> left out. */
export function withoutSecrets(text) {
  try {
    const root = parse(text);
    if (root.namespaceURI !== NS.sasl || root.localName === "failure" || !root.textContent) return text;
    return serialize(element(NS.sasl, root.localName, { mechanism: root.getAttribute("mechanism") }, "(hidden)"));
  } catch (error) {
    if (error instanceof NotWellFormed) return text;
    throw error;
  }
}
