// Stays logged in: when a socket is lost, it comes back, with a pause that grows.

import { invalidate } from "./login.js";
import { LoginFailed } from "./sasl.js";
import { Session } from "./session.js";
import { Stream, StreamEnded } from "./stream.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

// Ends after which the same again would end the same: another session took the resource, or the server refuses.
const FINAL = new Set(["conflict", "host-unknown", "not-authorized", "policy-violation", "unsupported-version"]);

/**
 * `listener` is told what a session tells, and connecting(), waiting(error, milliseconds), ended(error) and, after a
 * logout, for which that error is null, loggedOut(isTold): whether the server knows.
 */
export class Connection {
  #url;
  #account;
  #listener;
  #session;
  #wake = () => {};
  #isLeaving = false;
  #wasBound;
  #failures = 0;

  /** `account` is what `logIn` needs. `state` is what an earlier page has kept of the session, if there was one. */
  constructor(url, account, presence, listener, state) {
    this.#url = url;
    this.#account = account;
    this.#listener = listener;
    // With a token the account was logged in before.
    this.#wasBound = Boolean(account.token);
    const bound = (jid, isResumed) => this.#bound(jid, isResumed);
    this.#session = new Session(account, presence, { ...listener, bound }, state);
  }

  /** Log in, and again after each loss, until `leave` or an end that is final. */
  async run() {
    while (!this.#isLeaving) {
      const error = await this.#once();
      if (this.#isLeaving) break;
      if (!this.#wasBound || isFinal(error)) return this.#listener.ended(error);
      await this.#pause(error);
    }
    this.#listener.ended(null);
    this.#listener.loggedOut(await this.#forgetToken());
  }

  /** Try again now instead of at the end of the pause. */
  retry() {
    this.#wake();
  }

  /** Log out for good. */
  leave() {
    this.#isLeaving = true;
    this.#session.close();
    this.#wake();
  }

  get session() {
    return this.#session;
  }

  async #once() {
    this.#listener.connecting();
    try {
      await this.#session.run(this.#url);
    } catch (error) {
      return error;
    }
  }

  #bound(jid, isResumed) {
    this.#wasBound = true;
    this.#failures = 0;
    this.#listener.bound(jid, isResumed);
  }

  // Without a token there is nothing to tell.
  async #forgetToken() {
    if (!this.#account.token) return true;
    const stream = new Stream(this.#url, (direction, text) => this.#listener.frame(direction, text));
    try {
      await stream.connected();
      await invalidate(stream, this.#account);
      return true;
    } catch (error) {
      // The server may know it no longer.
      return error instanceof LoginFailed && error.condition !== "temporary-auth-failure";
    } finally {
      stream.close();
    }
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
