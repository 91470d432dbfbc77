// What a tab keeps through a reload. It is in sessionStorage, which each tab has for itself: all tabs share localStorage,
// and two of them would take the same session from each other for ever. Neither holds a password.

class Kept {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** What is kept, null for nothing. */
  get value() {
    return attempt(() => JSON.parse(sessionStorage.getItem(this.#key)));
  }

  set value(value) {
    attempt(() => sessionStorage.setItem(this.#key, JSON.stringify(value)));
  }

  forget() {
    attempt(() => sessionStorage.removeItem(this.#key));
  }
}

/** The account, and the token by which it logs in. */
export const keptLogin = new Kept("xmppws.login");

/**
 * The session and what is shown of it. It is kept only from when a page ends until the next one begins: a tab that is
 * duplicated takes along what is kept, and would go on with the session of a page that still has it.
 */
export const keptSession = new Kept("xmppws.session");

// Storage may be forbidden, or full. Then a page that is reloaded asks for the password, or reads the archive.
function attempt(use) {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return null;
  }
}
