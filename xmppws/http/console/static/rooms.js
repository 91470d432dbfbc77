// The rooms that the user is in (XEP-0045), through all logins, and how many are there.

import { bare, split } from "./jid.js";
import { NS, child, childText, element, is } from "./xml.js";

const HISTORY = 20;

// Status codes of XEP-0045 section 15.6: one's own presence, that one has made the room, and another nickname.
const SELF = "110";
const CREATED = "201";
const RENAMED = "303";
const WHY = {
  301: "You were banned from the room.",
  307: "You were removed from the room.",
  321: "You may not be in the room any more.",
  322: "The room is for its members now.",
  332: "The rooms are stopping.",
  333: "The room could not reach you.",
};

export class Rooms {
  #rooms = new Map();
  // The latest messages of each, also of rooms that the user is in no more.
  #heard = new Map();
  #listener;

  /** `listener` has the methods room(jid, count) for when somebody comes or goes, and out(jid, why) for the user. */
  constructor(listener) {
    this.#listener = listener;
  }

  /** What another page needs to go on. */
  get state() {
    const rooms = [...this.#rooms].map(([jid, { nick, occupants }]) => [jid, nick, [...occupants]]);
    return { rooms, heard: [...this.#heard] };
  }

  /** Go on with what an earlier page has kept. */
  restore({ rooms, heard }) {
    for (const [jid, nick, occupants] of rooms) this.#rooms.set(jid, { nick, occupants: new Set(occupants) });
    this.#heard = new Map(heard);
  }

  /** Whether the user is in a room, or on the way. */
  has(jid) {
    return this.#rooms.has(jid);
  }

  enter(session, jid, nick) {
    const wanted = element(NS.muc, "history", { maxstanzas: `${HISTORY}` });
    this.#rooms.set(jid, { nick, occupants: new Set() });
    if (!this.#heard.has(jid)) this.#heard.set(jid, []);
    session.sendPresence({ to: `${jid}/${nick}` }, element(NS.muc, "x", {}, wanted));
  }

  /** Enter all rooms again on a new login. */
  reenter(session) {
    for (const [jid, { nick }] of this.#rooms) this.enter(session, jid, nick);
  }

  leave(session, jid) {
    session.sendPresence({ to: `${jid}/${this.#rooms.get(jid).nick}`, type: "unavailable" });
    this.out(jid, "You have left the room.");
  }

  /** Tell whether a message was not heard before: on coming back, a room tells again what was said. */
  isNew({ room, nick, id, body, delay }) {
    const heard = this.#heard.get(room);
    const message = JSON.stringify([nick, id, body]);
    if (delay && heard.includes(message)) return false;
    if (heard.push(message) > HISTORY) heard.shift();
    return true;
  }

  /** Whether the user has this nickname in a room. */
  isOwn(jid, nick) {
    return this.#rooms.get(jid).nick === nick;
  }

  /** Take the presence of an occupant. */
  presence(session, presence) {
    const from = presence.getAttribute("from");
    const [jid, nick] = [bare(from), split(from).resource];
    const room = this.#rooms.get(jid);
    const x = child(presence, NS.mucUser, "x");
    const codes = codesOf(x);
    if (presence.getAttribute("type") === "unavailable") {
      room.occupants.delete(nick);
      if (codes.includes(SELF) && !codes.includes(RENAMED)) return this.out(jid, whyOut(x, codes));
    } else {
      room.occupants.add(nick);
      if (codes.includes(SELF)) room.nick = nick;
      // Section 10.1.2: nobody else may enter a new room before its owner has accepted how it is.
      if (codes.includes(CREATED)) session.acceptSettings(jid);
    }
    this.#listener.room(jid, room.occupants.size);
  }

  /** Note that the user is out of a room. */
  out(jid, why) {
    this.#rooms.delete(jid);
    this.#listener.out(jid, why);
  }

  clear() {
    this.#rooms.clear();
    this.#heard.clear();
  }
}

function codesOf(x) {
  return [...(x?.children ?? [])].filter((found) => is(found, NS.mucUser, "status")).map((found) => found.getAttribute("code"));
}

function whyOut(x, codes) {
  const destroyed = child(x, NS.mucUser, "destroy");
  const known = codes.map((code) => WHY[code]).find(Boolean) ?? "You are not in the room any more.";
  const reason = childText(destroyed ?? child(x, NS.mucUser, "item") ?? x, NS.mucUser, "reason");
  const told = destroyed ? "The room was ended." : known;
  return reason ? `${told} The reason given: ${reason}` : told;
}
