// A session: roster, presence and messages (RFC 6121). It goes on with one stream after another, in one page after another,
// for as long as the server can resume it (XEP-0198); else a new one takes its place, and reads what it has missed.

import { Archive } from "./archive.js";
import { Counters } from "./counters.js";
import { bare, split } from "./jid.js";
import { logIn } from "./login.js";
import { StanzaFailed, archiveIdOf, held } from "./stanza.js";
import { NoAnswer, Stream } from "./stream.js";
import { NS, child, childText, element, is, parse, serialize } from "./xml.js";

const PING_INTERVAL = 20_000;
const PING_TIMEOUT = 10_000;
const STANZAS = new Set(["iq", "message", "presence"]);

/**
 * What happens is told to `listener`, an object with the methods bound(jid, isResumed), contact({jid, name, subscription,
 * ask}), presence({jid, available, show, status}), request(jid) for a subscription, message({jid, body, mine, id,
 * archiveId, delay}), said({room, nick, id, body, delay}), excluded(room, error) from a room, failed({jid, id, error}),
 * refused(error) of a change to the roster, frame(direction, text) and ponged(milliseconds), the round trip of a ping;
 * isKnown(jid, id) says whether a message of the user's is in the archive; `rooms` take the presence of their occupants.
 */
export class Session {
  #stream = null;
  #account;
  #listener;
  #requests = new Map();
  #jid = "";
  #presence;
  #counters;
  #archive;
  #hasArchive = false;
  #isReady = false;
  // What an earlier session has sent and was not acknowledged.
  #left = [];
  #pinging = 0;
  #patience = 0;
  // Two pages of an account must not use the same ids: their messages are in one archive.
  #prefix = `console-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  #lastId = 0;

  /** `account` is what `logIn` needs, `presence` is {show, status}; `state` is what an earlier page kept. */
  constructor(account, presence, listener, state = {}) {
    this.#account = account;
    this.#presence = presence;
    this.#listener = listener;
    this.#counters = new Counters(state.counters);
    this.#archive = new Archive(state.last);
    this.#jid = state.jid ?? "";
    this.#hasArchive = state.hasArchive ?? false;
    this.#isReady = state.isReady ?? false;
    this.#left = state.left ?? [];
  }

  /** What another page needs to go on. */
  get state() {
    return {
      counters: this.#counters.state,
      last: this.#archive.last,
      jid: this.#jid,
      hasArchive: this.#hasArchive,
      isReady: this.#isReady,
      left: this.#left,
    };
  }

