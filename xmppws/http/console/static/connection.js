// Stays logged in: when a socket is lost, it comes back, with a pause that grows.

import { LoginFailed } from "./sasl.js";
import { Session } from "./session.js";
import { StreamEnded } from "./stream.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

// Ends after which the same again would end the same: another session took the resource, or the server refuses.
const FINAL = new Set(["conflict", "host-unknown", "not-authorized", "policy-violation", "unsupported-version"]);

/**
 * `listener` is told what a session tells, and connecting(), waiting(error, milliseconds) and ended(error); the error is
 * null after a logout.
 */
export class Connection {
  #url;
  #account;
  #listener;
  #session = null;
  #wake = () => {};
  #leaving = false;
  #wasBound = false;
  #failures = 0;

  constructor(url, account, listener) {
    this.#url = url;
    this.#account = { ...account };
    this.#listener = listener;
  }

  /** Log in, and again after each loss, until `leave` or an end that is final. */
  async run() {
    for (;;) {
      const error = await this.#once();
      if (this.#leaving) return this.#listener.ended(null);
      if (!this.#wasBound || isFinal(error)) return this.#listener.ended(error);
      await this.#pause(error);
      if (this.#leaving) return this.#listener.ended(null);
    }
  }

  /** Try again now instead of at the end of the pause. */
  retry() {
    this.#wake();
  }

  /** Log out for good. */
  leave() {
    this.#leaving = true;
    this.#session?.close();
    this.#wake();
  }

  /** The login of now, or the last one. */
  get session() {
    return this.#session;
  }

  /** Show this presence, now and after each login to come. */
  appear(presence) {
    this.#account.presence = presence;
    this.#session.appear(presence);
  }

  async #once() {
    this.#listener.connecting();
    this.#session = new Session(this.#url, this.#account, {
      ...this.#listener,
      bound: (jid) => this.#bound(jid),
    });
    try {
      await this.#session.run();
    } catch (error) {
      return error;
    }
  }

  #bound(jid) {
    this.#wasBound = true;
    this.#failures = 0;
    // The same resource next time: the server then ends what is left of the lost session.
    this.#account.resource = jid.slice(jid.indexOf("/") + 1);
    this.#listener.bound(jid);
  }

  async #pause(error) {
    const longest = Math.min(FIRST_PAUSE * 2 ** this.#failures, LONGEST_PAUSE);
    // Not all pages at once when a server has restarted.
    const milliseconds = longest * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#listener.waiting(error, milliseconds);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      // The network is back.
      addEventListener("online", this.#wake, { once: true });
    });
    removeEventListener("online", this.#wake);
    this.#wake = () => {};
  }
}

function isFinal(error) {
  if (error instanceof LoginFailed) return error.condition !== "temporary-auth-failure";
  return !(error instanceof StreamEnded) || FINAL.has(error.condition);
}
