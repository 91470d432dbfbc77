// Subscriptions to presence (RFC 6121 section 3): who asks for one, and what can be done about a contact.

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

  /** Who waits for an answer. */
  get state() {
    return [...this.#list.children].map((item) => item.dataset.jid);
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

const ROOM_ACTIONS = [
  { label: "Leave", type: "leave", fits: ({ count }) => count > 0 },
  { label: "Join again", type: "enter", fits: ({ count }) => count === 0 },
];

/** Show what can be done about a contact, or a room; `act(type)` does it. */
export function showActions(place, contact, act) {
  const actions = contact.isRoom ? ROOM_ACTIONS : ACTIONS;
  place.replaceChildren(...actions.filter(({ fits }) => fits(contact)).map(({ label, type }) => button(label, () => act(type))));
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
