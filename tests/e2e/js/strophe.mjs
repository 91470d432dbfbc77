// Strophe.js as a client. Arguments: the endpoint, the JID, the password.
import { $iq, $msg, $pres, Strophe } from "strophe.js";

import { serve, tell } from "./lines.mjs";

const [url, jid, password] = process.argv.slice(2);
const connection = new Strophe.Connection(url);
let leaving = false;

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

function connected() {
  connection.addHandler(received, null, "message", "chat");
  connection.send($pres());
  tell("online", { jid: connection.jid });
}

function disconnected() {
  tell("offline");
  if (leaving) return;
  connection.reset();
  connect();
}

function received(stanza) {
  tell("message", { from: stanza.getAttribute("from"), body: stanza.getElementsByTagName("body")[0]?.textContent });
  return true;
}

function contacts(answer) {
  const items = [...answer.getElementsByTagName("item")];
  tell("roster", { items: Object.fromEntries(items.map((item) => [item.getAttribute("jid"), item.getAttribute("subscription")])) });
}

function failed(stanza) {
  tell("error", { stanza: stanza && Strophe.serialize(stanza) });
}

connect();
await serve({
  message: ({ to, body }) => connection.send($msg({ to, type: "chat" }).c("body").t(body)),
  roster: () => connection.sendIQ($iq({ type: "get" }).c("query", { xmlns: "jabber:iq:roster" }), contacts, failed),
  ping: () => connection.sendIQ($iq({ type: "get" }).c("ping", { xmlns: "urn:xmpp:ping" }), () => tell("pong"), failed),
  leave: () => {
    leaving = true;
    connection.disconnect();
  },
});
