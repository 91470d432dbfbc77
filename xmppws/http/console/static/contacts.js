// The list of contacts: the roster, and everybody else a chat was opened with.

import { bare, split } from "./jid.js";

const SHOW = { "": "online", away: "away", chat: "free for chat", dnd: "do not disturb", xa: "away for long" };

export class Contacts {
  #list;
  #onSelect;
  #contacts = new Map();
  #selected = "";

  /** `onSelect(jid)` is called when somebody chooses a contact. */
  constructor(list, onSelect) {
    this.#list = list;
    this.#onSelect = onSelect;
  }

  get size() {
    return this.#contacts.size;
  }

  /**
   * Return the contact with this JID: {jid, name, subscription, ask, isRoom}; of who is not in the roster the texts but
   * `jid` are "".
   */
  get(jid) {
    return this.#contacts.get(jid) ?? stranger(jid);
  }

  /** What another page needs to show the same. */
  get state() {
    return [...this.#contacts.values()].map(({ item, resources, ...facts }) => ({ ...facts, resources: [...resources] }));
  }

  /** Show what an earlier page has kept. */
  restore(state) {
    for (const { resources, ...facts } of state) {
      this.#show(Object.assign(this.#add(facts.jid), facts, { resources: new Map(resources) }));
    }
  }

  /** Take somebody into the list. */
  add(jid) {
    if (!this.#contacts.has(jid)) this.#show(this.#add(jid));
  }

  /** Take a roster item over. */
  set({ jid, name, subscription, ask }) {
    const contact = this.#contacts.get(jid) ?? this.#add(jid);
    this.#show(Object.assign(contact, { name, subscription, ask }));
  }

  remove(jid) {
    this.#contacts.get(jid)?.item.remove();
    this.#contacts.delete(jid);
  }

  /** Note the presence of one resource of a contact; of strangers nothing is kept. */
  presence({ jid, available, show, status }) {
    const contact = this.#contacts.get(bare(jid));
    if (!contact) return;
    const { resource } = split(jid);
    if (available) contact.resources.set(resource, { show, status });
    else contact.resources.delete(resource);
    this.#show(contact);
  }

  /** Show a room: how many are in it, or 0 when the user is not. */
  room(jid, count) {
    const contact = this.#contacts.get(jid) ?? this.#add(jid);
    this.#show(Object.assign(contact, { isRoom: true, count }));
  }

  /** Forget who is online: a new session is told again. */
  forgetPresence() {
    for (const contact of this.#contacts.values()) {
      contact.resources.clear();
      contact.count = 0;
      this.#show(contact);
    }
  }

  /** Count a message that arrived, unless its chat is open. */
  arrived(jid) {
    if (jid === this.#selected) return;
    const contact = this.#contacts.get(jid) ?? this.#add(jid);
    contact.unread += 1;
    this.#show(contact);
  }

  select(jid) {
    this.#selected = jid;
    this.#contacts.get(jid).unread = 0;
    for (const contact of this.#contacts.values()) this.#show(contact);
  }

  clear() {
    this.#contacts.clear();
    this.#list.replaceChildren();
    this.#selected = "";
  }

  #add(jid) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const [name, state, unread] = ["name", "state", "unread"].map((className) => {
      const part = document.createElement("span");
      part.className = className;
      return part;
    });
    button.type = "button";
    button.append(name, state, unread);
    button.addEventListener("click", () => this.#onSelect(jid));
    item.append(button);
    this.#list.append(item);
    const contact = { ...stranger(jid), unread: 0, resources: new Map(), item };
    this.#contacts.set(jid, contact);
    return contact;
  }

  #show(contact) {
    const { jid, name, subscription, ask, unread, resources, item } = contact;
    const button = item.firstChild;
    const [nameSpan, stateSpan, unreadSpan] = button.children;
    // The resource whose presence came last speaks for the contact.
    const latest = [...resources.values()].at(-1);
    nameSpan.textContent = name || jid;
    stateSpan.textContent = stateOf(contact, latest);
    unreadSpan.textContent = unread || "";
    unreadSpan.setAttribute("aria-label", unread ? `${unread} unread` : "");
    button.title = jid;
    button.dataset.presence = contact.count ? "online" : latest ? latest.show || "online" : "offline";
    button.dataset.subscription = subscription;
    button.dataset.ask = ask;
    if (jid === this.#selected) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

function stateOf({ isRoom, count, ask }, latest) {
  if (isRoom) return count ? `${count} here` : "not in the room";
  if (latest) return latest.status || SHOW[latest.show] || "online";
  return ask ? "not approved yet" : "offline";
}

function stranger(jid) {
  return { jid, name: "", subscription: "", ask: "", isRoom: false, count: 0 };
}
