// Stream management (XEP-0198): how many stanzas came, and which of those that were sent nobody has acknowledged yet. With
// these a session goes on where its connection was lost, in another page too.

const WRAP = 2 ** 32;

export class Counters {
  #id = "";
  #isCounting = false;
  #handled = 0;
  #acked = 0;
  #queue = [];

  /** `state` is what an earlier page kept. */
  constructor(state) {
    if (!state) return;
    ({ id: this.#id, handled: this.#handled, acked: this.#acked, queue: this.#queue } = state);
    this.#isCounting = true;
  }

  /** What another page needs to go on, null where it cannot. */
  get state() {
    return this.#id ? { id: this.#id, handled: this.#handled, acked: this.#acked, queue: this.#queue } : null;
  }

  /** By what the session can be resumed, "" for not at all. */
  get id() {
    return this.#id;
  }

  get handled() {
    return this.#handled;
  }

  get isCounting() {
    return this.#isCounting;
  }

  /** Count from 0. */
  begin() {
    this.stop();
    this.#isCounting = true;
  }

  /** The session can be resumed by this id. */
  enabled(id) {
    this.#id = id;
  }

  /** Count no more; return what was sent and never acknowledged. */
  stop() {
    const left = this.#queue;
    this.#id = "";
    this.#isCounting = false;
    this.#handled = this.#acked = 0;
    this.#queue = [];
    return left;
  }

  /** Keep a stanza until it is acknowledged. */
  sent(text) {
    if (this.#isCounting) this.#queue.push(text);
  }

  /** Note that a stanza was handled. */
  count() {
    this.#handled = (this.#handled + 1) % WRAP;
  }

  /** Forget what the server has handled. */
  acknowledge(h) {
    this.#queue.splice(0, (h - this.#acked + WRAP) % WRAP);
    this.#acked = h;
  }

  /** What has to be sent again when the session goes on. */
  get unacknowledged() {
    return [...this.#queue];
  }
}
