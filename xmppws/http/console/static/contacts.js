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

  /** Add a contact, or change its name. */
  set(jid, name) {
    const contact = this.#contacts.get(jid) ?? this.#add(jid);
    contact.name = name || contact.name;
    this.#show(contact);
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

  /** Forget who is online: without a connection nobody knows. */
  forgetPresence() {
    for (const contact of this.#contacts.values()) {
      contact.resources.clear();
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
    const contact = { jid, name: "", unread: 0, resources: new Map(), item };
    this.#contacts.set(jid, contact);
    return contact;
  }

  #show({ jid, name, unread, resources, item }) {
    const button = item.firstChild;
    const [nameSpan, stateSpan, unreadSpan] = button.children;
    // The resource whose presence came last speaks for the contact.
    const latest = [...resources.values()].at(-1);
    nameSpan.textContent = name || jid;
    stateSpan.textContent = latest ? latest.status || SHOW[latest.show] || "online" : "offline";
    unreadSpan.textContent = unread || "";
    unreadSpan.setAttribute("aria-label", unread ? `${unread} unread` : "");
    button.title = jid;
    button.dataset.presence = latest ? latest.show || "online" : "offline";
    if (jid === this.#selected) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}
