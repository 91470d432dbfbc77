// What stanzas have in common: their errors, and those that come in another one.

import { NS, child, childText } from "./xml.js";

/** A stanza was answered with an error (RFC 6120 section 8.3). */
export class StanzaFailed extends Error {
  constructor(stanza) {
    const error = child(stanza, NS.client, "error") ?? stanza;
    const condition = child(error, NS.stanzaErrors)?.localName ?? "undefined-condition";
    const text = childText(error, NS.stanzaErrors, "text");
    super(text || condition);
    this.condition = condition;
    this.text = text;
  }
}

/**
 * Return the message that a copy (XEP-0280) or a result from the archive (XEP-0313) holds, as {message, archiveId, stamp},
 * null where nothing is held. Only the own account may send those.
 */
export function held(root) {
  const result = child(root, NS.mam, "result");
  const wrapper = result ?? child(root, NS.carbons, "received") ?? child(root, NS.carbons, "sent");
  const forwarded = wrapper && child(wrapper, NS.forward, "forwarded");
  const message = forwarded && child(forwarded, NS.client, "message");
  if (!message) return null;
  const stamp = result ? (child(forwarded, NS.delay, "delay")?.getAttribute("stamp") ?? "") : "";
  return { message, archiveId: result?.id ?? "", stamp };
}

/** Return the id that a message has in the archive of an account (XEP-0359): others' word does not count. */
export function archiveIdOf(message, account) {
  const ids = [...message.children].filter((each) => each.namespaceURI === NS.stanzaIds && each.getAttribute("by") === account);
  return ids.find(({ localName }) => localName === "stanza-id")?.id ?? "";
}
