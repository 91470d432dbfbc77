// SASL in XMPP: choose a mechanism among those that the server offers, and run it, in the words of RFC 6120 section 6 or of
// SASL2 (XEP-0388), by the namespace.

import { HASHES, Scram, fromBase64, hmac, toBase64 } from "./scram.js";
import { NS, child, childText, element, is } from "./xml.js";

/** Whether the browser lets this page compute SCRAM, and use tokens: only on https and on the machine itself. */
export const CAN_SCRAM = globalThis.crypto?.subtle !== undefined;

/** FAST's mechanism for a token where no channel is bound, which a page cannot do (XEP-0484). */
export const TOKEN_MECHANISM = "HT-SHA-256-NONE";

const encoder = new TextEncoder();

/**
 * Log in with a password; return <success/>. `begin(mechanism, data)` makes the first element, and `offered` is a list
 * of mechanisms. Throws `LoginFailed`, or `StreamEnded` when the stream ends meanwhile.
 */
export async function authenticate(stream, offered, { username, password }, begin) {
  const mechanism = choose(offered);
  if (mechanism === "PLAIN") {
    stream.send(begin(mechanism, encoded(`\0${username}\0${password}`)));
    return answer(stream, "success");
  }
  const scram = new Scram(mechanism, username, password);
  stream.send(begin(mechanism, encoded(scram.first())));
  const challenge = await answer(stream, "challenge");
  stream.send(element(challenge.namespaceURI, "response", {}, encoded(await scram.final(dataOf(challenge)))));
  const success = await answer(stream, "success");
  scram.verify(dataOf(success));
  return success;
}

/** Log in with a token (XEP-0484 section 3.3), as `authenticate` does with a password. */
export async function showToken(stream, { username, token }, begin) {
  const key = encoder.encode(token);
  const shown = await hmac("SHA-256", key, "Initiator");
  stream.send(begin(TOKEN_MECHANISM, toBase64([...encoder.encode(`${username}\0`), ...shown])));
  const success = await answer(stream, "success");
  if (childText(success, NS.sasl2, "additional-data") !== toBase64(await hmac("SHA-256", key, "Responder"))) {
    throw new Error("the server could not prove that it knows the token");
  }
  return success;
}

/** Return the mechanisms that an element lists. */
export function mechanismsOf(list) {
  return [...(list?.children ?? [])].filter(({ localName }) => localName === "mechanism").map((each) => each.textContent);
}

function choose(offered) {
  const known = CAN_SCRAM ? [...Object.keys(HASHES), "PLAIN"] : ["PLAIN"];
  const chosen = known.find((name) => offered.includes(name));
  if (!chosen) {
    const names = offered.join(", ") || "nothing";
    throw new LoginFailed("invalid-mechanism", `The server offers ${names}; this page can do ${known.join(", ")} here.`);
  }
  return chosen;
}

async function answer(stream, expected) {
  const root = await stream.receive();
  const isSasl = [NS.sasl, NS.sasl2].includes(root.namespaceURI);
  if (isSasl && root.localName === expected) return root;
  if (isSasl && root.localName === "failure") {
    const condition = child(root, NS.sasl)?.localName ?? "not-authorized";
    throw new LoginFailed(condition, childText(root, root.namespaceURI, "text"));
  }
  throw new Error(`the server answered <${root.localName}/> where <${expected}/> was due`);
}

function encoded(text) {
  return toBase64(encoder.encode(text));
}

function dataOf(root) {
  const data = is(root, NS.sasl2, "success") ? childText(root, NS.sasl2, "additional-data") : root.textContent;
  return new TextDecoder().decode(fromBase64(data));
}

/** The server refused the login. `condition` is from RFC 6120 section 6.5. */
export class LoginFailed extends Error {
  constructor(condition, text) {
    super(text || condition);
    this.condition = condition;
    this.text = text;
  }
}

/** The server takes the page's token no longer, or there is none: somebody has to type the password. */
export class PasswordNeeded extends LoginFailed {}
