// Errors in words.

import { LoginFailed, PasswordNeeded } from "./sasl.js";
import { StanzaFailed } from "./stanza.js";
import { NoAnswer, StreamEnded, Unreachable } from "./stream.js";

// RFC 6120 section 6.5.
const LOGIN = {
  "account-disabled": "The account is disabled.",
  "credentials-expired": "The password has expired.",
  "encryption-required": "The server wants an encrypted connection for this.",
  "invalid-mechanism": "There is no way to log in that both sides know.",
  "not-authorized": "Wrong username or password.",
  "temporary-auth-failure": "The server cannot check passwords at the moment. Try again later.",
};

// RFC 6120 section 8.3.3.
const STANZA = {
  forbidden: "You may not do that.",
  "item-not-found": "There is no such address.",
  "jid-malformed": "This is not an address.",
  "not-allowed": "Nobody may do that.",
  "remote-server-not-found": "There is no such server.",
  "service-unavailable": "There is no such account, or it is not online.",
};

// XEP-0045 section 7.2.
const ROOM = {
  conflict: "Somebody in the room has your name.",
  forbidden: "You are banned from the room.",
  "item-not-found": "There is no such room, or its owner is still setting it up.",
  "jid-malformed": "This is not a room's address.",
  "not-acceptable": "You are not in the room.",
  "not-allowed": "You may not make rooms there.",
  "not-authorized": "The room has a password.",
  "registration-required": "The room is for its members.",
  "remote-server-not-found": "There is no such server.",
  "service-unavailable": "The room is full, or there are no rooms at this address.",
};

// RFC 6455 section 7.4.1.
const CODES = {
  1000: "The server closed the connection.",
  1001: "The server is stopping.",
  1002: "The server found a mistake in the WebSocket protocol.",
  1006: "The connection was lost without a word.",
  1008: "The server's rules do not allow this.",
  1009: "A message was too large for the server.",
  1011: "The server made a mistake.",
};

/** Say what went wrong, in one or two sentences. */
export function inWords(error) {
  if (error instanceof PasswordNeeded) return told("The server wants the password again.", error);
  if (error instanceof LoginFailed) return told(LOGIN[error.condition] ?? "The login failed.", error);
  if (error instanceof StanzaFailed) return told(STANZA[error.condition] ?? "The server refused.", error);
  if (error instanceof Unreachable) return "The server cannot be reached, or it refused the WebSocket: its log says which.";
  if (error instanceof NoAnswer) return `The connection is dead: no answer to a ping for ${error.seconds} s.`;
  if (error instanceof StreamEnded) return endInWords(error);
  return `Something unexpected happened: ${error.message}.`;
}

/** Say why a room has refused something. */
export function refusedByRoom(error) {
  return told(ROOM[error.condition] ?? "The room refused.", error);
}

function endInWords({ code, reason, condition, text }) {
  const meaning = CODES[code] ?? "The connection was closed.";
  // The stream error says more than the close frame, which may repeat it.
  const said = condition ? `${text || "no reason given"} (${condition})` : reason;
  return said ? `${meaning} It says: ${said}. Close code ${code}.` : `${meaning} Close code ${code}.`;
}

function told(sentence, { condition, text }) {
  return text && text !== condition ? `${sentence} The server says: ${text} (${condition}).` : `${sentence} (${condition})`;
}
