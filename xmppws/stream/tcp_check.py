"""Check that the elements of a TCP stream are well-formed and within limits, with expat.

A parser that stands inside of a stream reads a complete element and is then as it was before. So one parser serves all
streams whose headers declare the same namespaces. It is replaced from time to time, because expat never forgets a name.
An element of which the end is not known has a parser of its own, which counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from xmppws.errors import NotWellFormed, Reason, RestrictedXml, StreamError, StreamPolicyViolation

_BYTES_PER_PARSER: Final = 256 * 1024
_MAX_KNOWN: Final = 8
_UNDEFINED_ENTITY: Final = expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]


class UnsupportedEncoding(StreamError):
    condition = "unsupported-encoding"
    default = Reason.BAD_FORMAT


@dataclass(frozen=True, slots=True)
class Limits:
    """What one element may hold beside bytes. `depth` counts the element itself as 1; `attributes` are of one tag."""

    depth: int = 100
    elements: int = 10_000
    attributes: int = 100


class Check:
    """Tells whether elements are well-formed inside of a stream that began with the tag `opening`."""

    __slots__ = ("_opening", "_parse", "_parser", "_read")

    def __init__(self, opening: bytes) -> None:
        self._opening = opening
        self._renew()

    def read(self, element: bytes) -> bool:
        """Return whether this is well-formed. It ends with a tag, with which everything is closed if it is."""
        try:
            self._parse(element)
        except (expat.ExpatError, RestrictedXml):
            self._renew()
            return False
        self._read += len(element)
        # Something that is no tag goes on.
        whole = self._parser.CurrentByteIndex == self._read
        if not whole or self._read > _BYTES_PER_PARSER:
            self._renew()
        return whole

    def _renew(self) -> None:
        self._parser = _parser(self._opening)
        self._parse = self._parser.Parse
        self._read = len(self._opening)


class Checks:
    """The checks that the streams of one owner share, by what their headers declare."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Check] = {}

    def of(self, opening: bytes) -> Check:
        """Return the check for streams that begin with this tag."""
        check = self._known.get(opening)
        if check is None:
            check = self._known[opening] = Check(opening)
            if len(self._known) > _MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return check


class Count:
    """Reads one element piece by piece, inside of a stream that began with the tag `opening`."""

    __slots__ = ("_depth", "_elements", "_limits", "_parser", "_read")

    def __init__(self, opening: bytes, limits: Limits) -> None:
        self._limits = limits
        self._depth = self._elements = 0
        self._parser = _parser(opening)
        self._read = len(opening)
        self._parser.ordered_attributes = True
        self._parser.StartElementHandler = self._on_start
        self._parser.EndElementHandler = self._on_end

    def read(self, piece: bytes) -> bool:
        """Read more, up to the end of a tag, and return whether that is the end of the element.

        Raises a `StreamError`.
        """
        try:
            self._parser.Parse(piece)
        except expat.ExpatError as error:
            raise refusal(error) from None
        self._read += len(piece)
        # What goes on behind a '>', and is no text, is a comment or processing instruction. Expat would read it from
        # its beginning each time.
        if self._parser.CurrentByteIndex != self._read:
            raise restricted()
        return self._depth == 0

    def _on_start(self, name: str, attributes: list[str]) -> None:
        self._depth += 1
        self._elements += 1
        limits = self._limits
        if self._depth > limits.depth:
            raise StreamPolicyViolation(f"Elements nested deeper than {limits.depth}", Reason.TOO_DEEP)
        if self._elements > limits.elements:
            raise StreamPolicyViolation(f"More than {limits.elements} elements", Reason.TOO_MANY_ELEMENTS)
        if len(attributes) > limits.attributes * 2:
            raise StreamPolicyViolation(f"More than {limits.attributes} attributes", Reason.TOO_MANY_ELEMENTS)

    def _on_end(self, name: str) -> None:
        self._depth -= 1


def _parser(opening: bytes) -> expat.XMLParserType:
    parser = expat.ParserCreate(encoding="utf-8", namespace_separator="}")
    parser.CommentHandler = parser.ProcessingInstructionHandler = _refuse
    parser.Parse(opening)
    return parser


def refusal(error: expat.ExpatError) -> StreamError:
    """Return the stream error for a mistake that expat found."""
    # RFC 6120 section 11.1: entities are restricted, but for the five predefined ones.
    if error.code == _UNDEFINED_ENTITY:
        return RestrictedXml("Entities other than the five predefined ones are not allowed")
    return NotWellFormed("The stream is not well-formed XML")


def restricted() -> RestrictedXml:
    """Return the stream error for what is not allowed in XMPP (RFC 6120 section 11.1)."""
    return RestrictedXml("Comments, processing instructions and DTDs are not allowed")


def _refuse(*_: str) -> None:
    raise restricted()
