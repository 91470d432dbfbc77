// Strophe.js as a client, in the words of tests/libraries.py. Arguments: the endpoint, the JID, the password, and
// "resume" if it shall use stream management.
import { $iq, $msg, $pres, Strophe } from "strophe.js";

import { Refused, answer, tell } from "./lines.mjs";

const [url, jid, password, resume] = process.argv.slice(2);
const connection = new Strophe.Connection(url, { enableStreamManagement: resume === "resume" });
let leaving = false;

const BLOCKING = "urn:xmpp:blocking";
const DISCO_INFO = "http://jabber.org/protocol/disco#info";
const MUC = "http://jabber.org/protocol/muc";
const { ROSTER } = Strophe.NS;

function connect() {
  connection.connect(jid, password, (status, _, failure) => {
    if (status === Strophe.Status.AUTHFAIL) refused(failure);
    else if (status === Strophe.Status.CONNECTED) connected();
    else if (status === Strophe.Status.DISCONNECTED) disconnected();
  });
}

function refused(failure) {
  leaving = true;
  tell("refused", { condition: failure.firstChild.nodeName });
}

async function connected() {
  connection.addHandler(message, null, "message");
  connection.addHandler(presence, null, "presence");
  connection.addHandler(push, ROSTER, "iq", "set");
  const roster = await getRoster();
  connection.send($pres());
  tell("online", { jid: connection.jid, roster });
}

function disconnected() {
  tell("offline");
  if (leaving) return;
  connection.reset();
  connect();
}

// A handler that returns true stays.
function message(stanza) {
  const { from, type, id } = attributes(stanza, { type: "normal" });
  const [delay] = stanza.getElementsByTagName("delay");
  const body = text(stanza, "body");
  if (type === "error") tell("undelivered", { from, id, condition: condition(stanza) });
  else tell("message", { from, kind: type, body, delay: delay?.getAttribute("stamp") ?? null });
  return true;
}

function presence(stanza) {
  const { from, type } = attributes(stanza, { type: "available" });
  const [show, status, priority] = ["show", "status", "priority"].map((name) => text(stanza, name));
  tell("presence", { from, type, show, status, priority: Number(priority) });
  return true;
}

function push(stanza) {
  for (const item of contacts(stanza)) tell("contact", item);
  connection.send($iq({ type: "result", id: stanza.getAttribute("id") }));
  return true;
}

function attributes(element, defaults) {
  const found = [...element.attributes].map(({ name, value }) => [name, value]);
  return { ...defaults, ...Object.fromEntries(found) };
}

function text(element, name) {
  return element.getElementsByTagName(name)[0]?.textContent ?? "";
}

function condition(stanza) {
  return stanza.getElementsByTagName("error")[0].firstChild.nodeName;
}

function contacts(stanza) {
  return [...stanza.getElementsByTagName("item")].map((item) => {
    const { jid, name, subscription, ask } = attributes(item, { name: "", subscription: "none", ask: "" });
    return { jid, name, subscription, ask };
  });
}

/** Send a request; return the answer. */
function asked(request) {
  return new Promise((resolve, reject) => {
    connection.sendIQ(request, resolve, (stanza) => reject(new Refused(condition(stanza))));
  });
}

const get = (name, xmlns, to) => asked($iq({ type: "get", ...(to && { to }) }).c(name, { xmlns }));
const setItem = async (name, xmlns, item) => void (await asked($iq({ type: "set" }).c(name, { xmlns }).c("item", item)));

async function getRoster() {
  return contacts(await get("query", ROSTER));
}

async function discoInfo({ jid }) {
  const info = await get("query", DISCO_INFO, jid);
  const every = (name) => [...info.getElementsByTagName(name)].map((element) => attributes(element));
  return {
    features: every("feature").map((feature) => feature.var),
    identities: every("identity").map(({ category, type }) => `${category}/${type}`),
  };
}

function send({ to, body, kind: type }) {
  const id = connection.getUniqueId();
  connection.send($msg({ to, id, type }).c("body").t(body));
  return id;
}

function appear({ show, status, priority }) {
  connection.send($pres().c("show").t(show).up().c("status").t(status).up().c("priority").t(String(priority)));
}

async function setVcard({ name }) {
  await asked($iq({ type: "set" }).c("vCard", { xmlns: "vcard-temp" }).c("FN").t(name));
}

async function openRoom({ jid: to }) {
  const query = $iq({ type: "set", to }).c("query", { xmlns: `${MUC}#owner` });
  await asked(query.c("x", { xmlns: "jabber:x:data", type: "submit" }));
}

async function kick({ jid: to, nick, reason }) {
  const item = $iq({ type: "set", to }).c("query", { xmlns: `${MUC}#admin` }).c("item", { nick, role: "none" });
  await asked(item.c("reason").t(reason));
}

const subscription = (type) => ({ jid: to }) => void connection.send($pres({ to, type }));

connect();
await answer({
  roster: getRoster,
  set: ({ jid, name }) => setItem("query", ROSTER, { jid, name }),
  remove: ({ jid }) => setItem("query", ROSTER, { jid, subscription: "remove" }),
  subscribe: subscription("subscribe"),
  unsubscribe: subscription("unsubscribe"),
  approve: subscription("subscribed"),
  deny: subscription("unsubscribed"),
  presence: appear,
  message: send,
  unknown: ({ jid }) => get("query", "urn:example:unknown", jid),
  block: ({ jid }) => setItem("block", BLOCKING, { jid }),
  unblock: ({ jid }) => setItem("unblock", BLOCKING, { jid }),
  blocked: async () => contacts(await get("blocklist", BLOCKING)).map((item) => item.jid),
  "set-vcard": setVcard,
  vcard: async ({ jid }) => text(await get("vCard", "vcard-temp", jid), "FN"),
  disco: discoInfo,
  enter: ({ jid, nick }) => connection.send($pres({ to: `${jid}/${nick}` }).c("x", { xmlns: MUC })),
  open: openRoom,
  kick,
  exit: ({ jid, nick }) => connection.send($pres({ to: `${jid}/${nick}`, type: "unavailable" })),
  ping: async () => void (await get("ping", "urn:xmpp:ping")),
  leave: () => {
    leaving = true;
    connection.disconnect();
  },
});
