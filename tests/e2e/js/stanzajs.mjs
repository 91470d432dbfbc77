// stanza.js as a client, in the words of tests/libraries.py. Arguments: the endpoint, the JID, the password.
import { createClient } from "stanza";

import { Refused, answer, tell } from "./lines.mjs";

const [url, jid, password] = process.argv.slice(2);
const { bare, resource } = /^(?<bare>[^/]*)(?:\/(?<resource>.*))?$/u.exec(jid).groups;
const client = createClient({
  jid: bare,
  resource,
  password,
  transports: { websocket: url, bosh: false },
  autoReconnect: true,
  maxReconnectBackoff: 0.2,
});
// A request that no server knows.
client.stanzas.define({ path: "iq.unknown", element: "query", namespace: "urn:example:unknown", fields: {} });

client.on("session:started", async () => {
  const roster = await getRoster();
  await client.send("presence", {});
  tell("online", { jid: client.jid, roster });
});
client.on("disconnected", () => tell("offline"));
client.on("sasl", (sasl) => {
  if (sasl.type !== "failure") return;
  client.config.autoReconnect = false;
  tell("refused", { condition: sasl.condition });
});
client.on("message", ({ from, id, type = "normal", body, delay, error }) => {
  if (type === "error") tell("undelivered", { from, id, condition: error.condition });
  else tell("message", { from, kind: type, body, delay: delay?.timestamp.toISOString() ?? null });
});
client.on("presence", ({ from, type = "available", show = "", status = "", priority = 0 }) => {
  tell("presence", { from, type, show, status, priority });
});
client.on("roster:update", ({ roster }) => {
  for (const item of roster.items) tell("contact", contact(item));
});

function contact({ jid, name = "", subscription = "none", pending: ask = "" }) {
  return { jid, name, subscription, ask };
}

async function getRoster() {
  return (await client.getRoster()).items.map(contact);
}

/** What stanza.js rejects with is the stanza of type error. */
async function asked(request) {
  try {
    return await request;
  } catch ({ error }) {
    throw new Refused(error.condition);
  }
}

async function discoInfo({ jid }) {
  const { features, identities } = await client.getDiscoInfo(jid);
  return { features, identities: identities.map(({ category, type }) => `${category}/${type}`) };
}

async function vcard({ jid }) {
  return (await client.getVCard(jid)).fullName;
}

client.connect();
await answer({
  roster: getRoster,
  set: ({ jid, name }) => asked(client.updateRosterItem({ jid, name })),
  remove: ({ jid }) => asked(client.removeRosterItem(jid)),
  subscribe: ({ jid }) => client.subscribe(jid),
  unsubscribe: ({ jid }) => client.unsubscribe(jid),
  approve: ({ jid }) => client.acceptSubscription(jid),
  deny: ({ jid }) => client.denySubscription(jid),
  presence: ({ show, status, priority }) => client.send("presence", { show, status, priority }),
  message: ({ to, body, kind: type }) => client.sendMessage({ to, body, type }),
  unknown: ({ jid }) => asked(client.sendIQ({ to: jid, type: "get", unknown: {} })),
  block: ({ jid }) => asked(client.block(jid)),
  unblock: ({ jid }) => asked(client.unblock(jid)),
  blocked: async () => (await asked(client.getBlocked())).jids,
  "set-vcard": ({ name }) => asked(client.publishVCard({ format: "vcard-temp", fullName: name })),
  vcard: (request) => asked(vcard(request)),
  disco: (request) => asked(discoInfo(request)),
  enter: async ({ jid, nick }) => void (await asked(client.joinRoom(jid, nick))),
  open: async ({ jid }) => void (await asked(client.configureRoom(jid, { type: "submit", fields: [] }))),
  kick: async ({ jid, nick, reason }) => void (await asked(client.kick(jid, nick, reason))),
  exit: async ({ jid, nick }) => void (await client.leaveRoom(jid, nick)),
  ping: () => asked(client.ping()),
  leave: () => client.disconnect(),
});
