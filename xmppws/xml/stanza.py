"""The stanza: what a message, presence or IQ is to everything between the parser and the socket (RFC 6120 section 8).

A stanza is a value. Its element holds the payload and every attribute but `to` and `from`, which live beside it as
JIDs; the element's bytes are made once, when first sent, and shared by all copies that differ in addresses only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from msgspec import Struct

from xmppws.errors import BadNamespacePrefix, BadRequest, InvalidFrom, JidMalformed, StanzaError, UnsupportedStanzaType
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element, reparse, tag_of
from xmppws.xml.writer import attribute, child, element, serialize

_KINDS: Final = {f"{{{ns.CLIENT}}}{kind}": kind for kind in ("message", "presence", "iq")}
_TYPES: Final = {
    "message": frozenset({"normal", "chat", "groupchat", "headline", "error"}),
    "presence": frozenset(
        {"", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"}
    ),
    "iq": frozenset({"get", "set", "result", "error"}),
}
_DEFAULT_TYPE: Final = {"message": "normal", "presence": "", "iq": ""}
_BEGINNINGS: Final = {"message": b"<message", "presence": b"<presence", "iq": b"<iq"}

# Few addresses make up most of the traffic.
_address = lru_cache(maxsize=8192)(attribute)


class Stanza(Struct, eq=False):
    """A message, presence or IQ. `type` has its default filled in."""

    kind: str
    type: str
    element: Element
    to: Jid | None = None
    sender: Jid | None = None
    _rest: bytes | None = None

    @property
    def id(self) -> str:
        """The id, "" when there is none."""
        return self.element.get("id", "")

    @property
    def payload(self) -> Element | None:
        """The first child element, which is the whole content of an IQ request."""
        return self.element[0] if len(self.element) else None

    @property
    def content(self) -> bytes:
        """All but the name and the addresses, as bytes: attributes, children, end tag. `kept` takes it back."""
        if self._rest is None:
            self._rest = serialize(self.element)[len(_BEGINNINGS[self.kind]) :]
        return self._rest

    @property
    def wire(self) -> bytes:
        """The stanza as bytes, addresses included."""
        to, sender = self.to, self.sender
        return b"%b%b%b%b" % (
            _BEGINNINGS[self.kind],
            b' to="%b"' % _address(to.text) if to is not None else b"",
            b' from="%b"' % _address(sender.text) if sender is not None else b"",
            self.content,
        )

    def tree(self) -> Element:
        """Return the stanza as an element, to be read: also one that was made from what was kept, or has more."""
        if self._rest is None:
            return self.element
        return reparse(_BEGINNINGS[self.kind] + self._rest)

    def addressed(self, *, to: Jid | None, sender: Jid | None) -> Stanza:
        """Return a copy with other addresses, sharing the content."""
        return Stanza(self.kind, self.type, self.element, to, sender, self.content)

    def plus(self, child: bytes) -> Stanza:
        """Return a copy whose bytes have one more child, which declares its namespace. The element stays as it is."""
        end = b"</%b>" % self.kind.encode()
        content = self.content
        head = content[:-2] + b">" if content.endswith(b"/>") else content[: -len(end)]
        return Stanza(self.kind, self.type, self.element, self.to, self.sender, head + child + end)

    def child(self, namespace: str, name: str) -> Element | None:
        """Return the first child of that name."""
        return self.element.find(f"{{{namespace}}}{name}")

    def result(self, payload: Element | None = None) -> Stanza:
        """Build the result of an IQ request, to its sender. `payload` is newly built and not held by anybody else."""
        return self._reply("result", payload)

    def error(self, error: StanzaError) -> Stanza:
        """Build the error stanza that answers this stanza (RFC 6120 section 8.3)."""
        return self._reply("error", error_element(error))

    @property
    def answerable(self) -> bool:
        """Whether an error may answer it.

        RFC 6120 section 8.3.1: an error must not answer an error, nor is a result answered.
        """
        return self.type not in ("error", "result")

    def _reply(self, type: str, payload: Element | None) -> Stanza:
        reply = element(ns.CLIENT, self.kind, {"type": type})
        if self.id:
            reply.set("id", self.id)
        if payload is not None:
            reply.append(payload)
        return Stanza(self.kind, type, reply, to=self.sender, sender=self.to)


def is_stanza(root: Element) -> bool:
    """Tell a stanza from other elements of a stream."""
    return tag_of(root) in _KINDS


def read(root: Element) -> tuple[Stanza, StanzaError | None]:
    """Make a stanza of an element that the caller owns, and say what is wrong with it.

    The stanza is returned even then, so that an error can answer it. Raises `UnsupportedStanzaType` when it is none at
    all, `BadNamespacePrefix`, and `InvalidFrom` when nobody can be told.
    """
    kind = _KINDS.get(root.tag)  # type: ignore[arg-type]  # No parser makes names of other types.
    if kind is None:
        raise UnsupportedStanzaType(f"Stanzas are message, presence and iq of {ns.CLIENT}")
    # RFC 6120 section 4.8.5: no prefix on elements of the content namespace; `wire` relies on it.
    if root.prefix is not None:
        raise BadNamespacePrefix(f"Stanzas declare {ns.CLIENT} as their default namespace, without a prefix")
    attributes = root.attrib
    to_text = attributes.pop("to", None)
    sender_text = attributes.pop("from", None)
    type = attributes.get("type") or _DEFAULT_TYPE[kind]
    stanza = Stanza(kind, type, root)
    if sender_text is not None:
        try:
            stanza.sender = Jid.parse(sender_text)
        except InvalidJid as error:
            raise InvalidFrom(str(error)) from None
    if to_text is not None:
        try:
            stanza.to = Jid.parse(to_text)
        except InvalidJid as error:
            return stanza, JidMalformed(str(error))
    if type in _TYPES[kind]:
        return stanza, None if kind != "iq" else _iq_mistake(stanza)
    if kind == "message":
        # RFC 6121 section 5.2.2: a message of an unknown type is of type normal.
        stanza.type = "normal"
        return stanza, None
    return stanza, BadRequest(f"No {kind} has the type '{type[:40]}'")


def _iq_mistake(iq: Stanza) -> StanzaError | None:
    # RFC 6120 section 8.2.3: an id is required; a request has exactly one child, a result none or one.
    if not iq.id:
        return BadRequest("An iq needs an id")
    if iq.type in ("get", "set") and len(iq.element) != 1:
        return BadRequest("An iq request has exactly one child element")
    return None


def kept(kind: str, type: str, content: bytes, *, to: Jid | None, sender: Jid | None) -> Stanza:
    """Return a stanza from the `content` that was kept of it, to be sent: its element holds nothing of it."""
    return Stanza(kind, type, element(ns.CLIENT, kind), to, sender, content)


def revived(kind: str, type: str, content: bytes, *, to: Jid | None, sender: Jid | None) -> Stanza:
    """Return a stanza from the `content` that was kept of it, with its element: to be handled like a new one."""
    return Stanza(kind, type, reparse(_BEGINNINGS[kind] + content), to, sender, content)


def error_element(error: StanzaError) -> Element:
    """Build the `<error/>` of a stanza error (RFC 6120 section 8.3.2)."""
    made = element(ns.CLIENT, "error", {"type": error.type})
    child(made, ns.STANZA_ERRORS, error.condition)
    if error.text:
        child(made, ns.STANZA_ERRORS, "text", {ns.LANG: "en"}, error.text)
    if error.specific:
        namespace, _, name = error.specific[1:].partition("}")
        child(made, namespace, name, error.details)
    return made


def message(type: str, children: Iterable[Element] = (), *, to: Jid | None, sender: Jid | None, id: str = "") -> Stanza:
    """Build a message."""
    return _build("message", type, children, to, sender, id)


def presence(type: str = "", children: Iterable[Element] = (), *, to: Jid | None, sender: Jid | None) -> Stanza:
    """Build a presence; type "" means available."""
    return _build("presence", type, children, to, sender, "")


def iq(type: str, payload: Element, *, to: Jid | None, sender: Jid | None, id: str) -> Stanza:
    """Build an IQ request."""
    return _build("iq", type, (payload,), to, sender, id)


def _build(kind: str, type: str, children: Iterable[Element], to: Jid | None, sender: Jid | None, id: str) -> Stanza:
    root = element(ns.CLIENT, kind)
    if type:
        root.set("type", type)
    if id:
        root.set("id", id)
    root.extend(children)
    return Stanza(kind, type, root, to=to, sender=sender)
