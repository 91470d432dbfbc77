"""Read the stream of a TCP peer (RFC 6120 section 4): its header, its first-level elements, its end.

Theory of operation. Nearly every element is plain: its first tag is short, has a name without prefix, and no '>' in a
value. It ends at the first `</name>` up to which there are as many of those as of `<name`, if no CDATA is in it and
expat finds it well-formed: each of them then ends one element, so none is left open. That costs one run through expat
without a call back into Python, no tree, and nothing that is kept until the next. For any other element expat reports
the tags, and the depth is counted up to each `</name>`.

Each element is handed out as bytes that stand on their own, as a WebSocket message has to (RFC 7395 section 3.3.3):
what the header declares and the element does not is inserted into its first tag, and nothing else is touched.

| state  | waits for                                    |
|--------|----------------------------------------------|
| HEADER | `<stream:stream>`, at first or after restart |
| OPEN   | an element or `</stream:stream>`             |
| CLOSED | nothing: what comes is dropped               |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from xmppws.errors import BadFormat, NotWellFormed, Reason, StreamPolicyViolation
from xmppws.stream.tcp import Header, read_header
from xmppws.stream.tcp_check import Check, Checks, Count, Limits, UnsupportedEncoding, restricted
from xmppws.stream.tcp_plain import declares_default, first_tag
from xmppws.xml.writer import attribute

MAX_HEADER: Final = 4096
MAX_TAG: Final = 16 * 1024
"""The most bytes of an element's first tag, which is looked at again with each read until it is whole."""

# What is here of an element is searched from its beginning with each read, if it has no more bytes.
_SEARCHED_AGAIN: Final = 4096
# The fewest bytes that a level, an element and an attribute take: `<a></a>`, `<a/>`, ` a=""`.
_LEVEL, _ELEMENT, _VALUE = 7, 4, 5