  /** Log in and take what arrives. Rejects at the end, with why: `StreamEnded`, `LoginFailed`, `StanzaFailed`. */
  async run(url) {
    this.#stream = new Stream(url, (direction, text) => this.#listener.frame(direction, text));
    try {
      await this.#stream.connected();
      this.#begin(await logIn(this.#stream, this.#account, this.#counters));
      this.#ping();
      this.#pinging = setInterval(() => this.#ping(), PING_INTERVAL);
      for (;;) this.#take(await this.#stream.receive());
    } finally {
      clearInterval(this.#pinging);
      clearTimeout(this.#patience);
      this.#stream.close();
    }
  }

  /** Log out. `run` rejects once the server has closed too. */
  close() {
    if (this.#jid) this.#send("presence", { type: "unavailable" });
    this.#stream?.close();
  }

  /** Send a message of this type, and return its id, which an error will name. */
  sendMessage(to, body, type) {
    const id = this.#newId();
    this.#send("message", { to, id, type }, element(NS.client, "body", {}, body));
    this.#askForCount();
    return id;
  }

  /** Send what somebody typed: stanzas, in jabber:client unless they say otherwise. Throws `NotWellFormed`. */
  sendText(text) {
    for (const stanza of parse(`<typed xmlns="${NS.client}">${text}</typed>`).children) this.#sendRoot(stanza);
  }

  /** Show this presence to everybody who is subscribed to it, now and after each login to come. */
  appear(presence) {
    this.#presence = presence;
    const children = Object.entries(presence).filter(([, text]) => text);
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
    this.#request("set", element(NS.mucOwner, "query", {}, form), room);
  }

  /** Change the attributes of a roster item, or add one; subscription "remove" removes it. */
  async setContact(item) {
    const answer = await this.#request("set", element(NS.roster, "query", {}, element(NS.roster, "item", item)));
    if (answer.getAttribute("type") === "error") this.#listener.refused(new StanzaFailed(answer));
  }

  // --- The beginning ---

  #begin({ jid, isResumed, hasArchive, left }) {
    this.#jid = jid;
    if (isResumed) {
      for (const text of this.#counters.unacknowledged) this.#stream.sendText(text);
    } else {
      this.#requests.clear();
      this.#hasArchive = hasArchive;
      this.#isReady = false;
      this.#left.push(...left);
    }
    this.#listener.bound(jid, isResumed);
    // A page that was left before this was done asks again.
    if (!this.#isReady && (!isResumed || this.#requests.size === 0)) this.#start();
  }

  async #start() {
    // RFC 6121 section 2.2: the roster first, so that it is known whose presence arrives.
    const roster = await this.#request("get", element(NS.roster, "query"));
    if (roster.getAttribute("type") === "result") this.#rosterItems(roster);
    if (this.#hasArchive) await this.#archive.catchUp((query) => this.#request("set", query));
    this.appear(this.#presence);
    this.#listener.rooms.reenter(this);
    this.#sendAgain();
    this.#isReady = true;
  }

  // Of what a lost session has not heard of, messages are worth sending again: those that the server does not have.
  #sendAgain() {
    for (const text of this.#left.splice(0)) {
      const stanza = parse(text);
      const isKnown = this.#listener.isKnown(bare(stanza.getAttribute("to") ?? ""), stanza.id);
      if (is(stanza, NS.client, "message") && childText(stanza, NS.client, "body") && !isKnown) this.#sendRoot(stanza);
    }
  }

  // XEP-0199. A browser notices only after minutes that a link is dead, and tells a page nothing of WebSocket's own pings.
  async #ping() {
    const [sent, stream] = [performance.now(), this.#stream];
    const patience = setTimeout(() => stream.abandon(new NoAnswer(PING_TIMEOUT / 1000)), PING_TIMEOUT);
    this.#patience = patience;
    // An error is an answer, too.
    const answered = this.#request("get", element(NS.ping, "ping"), this.#account.domain);
    this.#askForCount();
    await answered;
    clearTimeout(patience);
    // What was asked on a lost connection is answered on the next one.
    if (stream === this.#stream) this.#listener.ponged(performance.now() - sent);
  }

  // --- What comes ---

  #take(root) {
    if (root.namespaceURI === NS.client && STANZAS.has(root.localName)) {
      this.#stanza(root);
      this.#counters.count();
    } else if (root.namespaceURI === NS.sm) this.#manage(root);
  }

  #manage(root) {
    if (root.localName === "r") this.#stream.send(element(NS.sm, "a", { h: `${this.#counters.handled}` }));
    else if (root.localName === "a") this.#counters.acknowledge(Number(root.getAttribute("h")));
    else if (root.localName === "enabled") this.#counters.enabled(root.id);
  }

  #stanza(root) {
    if (root.localName === "iq") this.#iq(root);
    else if (root.localName === "presence") this.#occurred(root);
    else this.#message(root);
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
    request.resolve(iq);
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

  #occurred(root) {
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
    const inner = this.#isOwn(root) ? held(root) : null;
    if (inner) this.#spoken(inner.message, inner.archiveId, inner.stamp);
    else if (type === "error") this.#listener.failed({ jid, id: root.id, error: new StanzaFailed(root) });
    else if (type === "groupchat") this.#said(bare(jid), split(jid).resource, childText(root, NS.client, "body"), root);
    else this.#spoken(root);
  }

  // A message to or from the account, perhaps as the archive has it, or as another of its clients got it.
  #spoken(message, archiveId = archiveIdOf(message, bare(this.#jid)), stamp = this.#delay(message)) {
    const from = message.getAttribute("from") ?? this.#account.domain;
    const mine = bare(from) === bare(this.#jid);
    const jid = mine ? (message.getAttribute("to") ?? from) : from;
    const body = childText(message, NS.client, "body");
    this.#archive.note(archiveId);
    if (body && message.getAttribute("type") !== "error") {
      this.#listener.message({ jid, body, mine, id: message.id, archiveId, delay: stamp });
    }
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

  // --- What goes ---

  #request(type, payload, to = "") {
    const id = this.#newId();
    return new Promise((resolve) => {
      this.#requests.set(id, { to, resolve });
      this.#send("iq", { type, id, to }, payload);
    });
  }

  #send(name, attributes, ...children) {
    this.#sendRoot(element(NS.client, name, attributes, ...children));
  }

  #sendRoot(root) {
    const text = serialize(root);
    if (root.namespaceURI === NS.client && STANZAS.has(root.localName)) this.#counters.sent(text);
    this.#stream.sendText(text);
  }

  #askForCount() {
    if (this.#counters.isCounting) this.#stream.send(element(NS.sm, "r"));
  }

  #newId() {
    this.#lastId += 1;
    return `${this.#prefix}-${this.#lastId}`;
  }
}
