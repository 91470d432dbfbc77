// Errors and ends in words. Codes and reasons are in man xmppws-channels.

const ERRORS = {
  "bad-channel": "A room's name has 2 to 12 letters, digits, Chinese characters, spaces, “_” or “-”.",
  "channel-full": "The room is full.",
  conflict: "Ten others in the room have your name already.",
  "message-too-large": "This is too long.",
  "not-allowed": "You may not be in this room.",
  "not-ready": "The room's owner is still setting it up.",
  "too-many-logins": "Too many logins came from your address.",
  "too-many-pages": "You have this room open in as many pages as there may be.",
  "too-many-rooms": "The server has as many rooms as it may.",
  removed: "You are not in the room any more.",
  unavailable: "The server cannot do that at the moment.",
};

const ENDS = {
  "auth-timeout": "The login took too long.",
  idle: "The page was in no room for long.",
  "internal-error": "The server made a mistake.",
  kicked: "An administrator ended your connection.",
  lost: "The connection was lost.",
  "pong-timeout": "The connection went silent.",
  shutdown: "The server is stopping.",
  silent: "The connection is dead: nothing came for 20 seconds.",
  "slow-reader": "This page could not keep up with what it was sent.",
  "stanza-too-large": "A message was too large for the server.",
  "token-expired": "Your token has expired. Get a new one.",
  "token-invalid": "The server does not accept the token.",
  // A browser tells a page no more than that of a connection that was refused.
  unreachable: "The server cannot be reached, or it refused this page: is its origin in allowed_origins, and the address right?",
};

/** Say what went wrong: an error of the server's, or the end of a connection. */
export function inWords({ code, text }) {
  const meaning = ERRORS[code] ?? ENDS[code] ?? "The server refused.";
  return text ? `${meaning} It says: ${text} (${code}).` : meaning;
}
