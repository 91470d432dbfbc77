// The conversations, one list each, of which one is seen. Text is only ever set as text: markup in a message stays text.

const MOST_ENTRIES = 500;

export class Chats {
  #log;
  #chats = new Map();

  constructor(log) {
    this.#log = log;
  }

  /** Show the conversation with this JID. */
  open(jid) {
    this.#chat(jid);
    for (const [other, list] of this.#chats) list.hidden = other !== jid;
    this.#scrollToEnd();
  }

  /**
   * Add a message; `id` is that of one's own, by which `failed` finds it, `delay` when one arrived that had to wait. In a
   * room, `nick` is who said it.
   */
  add(jid, body, { mine = false, id = "", delay = "", nick = "" } = {}) {
    const list = this.#chat(jid);
    const entry = document.createElement("li");
    entry.className = mine ? "mine" : "theirs";
    entry.dataset.id = id;
    const whose = nick ? span("nick", nick) : span("unseen", mine ? "You: " : `${jid}: `);
    entry.append(whose, span("body", body), delay ? delayed(delay) : timestamp());
    list.append(entry);
    if (list.children.length > MOST_ENTRIES) list.firstChild.remove();
    if (mine) this.#scrollToEnd();
  }

  /** Say something about the conversation itself. */
  note(jid, text) {
    const entry = document.createElement("li");
    entry.className = "note";
    entry.textContent = text;
    this.#chat(jid).append(entry);
  }

  /** Say below one's own message why it was not delivered. */
  failed(jid, id, why) {
    const entry = [...this.#chat(jid).children].findLast((candidate) => id && candidate.dataset.id === id);
    if (!entry) return;
    entry.classList.add("failed");
    entry.append(span("why", `Not delivered. ${why}`));
  }

  clear() {
    for (const list of this.#chats.values()) list.remove();
    this.#chats.clear();
  }

  #chat(jid) {
    let list = this.#chats.get(jid);
    if (!list) {
      list = document.createElement("ol");
      list.hidden = true;
      list.dataset.jid = jid;
      this.#log.append(list);
      this.#chats.set(jid, list);
    }
    return list;
  }

  #scrollToEnd() {
    // The style sheet reverses the log: 0 is its end.
    this.#log.scrollTop = 0;
  }
}

function span(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}

function timestamp() {
  const now = new Date();
  return time(now.toISOString(), now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
}

function delayed(stamp) {
  const made = time(stamp, new Date(stamp).toLocaleString([], { dateStyle: "short", timeStyle: "short" }));
  made.className = "delayed";
  made.title = "Sent while you were away";
  return made;
}

function time(stamp, text) {
  const made = document.createElement("time");
  made.dateTime = stamp;
  made.textContent = text;
  return made;
}
