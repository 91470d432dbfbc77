// xmpp.js as a client, in the words of tests/libraries.py. Arguments: the endpoint, the JID, the password, and
// "PLAIN" unless xmpp.js shall choose the SASL mechanism.
import { client, jid as parse, xml } from "@xmpp/client";
import WebSocket from "ws";

import { answer, tell } from "./lines.mjs";

// Node has a WebSocket of its own from version 22 on.
globalThis.WebSocket ??= WebSocket;

const [url, jid, password, mechanism] = process.argv.slice(2);
const { local: username, domain, resource } = parse(jid);
// Its PLAIN sends the characters of a password as bytes, which is no UTF-8 outside ASCII.
const octets = Buffer.from(password, "utf8").toString("latin1");
const plain = (authenticate) => authenticate({ username, password: octets }, "PLAIN");
const account = mechanism === "PLAIN" ? { credentials: plain } : { username, password };
const entity = client({ service: url, domain, ...account, ...(resource && { resource }) });
const { iqCaller, iqCallee } = entity;
entity.reconnect.delay = 200;

const STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas";
const BLOCKING = "urn:xmpp:blocking";
const DISCO_INFO = "http://jabber.org/protocol/disco#info";
const MUC = "http://jabber.org/protocol/muc";

entity.on("online", async (address) => {
  const roster = await getRoster();
  await entity.send(xml("presence"));
  tell("online", { jid: address.toString(), roster });
});
entity.on("disconnect", () => tell("offline"));
entity.on("error", (error) => {
  if (error.name === "SASLError") tell("refused", { condition: error.condition });
});
entity.on("stanza", (stanza) => {
  if (stanza.is("message")) message(stanza);
  else if (stanza.is("presence")) presence(stanza);
});
iqCallee.set("jabber:iq:roster", "query", ({ element }) => {
  for (const item of element.getChildren("item")) tell("contact", contact(item));
  return true;
});

function message(stanza) {
  const { from, type = "normal", id } = stanza.attrs;
  if (type === "error") {
    const [condition] = stanza.getChild("error").getChildElements();
    return tell("undelivered", { from, id, condition: condition.name });
  }
  const delay = stanza.getChild("delay", "urn:xmpp:delay");
  tell("message", { from, kind: type, body: stanza.getChildText("body"), delay: delay?.attrs.stamp ?? null });
}

function presence(stanza) {
  const { from, type = "available" } = stanza.attrs;
  const [show, status, priority] = ["show", "status", "priority"].map((name) => stanza.getChildText(name) ?? "");
  tell("presence", { from, type, show, status, priority: Number(priority) });
}

function contact({ attrs: { jid, name = "", subscription = "none", ask = "" } }) {
  return { jid, name, subscription, ask };
}

async function getRoster() {
  const query = await iqCaller.get(xml("query", "jabber:iq:roster"));
  return query.getChildren("item").map(contact);
}

async function setRoster(attributes) {
  await iqCaller.set(xml("query", "jabber:iq:roster", xml("item", attributes)));
}

async function discoInfo({ jid }) {
  const info = await iqCaller.get(xml("query", DISCO_INFO), jid);
  return {
    features: info.getChildren("feature").map(({ attrs }) => attrs.var),
    identities: info.getChildren("identity").map(({ attrs }) => `${attrs.category}/${attrs.type}`),
  };
}

async function send({ to, body, kind: type }) {
  const id = `m${Math.random()}`;
  await entity.send(xml("message", { to, id, type }, xml("body", {}, body)));
  return id;
}

async function appear(facts) {
  const children = ["show", "status", "priority"].map((name) => xml(name, {}, String(facts[name])));
  await entity.send(xml("presence", {}, ...children));
}

async function openRoom({ jid }) {
  await iqCaller.set(xml("query", `${MUC}#owner`, xml("x", { xmlns: "jabber:x:data", type: "submit" })), jid);
}

async function kick({ jid, nick, reason }) {
  const item = xml("item", { nick, role: "none" }, xml("reason", {}, reason));
  await iqCaller.set(xml("query", `${MUC}#admin`, item), jid);
}

const subscription = (type) => ({ jid }) => entity.send(xml("presence", { to: jid, type }));
const blocking = (name) => ({ jid }) => iqCaller.set(xml(name, BLOCKING, xml("item", { jid })));

// What goes wrong was told by the event "error".
entity.start().catch(() => {});
await answer({
  roster: getRoster,
  set: ({ jid, name }) => setRoster({ jid, name }),
  remove: ({ jid }) => setRoster({ jid, subscription: "remove" }),
  subscribe: subscription("subscribe"),
  unsubscribe: subscription("unsubscribe"),
  approve: subscription("subscribed"),
  deny: subscription("unsubscribed"),
  presence: appear,
  message: send,
  unknown: ({ jid }) => iqCaller.get(xml("query", "urn:example:unknown"), jid),
  block: async (request) => void (await blocking("block")(request)),
  unblock: async (request) => void (await blocking("unblock")(request)),
  blocked: async () => {
    const list = await iqCaller.get(xml("blocklist", BLOCKING));
    return list.getChildren("item").map(({ attrs }) => attrs.jid);
  },
  "set-vcard": async ({ name }) => void (await iqCaller.set(xml("vCard", "vcard-temp", xml("FN", {}, name)))),
  vcard: async ({ jid }) => (await iqCaller.get(xml("vCard", "vcard-temp"), jid)).getChildText("FN"),
  disco: discoInfo,
  enter: ({ jid, nick }) => entity.send(xml("presence", { to: `${jid}/${nick}` }, xml("x", MUC))),
  open: openRoom,
  kick,
  exit: ({ jid, nick }) => entity.send(xml("presence", { to: `${jid}/${nick}`, type: "unavailable" })),
  ping: async () => void (await iqCaller.get(xml("ping", "urn:xmpp:ping"))),
  leave: async () => void (await entity.stop()),
});
