// RFC 7395: an XMPP stream over a WebSocket. Each message is one complete XML element; the stream's header and footer
// are the elements <open/> and <close/>.

import { NS, NotWellFormed, child, childText, element, is, parse, serialize } from "./xml.js";

const CONNECT_TIMEOUT = 20_000;
const CLOSE_TIMEOUT = 5000;

export class Stream {
  #socket;
  #inbox = [];
  #waiting = null;
  #error = null;
  #end = null;
  #closeSent = false;
  #onFrame;

  /** Connect to a URL. `onFrame(direction, text)` sees every message, "sent" or "received". */
  constructor(url, onFrame) {
    this.#onFrame = onFrame;
    // Section 3.1: the client must ask for the subprotocol "xmpp".
    this.#socket = new WebSocket(url, "xmpp");
    this.#socket.addEventListener("message", ({ data }) => this.#received(data));
    this.#socket.addEventListener("close", (event) => this.#closed(event));
  }

  /** Wait until the socket is open. Rejects with `Unreachable`. */
  connected() {
    const timer = setTimeout(() => this.#socket.close(), CONNECT_TIMEOUT);
    return new Promise((resolve, reject) => {
      this.#socket.addEventListener("open", () => resolve(clearTimeout(timer)));
      this.#socket.addEventListener("close", (event) => reject(new Unreachable(event, null)));
    });
  }

  /** Open the stream, or restart it after authentication (section 3.7); return the server's features. */
  async open(domain) {
    this.send(element(NS.framing, "open", { to: domain, version: "1.0" }));
    const opened = await this.receive();
    if (!is(opened, NS.framing, "open")) throw new Error(`the server answered <${opened.localName}/> to <open/>`);
    const features = await this.receive();
    if (!is(features, NS.stream, "features")) throw new Error(`the server sent <${features.localName}/>, not its features`);
    return features;
  }

  /** Send one element as one message. After the end nothing is sent: `receive` tells why. */
  send(root) {
    this.sendText(serialize(root));
  }

  /** Send an element that is written already. */
  sendText(text) {
    if (this.#socket.readyState !== WebSocket.OPEN || this.#closeSent) return;
    this.#onFrame("sent", text);
    this.#socket.send(text);
  }

  /** Return the next element, in the order of the stream. Rejects with `StreamEnded` when there will be none. */
  receive() {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#deliver();
    });
  }

  /** Close the stream. The server answers with its own <close/> and then closes the socket (section 3.6). */
  close() {
    if (this.#closeSent) return;
    const patience = this.#socket.readyState === WebSocket.OPEN ? CLOSE_TIMEOUT : 0;
    this.send(element(NS.framing, "close"));
    this.#closeSent = true;
    setTimeout(() => this.#giveUp(), patience);
  }

  /** Give a dead socket up: `receive` rejects with this error. */
  abandon(error) {
    this.#end ??= error;
    this.#socket.close();
    this.#deliver();
  }

  // The browser would wait for the server's close frame much longer.
  #giveUp() {
    this.#socket.close();
    this.#closed({ code: 1006, reason: "" });
  }

  #received(text) {
    this.#onFrame("received", text);
    try {
      const root = parse(text);
      if (is(root, NS.framing, "close")) this.close();
      else if (is(root, NS.stream, "error")) this.#error = root;
      else this.#inbox.push(root);
    } catch (error) {
      if (!(error instanceof NotWellFormed)) throw error;
      this.#onFrame("note", `The message above is not well-formed and was ignored: ${error.message}`);
    }
    this.#deliver();
  }

  #closed(event) {
    this.#end ??= new StreamEnded(event, this.#error);
    this.#deliver();
  }

  #deliver() {
    if (!this.#waiting || (this.#inbox.length === 0 && !this.#end)) return;
    const { resolve, reject } = this.#waiting;
    this.#waiting = null;
    if (this.#inbox.length > 0) resolve(this.#inbox.shift());
    else reject(this.#end);
  }
}

/** The socket is closed: by which close code, for which reason, and after which stream error (RFC 6120 section 4.9). */
export class StreamEnded extends Error {
  constructor({ code, reason }, error) {
    super(`the stream ended with ${code} ${reason}`);
    this.code = code;
    this.reason = reason;
    // The error's first child is its condition; a <text/> for people may follow.
    this.condition = error ? (child(error, NS.streamErrors)?.localName ?? "undefined-condition") : "";
    this.text = error ? childText(error, NS.streamErrors, "text") : "";
  }
}

/** A request was not answered: the connection is dead, although nobody closed it. */
export class NoAnswer extends StreamEnded {
  constructor(seconds) {
    super({ code: 1006, reason: "" }, null);
    this.seconds = seconds;
  }
}

/** The socket never opened: a browser tells a page no more than that. */
export class Unreachable extends StreamEnded {}
