// One login, from the socket to its end: open, authenticate, restart, bind (RFC 6120), then roster, presence and messages
// (RFC 6121).

import { bare, split } from "./jid.js";
import { authenticate } from "./sasl.js";
import { NoAnswer, Stream } from "./stream.js";
import { NS, child, childText, element, is, parse } from "./xml.js";

const PING_INTERVAL = 20_000;
const PING_TIMEOUT = 10_000;

/**
 * What happens is told to `listener`, an object with the methods bound(jid), contact({jid, name, subscription, ask}),
 * presence({jid, available, show, status}), request(jid) for a subscription, message({jid, body, delay}),
 * said({room, nick, id, body, delay}), excluded(room, error) from a room, failed({jid, id, error}), refused(error) of a
 * change to the roster, frame(direction, text) and ponged(milliseconds), the round trip of a ping; and with `rooms`, which
 * take the presence of their occupants.
 */
export class Session {
  #stream;
  #account;
  #listener;
  #requests = new Map();
  #lastId = 0;
  #jid = "";
  #pinging = 0;
  #patience = 0;

  /** `account` is {username, domain, password, resource, presence}; with resource "" the server chooses one. */
  constructor(url, account, listener) {
    this.#account = account;
    this.#listener = listener;
    this.#stream = new Stream(url, (direction, text) => listener.frame(direction, text));
  }

