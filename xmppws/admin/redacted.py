"""Show what passes on a stream without what people say: names, addresses, ids and types stay, the rest is its length.

Read by expat, which keeps no names: what is shown costs the server's parser nothing.
"""

from __future__ import annotations

from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from xmppws.xml import ns

MAX_SHOWN: Final = 8192
"""Characters of one message; the rest is left out."""

_ADDRESSES: Final = frozenset({"to", "from"})
# An id elsewhere may be a secret, such as the one that resumes a stream (XEP-0198).
_WITH_ID: Final = frozenset({"message", "presence", "iq", "stanza-id", "origin-id", "received", "displayed"})
_SASL: Final = (ns.SASL, "urn:xmpp:sasl:")


class _Shown:
    def __init__(self) -> None:
        self.is_sasl = False
        self._parts: list[str] = []
        self._size = 0
        self._text = 0
        self._open = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._parts:
            self.is_sasl = _namespace(tag, attributes).startswith(_SASL)
        self._content()
        self._add("<" + tag + "".join(f" {name}={_value(tag, name, text)}" for name, text in attributes.items()))
        self._open = True

    def end(self, tag: str) -> None:
        if self._open and not self._text:
            self._add("/>")
            self._open = False
            return
        self._content()
        self._add(f"</{tag}>")

    def data(self, data: str) -> None:
        self._text += len(data)

    def _content(self) -> None:
        if self._open:
            self._add(">")
            self._open = False
        if self._text:
            self._add(_length(self._text))
            self._text = 0

    def _add(self, part: str) -> None:
        if self._size <= MAX_SHOWN:
            self._parts.append(part)
            self._size += len(part)

    def __str__(self) -> str:
        shown = "".join(self._parts)
        return shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "…"


def redacted(message: bytes) -> str:
    """Return a message with every text and every telling attribute replaced by its length, such as `…(12)`.

    What belongs to SASL is not shown at all: the result is "" then.
    """
    shown = _Shown()
    parser = expat.ParserCreate("UTF-8")
    parser.buffer_text = True
    parser.StartElementHandler = shown.start
    parser.EndElementHandler = shown.end
    parser.CharacterDataHandler = shown.data
    try:
        parser.Parse(message, True)
    except expat.ExpatError:
        return f"(no XML, {len(message)} bytes)"
    return "" if shown.is_sasl else str(shown)


def _namespace(tag: str, attributes: dict[str, str]) -> str:
    prefix = tag.rpartition(":")[0]
    return attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")


def _value(tag: str, name: str, value: str) -> str:
    element = tag.rpartition(":")[2]
    known = name in _ADDRESSES or name == "type" or (name == "id" and element in _WITH_ID)
    if known or name == "xmlns" or name.startswith("xmlns:"):
        return quoteattr(value)
    return f'"{_length(len(value))}"'


def _length(characters: int) -> str:
    return f"…({characters})"
