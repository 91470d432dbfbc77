// The conversations, one list each, of which one is seen. Text is only ever set as text: markup in a message stays text.

const MOST_ENTRIES = 500;

export class Chats {
  #log;
  #chats = new Map();

  constructor(log) {
    this.#log = log;
  }

  /** What another page needs to show the same. */
  get state() {
    return [...this.#chats].map(([jid, { entries }]) => [jid, entries]);
  }

  /** Show what an earlier page has kept. */
  restore(state) {
    for (const [jid, entries] of state) entries.forEach((entry) => this.#append(jid, entry));
  }

  /** Show the conversation with this JID. */
  open(jid) {
    this.#chat(jid);
    for (const [other, { list }] of this.#chats) list.hidden = other !== jid;
    this.#scrollToEnd();
  }

  /**
   * Add a message; `id` is the sender's, by which `failed` finds it, and `archiveId` the archive's. `delay` is when one was
   * sent that had to wait. In a room, `nick` is who said it. Tells whether it was new.
   */
  add(jid, body, { mine = false, id = "", archiveId = "", delay = "", nick = "" } = {}) {
    const known = this.#find(jid, { mine, id, archiveId });
    if (known) known.archiveId ||= archiveId;
    else this.#append(jid, { body, mine, id, archiveId, nick, stamp: delay || new Date().toISOString(), isLate: Boolean(delay) });
    if (mine && !delay) this.#scrollToEnd();
    return !known;
  }

  /** Say something about the conversation itself. */
  note(jid, text) {
    this.#append(jid, { note: text });
  }

  /** Say below one's own message why it was not delivered. */
  failed(jid, id, why) {
    const { entries, list } = this.#chat(jid);
    const index = entries.findLastIndex((entry) => id && entry.id === id);
    if (index < 0) return;
    entries[index].why = `Not delivered. ${why}`;
    markFailed(list.children[index], entries[index].why);
  }

  /** Whether a message of one's own, by its sender's id, is in the archive. */
  isArchived(jid, id) {
    return this.#chat(jid).entries.some((entry) => entry.mine && id && entry.id === id && entry.archiveId);
  }

  clear() {
    for (const { list } of this.#chats.values()) list.remove();
    this.#chats.clear();
  }

  // What the archive tells of may have been shown when it came, or when it was written here.
  #find(jid, { mine, id, archiveId }) {
    if (!archiveId) return undefined;
    const isSame = (entry) => (entry.archiveId ? entry.archiveId === archiveId : mine && entry.mine && id && entry.id === id);
    return this.#chat(jid).entries.findLast(isSame);
  }

  #append(jid, entry) {
    const { entries, list } = this.#chat(jid);
    entries.push(entry);
    list.append(shown(jid, entry));
    if (entries.length <= MOST_ENTRIES) return;
    entries.shift();
    list.firstChild.remove();
  }

  #chat(jid) {
    let chat = this.#chats.get(jid);
    if (!chat) {
      chat = { entries: [], list: document.createElement("ol") };
      chat.list.hidden = true;
      chat.list.dataset.jid = jid;
      this.#log.append(chat.list);
      this.#chats.set(jid, chat);
    }
    return chat;
  }

  #scrollToEnd() {
    // The style sheet reverses the log: 0 is its end.
    this.#log.scrollTop = 0;
  }
}

function shown(jid, { body, mine, id, nick, stamp, isLate, note, why }) {
  const entry = document.createElement("li");
  if (note) {
    entry.className = "note";
    entry.textContent = note;
    return entry;
  }
  entry.className = mine ? "mine" : "theirs";
  entry.dataset.id = id;
  const whose = nick ? span("nick", nick) : span("unseen", mine ? "You: " : `${jid}: `);
  entry.append(whose, span("body", body), isLate ? delayed(stamp) : timestamp(stamp));
  if (why) markFailed(entry, why);
  return entry;
}

function markFailed(entry, why) {
  entry.classList.add("failed");
  entry.append(span("why", why));
}

function span(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}

function timestamp(stamp) {
  return time(stamp, new Date(stamp).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
}

function delayed(stamp) {
  const made = time(stamp, new Date(stamp).toLocaleString([], { dateStyle: "short", timeStyle: "short" }));
  made.className = "delayed";
  made.title = "Sent earlier";
  return made;
}

function time(stamp, text) {
  const made = document.createElement("time");
  made.dateTime = stamp;
  made.textContent = text;
  return made;
}
