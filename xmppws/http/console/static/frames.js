// The pane of frames: what passes on the WebSocket, without what proves the password.

import { NS, NotWellFormed, parse, serialize } from "./xml.js";

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

/** Return the message without passwords, the data of SASL and SASL2 (XEP-0388), and the tokens of FAST (XEP-0484). */
export function withoutSecrets(text) {
  try {
    const root = parse(text);
    const secrets = [root, ...root.querySelectorAll("*")].filter(isSecret);
    if (secrets.length === 0) return text;
    secrets.forEach(hide);
    return serialize(root);
  } catch (error) {
    if (error instanceof NotWellFormed) return text;
    throw error;
  }
}

const SECRET_CONTENT = {
  [NS.sasl]: new Set(["auth", "challenge", "response", "success"]),
  [NS.sasl2]: new Set(["initial-response", "challenge", "response", "additional-data", "task-data"]),
  [NS.register]: new Set(["password"]),
};

function isSecret(found) {
  return found.namespaceURI === NS.fast ? found.hasAttribute("token") : SECRET_CONTENT[found.namespaceURI]?.has(found.localName);
}

function hide(found) {
  if (found.hasAttribute("token")) found.setAttribute("token", "(hidden)");
  else if (found.textContent) found.textContent = "(hidden)";
}
