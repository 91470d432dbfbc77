// The account's archive (XEP-0313): what came while no session was there to take it.

import { NS, child, childText, element } from "./xml.js";

// Messages of a page, and how many are shown of an archive of which nothing is known.
const PAGE = 50;

export class Archive {
  #isReading = false;
  #last = "";

  constructor(last = "") {
    this.#last = last;
  }

  /** The id of the latest message that is known: all before it are, too. */
  get last() {
    return this.#last;
  }

  /** Note a message that has come by itself, unless some before it are still to be read. */
  note(id) {
    if (id && !this.#isReading) this.#last = id;
  }

  /**
   * Read all that is later than the latest message that is known, or the last page where none is. `ask(payload)` sends a
   * request and returns its answer; the messages come as stanzas before that.
   */
  async catchUp(ask) {
    this.#isReading = true;
    let isWhole = false;
    while (!isWhole) {
      const after = this.#last;
      const fin = child(await ask(query(after)), NS.mam, "fin");
      if (fin) {
        this.#last = childText(child(fin, NS.rsm, "set") ?? fin, NS.rsm, "last") || after;
        isWhole = !after || fin.getAttribute("complete") === "true" || this.#last === after;
      } else {
        // Section 4.3.1: what is known may be older than what the server still has.
        this.#last = "";
        isWhole = !after;
      }
    }
    this.#isReading = false;
  }
}

function query(after) {
  const where = after ? element(NS.rsm, "after", {}, after) : element(NS.rsm, "before");
  return element(NS.mam, "query", {}, element(NS.rsm, "set", {}, element(NS.rsm, "max", {}, `${PAGE}`), where));
}
