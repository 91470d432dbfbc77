// xmpp.js as a client. Arguments: the endpoint, the JID, the password.
import { client, jid as parse, xml } from "@xmpp/client";
import WebSocket from "ws";

import { serve, tell } from "./lines.mjs";

// Node has a WebSocket of its own from version 22 on.
globalThis.WebSocket ??= WebSocket;

const [url, jid, password] = process.argv.slice(2);
const { local: username, domain } = parse(jid);
const entity = client({ service: url, domain, username, password });

entity.on("online", async (address) => {
  await entity.send(xml("presence"));
  tell("online", { jid: address.toString() });
});
entity.on("disconnect", () => tell("offline"));
entity.on("error", (error) => {
  if (error.name === "SASLError") tell("refused", { condition: error.condition });
});
entity.on("stanza", (stanza) => {
  const body = stanza.is("message") && stanza.getChildText("body");
  if (body) tell("message", { from: stanza.attrs.from, body });
});

async function roster() {
  const query = await entity.iqCaller.get(xml("query", "jabber:iq:roster"));
  tell("roster", { items: Object.fromEntries(query.getChildren("item").map(({ attrs }) => [attrs.jid, attrs.subscription])) });
}

async function ping() {
  await entity.iqCaller.request(xml("iq", { type: "get" }, xml("ping", "urn:xmpp:ping")));
  tell("pong");
}

// What goes wrong was told by the event "error".
entity.start().catch(() => {});
await serve({
  message: ({ to, body }) => entity.send(xml("message", { to, type: "chat" }, xml("body", {}, body))),
  roster,
  ping,
  leave: () => entity.stop(),
});