# A start tag of a well-formed document, whatever its values hold: name, attributes, "/" if that is the whole element.
_TAG: Final = rb"""<([^ \t\r\n/<>"'=!?]++)((?:[^<>"'/]++|"[^"<]*+"|'[^'<]*+')*+)(/?)>"""
_DECLARATION: Final = rb"(?:<\?xml[ \t\r\n][^<>?]*+\?>[ \t\r\n]*+)?+"
_START: Final = re.compile(_TAG)
_HEADER: Final = re.compile(_DECLARATION + _TAG)
_BEFORE_HEADER: Final = re.compile(_DECLARATION)
_BLANK: Final = re.compile(rb"[ \t\r\n]*+")
_CLOSE: Final = re.compile(rb"</([^ \t\r\n<>]++)[ \t\r\n]*+>")
_ATTRIBUTE: Final = re.compile(rb"""([^ \t\r\n=]++)[ \t\r\n]*+=[ \t\r\n]*+(?:"[^"]*+"|'[^']*+')""")
_LESS_THAN: Final = ord("<")
_GREATER_THAN: Final = ord(">")
_SLASH: Final = ord("/")
_EXCLAMATION: Final = ord("!")
_APOSTROPHE: Final = ord("'")
_QUOTE: Final = ord('"')


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer has closed its stream (RFC 6120 section 4.4)."""


Event: TypeAlias = Header | bytes | Closed
"""Bytes are a first-level element that stands on its own: a message of RFC 7395."""


class State(Enum):
    HEADER = "header"
    OPEN = "open"
    CLOSED = "closed"


class Reader:
    """Reads a peer's stream of one content namespace. Feed it bytes, then ask for the next event until it has none.

    `max_size` bounds an element in bytes and may be changed between events. What is not an event yet is kept: ask for
    all of them before feeding more. After an error nothing more can be read.
    """

    __slots__ = (
        "_buffer",
        "_check",
        "_checks",
        "_content",
        "_count",
        "_counted",
        "_default",
        "_few",
        "_limits",
        "_opening",
        "_position",
        "_prefixes",
        "_root",
        "_searched",
        "_small",
        "_state",
        "max_size",
    )

    def __init__(self, content: str, max_size: int, checks: Checks, limits: Limits | None = None) -> None:
        self._content = content
        self._checks = checks
        self._limits = limits or Limits()
        # An element with no more tags, or no more bytes, is neither too deep nor has it too many elements.
        self._few = min(self._limits.depth, self._limits.elements)
        self._small = min(
            self._limits.depth * _LEVEL, self._limits.elements * _ELEMENT, self._limits.attributes * _VALUE
        )
        self.max_size = max_size
        self._state = State.HEADER
        # Of the header: its name as written, a tag that declares the same, and the declarations one by one.
        self._root = self._opening = self._default = b""
        self._check: Check
        self._prefixes: tuple[tuple[bytes, bytes], ...] = ()
        self._buffer: bytes | bytearray = b""
        self._position = 0
        # Of an element that is not whole yet: who counts in it, how much of it was counted, from where its end is to be
        # looked for. Both are distances from `_position`.
        self._count: Count | None = None
        self._counted = self._searched = 0

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket. Bytes after the end of the stream are dropped."""
        if self._state is State.CLOSED:
            return
        rest = self.buffered
        if not rest:
            self._buffer = data
        elif rest <= _SEARCHED_AGAIN:
            self._buffer = bytes(self._buffer[self._position :]) + data
        elif isinstance(self._buffer, bytearray):
            # Drop what was read, then grow in place: an element that drips in is not copied for every byte.
            del self._buffer[: self._position]
            self._buffer += data
        else:
            self._buffer = bytearray(self._buffer[self._position :]) + data
        self._position = 0

    def whole(self, data: bytes) -> bytes | None:
        """Return the element if the bytes are one plain stanza: nearly all that a read brings is that.

        With None, nothing was taken: feed the bytes then.
        """
        if self._state is not State.OPEN or self._position != len(self._buffer):
            return None
        inside = first_tag(data)
        if not inside or inside > MAX_TAG or not self._is_countless(data) or not self._check.read(data):
            return None
        if declares_default(data, inside) and not self._takes_prefixes(data):
            return data
        name = data.find(b" ")
        return self._declared(data, name, data[name + 1 : inside - 1])

    def restart(self) -> None:
        """Expect a fresh header (RFC 6120 section 4.3.3). Before TLS, look at `buffered`."""
        self._state = State.HEADER

    @property
    def buffered(self) -> int:
        """How many bytes are not an event yet.

        It must be 0 after `<proceed/>`: what came before the TLS handshake is never read as if it had come through it.
        """
        return len(self._buffer) - self._position

    def next(self) -> Event | None:
        """Return the next event, or None until more bytes are fed. Raises a `StreamError`."""
        if self._position == len(self._buffer):
            # An idle stream keeps no bytes.
            self._buffer, self._position = b"", 0
            return None
        if self._state is State.OPEN and self._count is None and isinstance(self._buffer, bytes):
            element = self._plain(self._buffer, self._position)
            if element is not None:
                return element
        # RFC 6120 section 4.6.1: whitespace between elements keeps the connection alive.
        if (start := self._blanks(self._position)) > self._position:
            self._position = start
            return self.next()
        return self._next_element() if self._state is State.OPEN else self._next_header()

    def _plain(self, buffer: bytes, start: int) -> bytes | None:
        """Return the element if all of it is here, it is well-formed, and nothing in it has to be counted.

        With None, nothing was taken, and the general way finds out what there is.
        """
        inside = buffer.find(b">", start) + 1
        if not inside:
            return None
        beginning, _, attributes = buffer[start : inside - 1].partition(b" ")
        if beginning[:1] != b"<" or not beginning[1:].isalpha() or not _ends_outside_of_values(attributes):
            return None
        end = inside if buffer[inside - 2] == _SLASH else _matching_end(buffer, beginning, inside)
        element = buffer[start:end]
        if not element or not self._is_countless(element) or inside - start > MAX_TAG:
            return None
        if not self._check.read(element):
            return None
        self._position = end
        self._searched = 0
        return self._declared(element, len(beginning), attributes)

    def _is_countless(self, element: bytes) -> bool:
        """Return whether an element is within all limits, and its end sure, without counting its tags."""
        if len(element) > self.max_size or (_EXCLAMATION in element and b"<!" in element):
            return False
        return len(element) <= self._small or (
            element.count(b"<") <= self._few and element.count(b"=") <= self._limits.attributes
        )

    def _blanks(self, start: int) -> int:
        match = _BLANK.match(self._buffer, start)
        assert match is not None
        return match.end()

    def _next_header(self) -> Header | None:
        start = self._position
        match = _HEADER.match(self._buffer, start, start + MAX_HEADER)
        if match is None:
            self._refuse_header(start)
            return None
        if match[3]:
            raise BadFormat("The stream ended with its header")
        header, prefixes = read_header(bytes(match[0]), self._content)
        self._position = match.end()
        self._root = bytes(match[1])
        self._declare(prefixes)
        self._state = State.OPEN
        return header

    def _declare(self, prefixes: dict[str, str]) -> None:
        self._default = b' xmlns="%b"' % attribute(self._content)
        self._prefixes = tuple(
            (prefix.encode() + b":", b' xmlns:%b="%b"' % (prefix.encode(), attribute(uri)))
            for prefix, uri in prefixes.items()
        )
        declared = b"".join(declaration for _, declaration in self._prefixes)
        self._opening = b"<stream%b%b>" % (self._default, declared)
        self._check = self._checks.of(self._opening)

    def _refuse_header(self, start: int) -> None:
        """Raise what is wrong with a header that is not whole, if it can never be."""
        buffer = self._buffer
        if buffer[start] != _LESS_THAN:
            # RFC 6120 section 4.9.3.22: how UTF-16 and UTF-32 begin.
            if buffer[start] in b"\x00\xfe\xff":
                raise UnsupportedEncoding("A stream is encoded in UTF-8")
            raise NotWellFormed("The stream does not start with '<'")
        end = start + MAX_HEADER
        match = _BEFORE_HEADER.match(buffer, start, end)
        assert match is not None
        tag = match.end()
        first = bytes(buffer[tag : tag + 2])
        if first == b"<!" or (first == b"<?" and (tag > start or buffer.find(b"?>", tag, end) >= 0)):
            raise restricted()
        if first[:1] not in (b"<", b"") or (first != b"<?" and buffer.find(b"<", tag + 1, end) >= 0):
            raise NotWellFormed("The stream does not start with a tag")
        if len(buffer) > end:
            raise StreamPolicyViolation(f"A stream header of more than {MAX_HEADER} bytes", Reason.FRAME_TOO_BIG)

    def _next_element(self) -> bytes | Closed | None:
        start = self._position
        tag = _START.match(self._buffer, start, start + min(MAX_TAG, self.max_size))
        if tag is None:
            return self._no_element(start)
        end = self._end(tag)
        if not end:
            if len(self._buffer) - start > self.max_size:
                raise self._too_big()
            return None
        element = bytes(self._buffer[start:end])
        self._position = end
        return self._declared(element, len(tag[1]) + 1, tag[2])

    def _no_element(self, start: int) -> Closed | None:
        buffer, limit = self._buffer, start + min(MAX_TAG, self.max_size)
        first = bytes(buffer[start : start + 2])
        if first[:1] != b"<":
            raise BadFormat("Between elements there is nothing but whitespace")
        if first in (b"<!", b"<?"):
            raise restricted()
        if first == b"</" and (match := _CLOSE.match(buffer, start, limit)):
            if match[1] != self._root:
                raise NotWellFormed("An end tag without a start tag")
            self._state = State.CLOSED
            self._buffer, self._position = b"", 0
            return Closed()
        if buffer.find(b"<", start + 1, limit) >= 0 or (first == b"</" and buffer.find(b">", start, limit) >= 0):
            raise NotWellFormed("A tag that is not well-formed")
        if len(buffer) > limit:
            raise self._too_big()
        return None

    def _end(self, tag: re.Match[bytes]) -> int:
        """Return where the element of this first tag ends, or 0 if that is not here."""
        if tag[3]:
            self._is_end(tag.end())
            return tag.end()
        while end := self._end_tag(b"</" + tag[1], tag.end()):
            if self._is_end(end):
                self._searched = 0
                return end
        return 0

    def _end_tag(self, wanted: bytes, inside: int) -> int:
        """Return where the next end tag ends that begins with `wanted`, or 0 if it is not here."""
        buffer, start = self._buffer, self._position
        limit = min(len(buffer), start + self.max_size)
        found = max(inside, start + self._searched)
        while (found := buffer.find(wanted, found, limit)) >= 0:
            end = found + len(wanted)
            if end < limit and buffer[end] != _GREATER_THAN:
                end = self._blanks(end)
            if end - found > MAX_TAG:
                raise self._too_big()
            if end >= limit:
                self._searched = found - start
                return 0
            if buffer[end] == _GREATER_THAN:
                self._searched = end + 1 - start
                return end + 1
            # The end of an element with a longer name.
            found = end
        # A part of it may be here.
        self._searched = max(self._searched, limit - start - len(wanted))
        return 0

    def _is_end(self, end: int) -> bool:
        """Count what there is up to the end of a tag, and return whether the element ends there."""
        if self._count is None:
            self._count = Count(self._opening, self._limits)
        ended = self._count.read(bytes(self._buffer[self._position + self._counted : end]))
        self._counted = end - self._position
        if ended:
            self._count, self._counted = None, 0
        return ended

    def _declared(self, element: bytes, name: int, attributes: bytes) -> bytes:
        """Write an element with what it takes from the header, behind its name. A declaration too many does no harm."""
        missing = self._default
        # `find`, because `in` is slow when it is given bytes.
        if attributes.find(b"xmlns") >= 0 and _declares(attributes, b"xmlns"):
            missing = b""
        for prefix, declaration in self._prefixes:
            if element.find(prefix) >= 0 and not _declares(attributes, b"xmlns:" + prefix[:-1]):
                missing += declaration
        return element[:name] + missing + element[name:] if missing else element

    def _takes_prefixes(self, element: bytes) -> bool:
        """Return whether an element may use a prefix that the header declares."""
        for prefix, _ in self._prefixes:  # `any` takes three times as long.
            if element.find(prefix) >= 0:
                return True
        return False

    def _too_big(self) -> StreamPolicyViolation:
        return StreamPolicyViolation(f"An element of more than {self.max_size} bytes", Reason.FRAME_TOO_BIG)


def _matching_end(buffer: bytes, beginning: bytes, inside: int) -> int:
    """Return where there are as many end tags as start tags of a name, or 0 if that is not here."""
    wanted = b"</%b>" % beginning[1:]
    open, end = 1, inside
    while open:
        found = buffer.find(wanted, end)
        if found < 0:
            return 0
        open += buffer.count(beginning, end, found) - 1
        end = found + len(wanted)
    return end


def _ends_outside_of_values(attributes: bytes) -> bool:
    """Return whether the value of no attribute is open at the end of these; False also if it is hard to say."""
    if _APOSTROPHE in attributes:
        return _QUOTE not in attributes and attributes.count(b"'") % 2 == 0
    return attributes.count(b'"') % 2 == 0


def _declares(attributes: bytes, name: bytes) -> bool:
    if attributes.startswith(name + b"="):
        return True
    return any(match[1] == name for match in _ATTRIBUTE.finditer(attributes))
