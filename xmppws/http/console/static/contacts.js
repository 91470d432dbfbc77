// The list of contacts: the roster, and everybody else a chat was opened with; and who asks to become one.

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

  /** Return the contact with this JID: {jid, name, subscription, ask}; of who is not in the roster all but `jid` is "". */
  get(jid) {
    return this.#contacts.get(jid) ?? stranger(jid);
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
    const contact = { ...stranger(jid), unread: 0, resources: new Map(), item };
    this.#contacts.set(jid, contact);
    return contact;
  }

  #show({ jid, name, subscription, ask, unread, resources, item }) {
    const button = item.firstChild;
    const [nameSpan, stateSpan, unreadSpan] = button.children;
    // The resource whose presence came last speaks for the contact.
    const latest = [...resources.values()].at(-1);
    nameSpan.textContent = name || jid;
    stateSpan.textContent = latest ? latest.status || SHOW[latest.show] || "online" : ask ? "not approved yet" : "offline";
    unreadSpan.textContent = unread || "";
    unreadSpan.setAttribute("aria-label", unread ? `${unread} unread` : "");
    button.title = jid;
    button.dataset.presence = latest ? latest.show || "online" : "offline";
    button.dataset.subscription = subscription;
    button.dataset.ask = ask;
    if (jid === this.#selected) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

/** Who wants to see this account's presence, until that is answered. */
export class Requests {
  #list;
  #answer;

  /** `answer(jid, type)` is called with the type of the presence stanza, "subscribed" or "unsubscribed". */
  constructor(list, answer) {
    this.#list = list;
    this.#answer = answer;
  }

  /** Show a request; the server repeats those that wait at each login. */
  add(jid) {
    if ([...this.#list.children].some((item) => item.dataset.jid === jid)) return;
    const item = document.createElement("li");
    item.dataset.jid = jid;
    item.append(`${jid} wants to see when you are online.`);
    for (const [label, type] of [["Allow", "subscribed"], ["Refuse", "unsubscribed"]]) {
      item.append(button(label, () => this.#answered(item, type)));
    }
    this.#list.append(item);
  }

  clear() {
    this.#list.replaceChildren();
  }

  #answered(item, type) {
    item.remove();
    this.#answer(item.dataset.jid, type);
  }
}

// In the words of RFC 6121: "to" sees the contact's presence, "from" shows the own one, "both" does both.
const ACTIONS = [
  { label: "Add…", type: "set", fits: ({ subscription }) => !subscription },
  { label: "Rename…", type: "set", fits: ({ subscription }) => subscription },
  { label: "Subscribe", type: "subscribe", fits: ({ subscription, ask }) => !isOneOf(subscription, "to", "both") && !ask },
  { label: "Unsubscribe", type: "unsubscribe", fits: ({ subscription, ask }) => isOneOf(subscription, "to", "both") || ask },
  { label: "Hide my presence", type: "unsubscribed", fits: ({ subscription }) => isOneOf(subscription, "from", "both") },
  { label: "Remove…", type: "remove", fits: ({ subscription }) => subscription },
];

/** Show what can be done about a contact; `act(type)` does it. */
export function showActions(place, contact, act) {
  place.replaceChildren(...ACTIONS.filter(({ fits }) => fits(contact)).map(({ label, type }) => button(label, () => act(type))));
}

function stranger(jid) {
  return { jid, name: "", subscription: "", ask: "" };
}

function isOneOf(text, ...texts) {
  return texts.includes(text);
}

function button(label, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "quiet";
  made.textContent = label;
  made.addEventListener("click", onClick);
  return made;
}