  /** Log in and take what arrives. Rejects at the end, with why: `StreamEnded`, `LoginFailed`, `StanzaFailed`. */
  async run() {
    const { username, domain, password, resource } = this.#account;
    try {
      await this.#stream.connected();
      await authenticate(this.#stream, await this.#stream.open(domain), username, password);
      // RFC 6120 section 6.4.6: after success the stream starts again, and the features are new ones.
      await this.#stream.open(domain);
      this.#jid = await this.#bind(resource);
      this.#listener.bound(this.#jid);
      this.#start();
      this.#ping();
      this.#pinging = setInterval(() => this.#ping(), PING_INTERVAL);
      for (;;) this.#stanza(await this.#stream.receive());
    } finally {
      clearInterval(this.#pinging);
      clearTimeout(this.#patience);
      this.#stream.close();
    }
  }

  /** Log out. `run` rejects once the server has closed too. */
  close() {
    if (this.#jid) this.#send("presence", { type: "unavailable" });
    this.#stream.close();
  }

  /** Send a message of this type, and return its id, which an error will name. */
  sendMessage(to, body, type) {
    const id = this.#newId();
    this.#send("message", { to, id, type }, element(NS.client, "body", {}, body));
    return id;
  }

  /** Send what somebody typed: stanzas, in jabber:client unless they say otherwise. Throws `NotWellFormed`. */
  sendText(text) {
    for (const stanza of parse(`<typed xmlns="${NS.client}">${text}</typed>`).children) this.#stream.send(stanza);
  }

  /** Show this presence to everybody who is subscribed to it. */
  appear({ show, status }) {
    const children = Object.entries({ show, status }).filter(([, text]) => text);
    this.#send("presence", {}, ...children.map(([name, text]) => element(NS.client, name, {}, text)));
  }

  /** Ask for, end, grant or cancel a subscription (RFC 6121 section 3), by the type of the presence stanza. */
  sendSubscription(to, type) {
    this.#send("presence", { to, type });
  }

  /** Send presence to a room. */
  sendPresence(attributes, ...children) {
    this.#send("presence", attributes, ...children);
  }

  /** Accept the settings of a room that was made by entering it (XEP-0045 section 10.1.2). */
  acceptSettings(room) {
    const form = element(NS.dataForms, "x", { type: "submit" });
    this.#request("set", element(NS.mucOwner, "query", {}, form), () => {}, room);
  }

  /** Change the attributes of a roster item, or add one; subscription "remove" removes it. */
  setContact(item) {
    const query = element(NS.roster, "query", {}, element(NS.roster, "item", item));
    this.#request("set", query, (answer) => {
      if (answer.getAttribute("type") === "error") this.#listener.refused(new StanzaFailed(answer));
    });
  }

  async #bind(resource) {
    const wanted = resource ? [element(NS.bind, "resource", {}, resource)] : [];
    this.#send("iq", { type: "set", id: this.#newId() }, element(NS.bind, "bind", {}, ...wanted));
    const result = await this.#stream.receive();
    if (result.getAttribute("type") !== "result") throw new StanzaFailed(result);
    return childText(child(result, NS.bind, "bind"), NS.bind, "jid");
  }

  #start() {
    // RFC 6121 section 2.2: the roster first, so that it is known whose presence arrives.
    this.#request("get", element(NS.roster, "query"), (answer) => {
      if (answer.getAttribute("type") === "result") this.#rosterItems(answer);
      this.appear(this.#account.presence);
      this.#listener.rooms.reenter(this);
    });
  }

  // XEP-0199. A browser notices only after minutes that a link is dead, and tells a page nothing of WebSocket's own pings.
  #ping() {
    const sent = performance.now();
    this.#patience = setTimeout(() => this.#stream.abandon(new NoAnswer(PING_TIMEOUT / 1000)), PING_TIMEOUT);
    const answered = () => {
      clearTimeout(this.#patience);
      this.#listener.ponged(performance.now() - sent);
    };
    // An error is an answer, too.
    this.#request("get", element(NS.ping, "ping"), answered, this.#account.domain);
  }

  #request(type, payload, answered, to = "") {
    const id = this.#newId();
    this.#requests.set(id, { to, answered });
    this.#send("iq", { type, id, to }, payload);
  }

  #stanza(root) {
    if (is(root, NS.client, "iq")) this.#iq(root);
    else if (is(root, NS.client, "presence")) this.#presence(root);
    else if (is(root, NS.client, "message")) this.#message(root);
  }

  #iq(iq) {
    const type = iq.getAttribute("type");
    if (type === "get" || type === "set") this.#answer(iq);
    else this.#answered(iq);
  }

  #answered(iq) {
    const request = this.#requests.get(iq.id);
    // RFC 6120 section 8.1.2.1: no "from" means the own account. Nobody but who was asked may answer.
    if (!request || (!this.#isOwn(iq) && iq.getAttribute("from") !== request.to)) return;
    this.#requests.delete(iq.id);
    request.answered(iq);
  }

  // RFC 6120 section 8.2.3: every request is answered.
  #answer(iq) {
    const reply = { to: iq.getAttribute("from"), id: iq.id };
    const isRoster = child(iq, NS.roster, "query") && iq.getAttribute("type") === "set";
    if (isRoster && this.#isOwn(iq)) {
      this.#rosterItems(iq);
      this.#send("iq", { ...reply, type: "result" });
    } else if (child(iq, NS.ping, "ping")) {
      this.#send("iq", { ...reply, type: "result" });
    } else {
      const condition = element(NS.stanzaErrors, "service-unavailable");
      this.#send("iq", { ...reply, type: "error" }, element(NS.client, "error", { type: "cancel" }, condition));
    }
  }

  #rosterItems(iq) {
    for (const item of child(iq, NS.roster, "query")?.children ?? []) {
      const [jid, name, subscription, ask] = ["jid", "name", "subscription", "ask"].map((key) => item.getAttribute(key) ?? "");
      if (jid) this.#listener.contact({ jid, name, subscription: subscription || "none", ask });
    }
  }

  #presence(root) {
    const type = root.getAttribute("type") ?? "";
    const jid = root.getAttribute("from") ?? "";
    if (this.#listener.rooms.has(bare(jid))) return this.#occupant(root, jid, type);
    if (type === "subscribe") this.#listener.request(bare(jid));
    // What comes of a subscription is pushed as a roster item, too.
    if (type !== "" && type !== "unavailable") return;
    this.#listener.presence({
      jid,
      available: type === "",
      show: childText(root, NS.client, "show"),
      status: childText(root, NS.client, "status"),
    });
  }

  #occupant(root, jid, type) {
    if (type === "error") this.#listener.excluded(bare(jid), new StanzaFailed(root));
    else this.#listener.rooms.presence(this, root);
  }

  #message(root) {
    const type = root.getAttribute("type");
    const jid = root.getAttribute("from") ?? this.#account.domain;
    const body = childText(root, NS.client, "body");
    if (type === "error") this.#listener.failed({ jid, id: root.id, error: new StanzaFailed(root) });
    else if (type === "groupchat") this.#said(bare(jid), split(jid).resource, body, root);
    else if (body) this.#listener.message({ jid, body, delay: this.#delay(root) });
  }

  #said(room, nick, body, message) {
    const isKnown = this.#listener.rooms.has(room);
    if (isKnown && nick && body) this.#listener.said({ room, nick, id: message.id, body, delay: this.#delay(message, room) });
  }

  // XEP-0203: when the server got the message, "" for one that did not wait there. Others' stamps are not its word; that
  // of a room is, for what was said there.
  #delay(message, room = "") {
    const isTrusted = (found) => this.#isOwn(found) || (room && found.getAttribute("from") === room);
    const stamps = [...message.children].filter((found) => is(found, NS.delay, "delay") && isTrusted(found));
    return stamps[0]?.getAttribute("stamp") ?? "";
  }

  // A push or an answer in the account's name that comes from somebody else is forged (RFC 6121 section 2.1.6).
  #isOwn(stanza) {
    const from = stanza.getAttribute("from");
    return !from || from === this.#account.domain || bare(from) === bare(this.#jid);
  }

  #send(name, attributes, ...children) {
    this.#stream.send(element(NS.client, name, attributes, ...children));
  }

  #newId() {
    this.#lastId += 1;
    return `console-${this.#lastId}`;
  }
}

/** A stanza was answered with an error (RFC 6120 section 8.3). */
export class StanzaFailed extends Error {
  constructor(stanza) {
    const error = child(stanza, NS.client, "error") ?? stanza;
    const condition = child(error, NS.stanzaErrors)?.localName ?? "undefined-condition";
    const text = childText(error, NS.stanzaErrors, "text");
    super(text || condition);
    this.condition = condition;
    this.text = text;
  }
}
