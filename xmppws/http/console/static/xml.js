// XML through the browser's own DOM: nothing is ever put together from strings, so nothing has to be escaped by hand.

export const NS = Object.freeze({
  framing: "urn:ietf:params:xml:ns:xmpp-framing",
  stream: "http://etherx.jabber.org/streams",
  streamErrors: "urn:ietf:params:xml:ns:xmpp-streams",
  sasl: "urn:ietf:params:xml:ns:xmpp-sasl",
  sasl2: "urn:xmpp:sasl:2",
  fast: "urn:xmpp:fast:0",
  register: "jabber:iq:register",
  bind: "urn:ietf:params:xml:ns:xmpp-bind",
  bind2: "urn:xmpp:bind:0",
  sm: "urn:xmpp:sm:3",
  client: "jabber:client",
  stanzaErrors: "urn:ietf:params:xml:ns:xmpp-stanzas",
  roster: "jabber:iq:roster",
  ping: "urn:xmpp:ping",
  delay: "urn:xmpp:delay",
  carbons: "urn:xmpp:carbons:2",
  forward: "urn:xmpp:forward:0",
  mam: "urn:xmpp:mam:2",
  rsm: "http://jabber.org/protocol/rsm",
  stanzaIds: "urn:xmpp:sid:0",
  muc: "http://jabber.org/protocol/muc",
  mucUser: "http://jabber.org/protocol/muc#user",
  mucOwner: "http://jabber.org/protocol/muc#owner",
  dataForms: "jabber:x:data",
});

// XML 1.0 section 2.2: these characters cannot stand in XML at all, not even escaped. Half a surrogate pair is one of them.
const NOT_XML = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu;

/** Make an element. Children are elements or strings; an attribute that is undefined or "" is left out. */
export function element(namespace, name, attributes = {}, ...children) {
  const made = document.implementation.createDocument(namespace, name).documentElement;
  for (const [key, value] of Object.entries(attributes)) {
    if (value) made.setAttribute(key, storable(value));
  }
  made.append(...children.map((child) => (typeof child === "string" ? storable(child) : child)));
  return made;
}

/** Write an element as the text of one WebSocket message. */
export function serialize(root) {
  return new XMLSerializer().serializeToString(root);
}

/** Read the text of one WebSocket message. Throws `NotWellFormed`. */
export function parse(text) {
  const root = new DOMParser().parseFromString(text, "application/xml").documentElement;
  // The parser does not throw: it answers with a document that holds its complaint.
  const complaint = root.localName === "parsererror" ? root : root.querySelector("parsererror");
  if (complaint) throw new NotWellFormed(complaint.textContent);
  return root;
}

/** Return the first child element of that namespace and, unless it does not matter, name. */
export function child(parent, namespace, name) {
  return [...parent.children].find((e) => e.namespaceURI === namespace && (!name || e.localName === name));
}

/** Tell whether an element has this namespace and name: the prefix never counts. */
export function is(root, namespace, name) {
  return root.namespaceURI === namespace && root.localName === name;
}

/** Return the text of a child element, "" without one. */
export function childText(parent, namespace, name) {
  return child(parent, namespace, name)?.textContent ?? "";
}

/** The text was not one XML document. */
export class NotWellFormed extends Error {}

function storable(text) {
  return text.replace(NOT_XML, "\uFFFD");
}
