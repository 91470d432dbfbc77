// SASL in XMPP (RFC 6120 section 6): choose a mechanism among those that the server offers, and run it.

import { HASHES, Scram, fromBase64, toBase64 } from "./scram.js";
import { NS, child, childText, element, is } from "./xml.js";

/** Whether the browser lets this page compute SCRAM: only on https and on the machine itself. */
export const CAN_SCRAM = globalThis.crypto?.subtle !== undefined;

/** Log in on an open stream. Throws `LoginFailed`, or `StreamEnded` when the stream ends meanwhile. */
export async function authenticate(stream, features, username, password) {
  const mechanism = choose(features);
  if (mechanism === "PLAIN") return authenticatePlain(stream, username, password);
  const scram = new Scram(mechanism, username, password);
  stream.send(sasl("auth", scram.first(), { mechanism }));
  const challenge = await answer(stream, "challenge");
  stream.send(sasl("response", await scram.final(challenge)));
  scram.verify(await answer(stream, "success"));
}

async function authenticatePlain(stream, username, password) {
  stream.send(sasl("auth", `\0${username}\0${password}`, { mechanism: "PLAIN" }));
  await answer(stream, "success");
}

function choose(features) {
  const list = child(features, NS.sasl, "mechanisms");
  const offered = new Set([...(list?.children ?? [])].map((mechanism) => mechanism.textContent));
  const known = CAN_SCRAM ? [...Object.keys(HASHES), "PLAIN"] : ["PLAIN"];
  const chosen = known.find((name) => offered.has(name));
  if (!chosen) {
    const names = [...offered].join(", ") || "nothing";
    throw new LoginFailed("invalid-mechanism", `The server offers ${names}; this page can do ${known.join(", ")} here.`);
  }
  return chosen;
}

function sasl(name, text, attributes) {
  return element(NS.sasl, name, attributes, toBase64(new TextEncoder().encode(text)));
}

async function answer(stream, expected) {
  const root = await stream.receive();
  if (is(root, NS.sasl, expected)) return new TextDecoder().decode(fromBase64(root.textContent));
  if (is(root, NS.sasl, "failure")) {
    const condition = root.firstElementChild?.localName ?? "not-authorized";
    throw new LoginFailed(condition, childText(root, NS.sasl, "text"));
  }
  throw new Error(`the server answered <${root.localName}/> where <${expected}/> was due`);
}

/** The server refused the login. `condition` is from RFC 6120 section 6.5. */
export class LoginFailed extends Error {
  constructor(condition, text) {
    super(text || condition);
    this.condition = condition;
    this.text = text;
  }
}
