// From the socket to the session: a new one, or one that goes on (XEP-0198). With SASL2 (XEP-0388) that is one request and
// one answer, for which a token is enough (FAST, XEP-0484); servers without it are asked step by step (RFC 6120).

import { split } from "./jid.js";
import { CAN_SCRAM, LoginFailed, PasswordNeeded, TOKEN_MECHANISM, authenticate, mechanismsOf, showToken } from "./sasl.js";
import { StanzaFailed } from "./stanza.js";
import { NS, child, childText, element, is } from "./xml.js";

// What begins the name of the resource, unless the user says something else.
const TAG = "console";

/**
 * Log in on a new stream; return {jid, isResumed, hasArchive, left}, where `left` are the stanzas of a session that could
 * not be resumed which the server has never acknowledged.
 *
 * `account` is {username, domain, password, resource, agent, token}: the password or the token are needed. A token that
 * comes takes the place of the password there. Throws `LoginFailed`, `StanzaFailed`, or `StreamEnded`.
 */
export async function logIn(stream, account, counters) {
  const features = await stream.open(account.domain);
  const offer = child(features, NS.sasl2, "authentication");
  return offer ? inOneStep(stream, account, counters, offer) : stepByStep(stream, account, counters, features);
}

/** Log in only to make the token useless: whoever has found it cannot log in any more. */
export async function invalidate(stream, account) {
  await stream.open(account.domain);
  await showToken(stream, account, (mechanism, data) => request(account, mechanism, data, fast({ invalidate: "true" })));
}

// --- SASL2 ---

async function inOneStep(stream, account, counters, offer) {
  const wanted = [...(counters.id ? [resumption(counters)] : []), bind(account.resource || TAG)];
  const success = account.password ? await byPassword(stream, account, offer, wanted) : await byToken(stream, account, offer, wanted);
  const token = child(success, NS.fast, "token")?.getAttribute("token");
  if (token) Object.assign(account, { token, password: "" });
  // XEP-0388 section 2.6.4: the features follow at once, without a new <open/>.
  await stream.receive();
  return outcome(success, childText(success, NS.sasl2, "authorization-identifier"), counters);
}

function byPassword(stream, account, offer, wanted) {
  const tokens = mechanismsOf(child(child(offer, NS.sasl2, "inline") ?? offer, NS.fast, "fast"));
  // Without WebCrypto a page could not show a token.
  const asked = CAN_SCRAM && tokens.includes(TOKEN_MECHANISM) ? [element(NS.fast, "request-token", { mechanism: TOKEN_MECHANISM })] : [];
  if (asked.length > 0) account.agent ||= crypto.randomUUID();
  return authenticate(stream, mechanismsOf(offer), account, (mechanism, data) => request(account, mechanism, data, ...asked, ...wanted));
}

async function byToken(stream, account, offer, wanted) {
  if (!account.token) throw new PasswordNeeded("not-authorized", "");
  try {
    return await showToken(stream, account, (mechanism, data) => request(account, mechanism, data, fast(), ...wanted));
  } catch (error) {
    if (!(error instanceof LoginFailed) || error.condition === "temporary-auth-failure") throw error;
    throw new PasswordNeeded(error.condition, error.text);
  }
}

function request({ agent }, mechanism, data, ...inline) {
  const software = element(NS.sasl2, "software", {}, "xmppws console");
  return element(
    NS.sasl2,
    "authenticate",
    { mechanism },
    element(NS.sasl2, "initial-response", {}, data),
    element(NS.sasl2, "user-agent", { id: agent }, software),
    ...inline,
  );
}

function fast(attributes) {
  return element(NS.fast, "fast", attributes);
}

// XEP-0386: the resource, and with it what would else be asked for afterwards.
function bind(tag) {
  const enable = element(NS.sm, "enable", { resume: "true" });
  return element(NS.bind2, "bind", {}, element(NS.bind2, "tag", {}, tag), enable, element(NS.carbons, "enable"));
}

function outcome(success, jid, counters) {
  const resumed = child(success, NS.sm, "resumed");
  if (resumed) return goOn(resumed, jid, counters);
  const left = giveUp(child(success, NS.sm, "failed"), counters);
  const bound = child(success, NS.bind2, "bound");
  if (!bound) throw new Error("the server has bound no resource");
  const enabled = child(bound, NS.sm, "enabled");
  if (enabled) {
    counters.begin();
    counters.enabled(enabled.id);
  }
  return { jid, isResumed: false, hasArchive: Boolean(child(bound, NS.mam, "metadata")), left };
}

// --- RFC 6120 ---

async function stepByStep(stream, account, counters, offer) {
  if (!account.password) throw new PasswordNeeded("not-authorized", "");
  const mechanisms = mechanismsOf(child(offer, NS.sasl, "mechanisms"));
  await authenticate(stream, mechanisms, account, (mechanism, data) => element(NS.sasl, "auth", { mechanism }, data));
  // RFC 6120 section 6.4.6: after success the stream starts again, and the features are new ones.
  const features = await stream.open(account.domain);
  let left = [];
  if (counters.id) {
    stream.send(resumption(counters));
    const answer = await stream.receive();
    if (is(answer, NS.sm, "resumed")) return goOn(answer, account.jid, counters);
    left = giveUp(answer, counters);
  }
  const jid = await bindResource(stream, account);
  if (child(features, NS.sm, "sm")) {
    counters.begin();
    stream.send(element(NS.sm, "enable", { resume: "true" }));
  }
  return { jid, isResumed: false, hasArchive: false, left };
}

async function bindResource(stream, account) {
  const wanted = account.resource ? [element(NS.bind, "resource", {}, account.resource)] : [];
  stream.send(element(NS.client, "iq", { type: "set", id: "bind" }, element(NS.bind, "bind", {}, ...wanted)));
  const result = await stream.receive();
  if (result.getAttribute("type") !== "result") throw new StanzaFailed(result);
  account.jid = childText(child(result, NS.bind, "bind"), NS.bind, "jid");
  // The same resource next time: the server then ends what is left of the lost session.
  account.resource = split(account.jid).resource;
  return account.jid;
}

// --- XEP-0198 ---

function resumption({ id, handled }) {
  return element(NS.sm, "resume", { previd: id, h: `${handled}` });
}

function goOn(resumed, jid, counters) {
  counters.acknowledge(Number(resumed.getAttribute("h")));
  return { jid, isResumed: true, hasArchive: false, left: [] };
}

// Section 5: <failed/> may say how much the server has handled yet.
function giveUp(failed, counters) {
  if (failed?.hasAttribute("h")) counters.acknowledge(Number(failed.getAttribute("h")));
  return counters.stop();
}
