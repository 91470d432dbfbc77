"""Parse one message of a stream into one element, bounded in size, depth, elements and names.

Theory of operation. Nothing that reaches libxml2 can harm us: a check of the bytes refuses DTDs, comments and
processing instructions before the parse (no flag of lxml does that), the encoding is fixed to UTF-8, and depth and
element count are bounded.

Names are memory. Up to lxml 6, libxml2 keeps every element name, attribute name and namespace that it has ever seen,
for as long as the process lives, and a stranger can send new ones before logging in. So names that this process has not
met cost: each is paid for from the budget of the stream, of the client's address and of the process, of which strangers
must leave the greater part to users. A frame that
cannot overdraw the smallest of them goes straight to lxml and is charged afterwards; any other is first read by expat,
which forgets, and refused if it would. A malformed frame that reached lxml costs the most that one of its size can,
because libxml2 reads on after some mistakes. From lxml 7 on names belong to a parser, so replacing the parser frees
them, and the budgets start anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from math import isqrt
from typing import Final, TypeAlias
from xml.parsers import expat

from lxml import etree

from xmppws.errors import BadFormat, NotWellFormed, Reason, RestrictedXml, StreamPolicyViolation
from xmppws.xml import ns

Element: TypeAlias = etree._Element


def tag_of(element: Element) -> str:
    """Return the name of a parsed element as `{namespace}name`.

    lxml allows other types of names, but no parser makes them.
    """
    return str(element.tag)


# What a name costs beside its own length: the entry in libxml2's dictionary and in our set of known names.
_NAME_COST: Final = 160
_PARSES_PER_PARSER: Final = 4096
_FORGETS: Final = etree.LXML_VERSION >= (7,)

# RFC 7395 section 3.3.3: "XML Declarations ... NOT RECOMMENDED". Tolerated as version 1.0 in UTF-8, which changes
# nothing.
_DECLARATION: Final = re.compile(
    rb"""<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.0"|'1\.0')
    (?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:"(?i:utf-8)"|'(?i:utf-8)'))?
    (?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:"(?:yes|no)"|'(?:yes|no)'))?
    [ \t\r\n]*\?>[ \t\r\n]*""",
    re.VERBOSE,
)
_XML_ATTRIBUTES: Final = frozenset({ns.LANG, f"{{{ns.XML}}}base"})


class Vocabulary:
    """All names that the process has met, what they cost, and the parser whose memory they fill.

    Budgets are bytes. There is one vocabulary for a process, because libxml2 has one dictionary for a thread.
    """

    __slots__ = (
        "_addresses",
        "_document",
        "_forgets",
        "_parses_left",
        "known",
        "per_address",
        "per_process",
        "per_stream",
        "spent",
    )

    def __init__(
        self,
        *,
        per_stream: int = 128 * 1024,
        per_address: int = 1024 * 1024,
        per_process: int = 32 * 1024 * 1024,
        forgets: bool = _FORGETS,
    ) -> None:
        self.per_stream = per_stream
        self.per_address = per_address
        self.per_process = per_process
        self.known: set[str] = set()
        self.spent = 0
        # Bounded: an entry exists only for an address that paid for a name from the process's budget.
        self._addresses: dict[str, int] = {}
        self._forgets = forgets
        self._parses_left = _PARSES_PER_PARSER
        self._document = _document_parser()

    def document(self, frame: bytes) -> Element:
        """Parse with lxml. Every parse of a peer's bytes in this process goes through here."""
        self._parses_left -= 1
        if self._parses_left == 0:
            self._renew()
        return etree.fromstring(frame, self._document)

    def _renew(self) -> None:
        self._parses_left = _PARSES_PER_PARSER
        self._document = _document_parser()
        if self._forgets:
            self.known.clear()
            self._addresses.clear()
            self.spent = 0

    def left(self, address: str, reserve: int = 0) -> int:
        """Return how many bytes of new names `address` may still bring, if it leaves `reserve` of all to others."""
        of_process = max(0, self.per_process - reserve - self.spent)
        return min(self.per_address - self._addresses.get(address, 0), of_process)

    def learn(self, address: str, names: set[str]) -> int:
        """Remember new names, charge them to the address and the process, and return their cost."""
        self.known |= names
        cost = _cost(names)
        self.charge(address, cost)
        return cost

    def charge(self, address: str, cost: int) -> None:
        """Charge bytes to the address and the process."""
        if cost:
            self.spent += cost
            self._addresses[address] = self._addresses.get(address, 0) + cost


class Parser:
    """The parser of one stream: its limits, and what is left of its budget of names.

    `max_depth` counts the root as 1. `reserve` is what the stream must leave of the process's budget, so that
    strangers cannot spend it all. The size of a frame is bounded before its bytes are read, by `frames.FrameReader`.
    """

    __slots__ = ("_address", "_few", "_left", "_reserve", "_safe", "_spent", "_vocabulary", "max_depth", "max_elements")

    def __init__(
        self,
        vocabulary: Vocabulary,
        address: str,
        *,
        max_depth: int = 100,
        max_elements: int = 10_000,
        reserve: int = 0,
    ) -> None:
        self._vocabulary = vocabulary
        self._address = address
        self._left = vocabulary.per_stream
        self.max_depth = max_depth
        self.max_elements = max_elements
        self._reserve = reserve
        # A frame with no more tags is neither too deep nor has it too many elements.
        self._few = min(max_depth, max_elements)
        # A frame of no more bytes cannot overdraw, as long as `_spent` is what the process has spent.
        self._safe = 0
        self._spent = -1

    def trust(self) -> None:
        """Let the stream spend what is kept from strangers."""
        self._reserve = 0
        self._spent = -1

    def parse(self, frame: bytes) -> Element:
        """Return the one element of a message.

        Raises a `StreamError`: `NotWellFormed` (also for what is not UTF-8 or does not start with '<'), `RestrictedXml`
        (RFC 6120 section 11.1), `BadFormat`, or `StreamPolicyViolation` for what is over a limit.
        """
        if frame.startswith(b"<?xml") and (declaration := _DECLARATION.match(frame)):
            frame = frame[declaration.end() :]
        # RFC 7395 section 3.3.3: "The first character of each frame MUST be a '<' character."
        if frame[:1] != b"<":
            raise _not_an_element(frame)
        if (b"!" in frame and b"<!" in frame) or (b"?" in frame and b"<?" in frame):
            _refuse_restricted(frame)
        tags = frame.count(b"<")
        root = self._document(frame) if tags <= self._few else self._bounded(frame, tags)
        if b"xml:" in frame:
            _refuse_xml_names(root)
        return root

    def _bounded(self, frame: bytes, tags: int) -> Element:
        # Each element has at most two tags, and nothing but a tag has a '<' in a frame without CDATA.
        if tags > self.max_elements * 2:
            raise self._too_many_elements()
        root = self._document(frame)
        if tags > self.max_elements and sum(1 for _ in root.iter()) > self.max_elements:
            raise self._too_many_elements()
        if tags > self.max_depth and _depth(root) > self.max_depth:
            raise StreamPolicyViolation(f"Elements nested deeper than {self.max_depth}", Reason.TOO_DEEP)
        return root

    def _too_many_elements(self) -> StreamPolicyViolation:
        return StreamPolicyViolation(f"More than {self.max_elements} elements", Reason.TOO_MANY_ELEMENTS)

    def _document(self, frame: bytes) -> Element:
        vocabulary = self._vocabulary
        if vocabulary.spent != self._spent:
            self._spent = vocabulary.spent
            self._safe = _size_for(self._budget())
        # An unused prefix leaves no trace in the tree, so only expat can count it.
        reads_ahead = len(frame) > self._safe or b"xmlns:" in frame
        if reads_ahead:
            self._read_ahead(frame)
        try:
            root = vocabulary.document(frame)
            if _all_known(root, vocabulary.known):
                return root
            new = {name for name in _names(root) if name not in vocabulary.known}
            if any(not name.isascii() or ":" in name.rpartition("}")[2] for name in new):
                # lxml takes names of XML 1.0's fifth edition, and, when libxml2 has something to warn of behind them,
                # prefixes that are bound to nothing. A stricter parser at the recipient would end its stream for them.
                _names_by_expat(frame)
        except (etree.XMLSyntaxError, expat.ExpatError):
            if not reads_ahead:
                most = _most(len(frame))
                self._left -= most
                vocabulary.charge(self._address, most)
            raise _not_an_element(frame) from None
        self._learn(new)
        return root

    def _budget(self) -> int:
        return min(self._left, self._vocabulary.left(self._address, self._reserve))

    def _read_ahead(self, frame: bytes) -> None:
        try:
            new = _names_by_expat(frame) - self._vocabulary.known
        except expat.ExpatError:
            raise _not_an_element(frame) from None
        if _cost(new) > self._budget():
            raise StreamPolicyViolation("Too many names that the server had never seen", Reason.TOO_MANY_NAMES)
        self._learn(new)

    def _learn(self, names: set[str]) -> None:
        self._left -= self._vocabulary.learn(self._address, names)


def reparse(written: bytes) -> Element:
    """Parse what this process has written: no name in it is new."""
    return etree.fromstring(written, _own_parser())


@cache
def _own_parser() -> etree.XMLParser[Element]:
    return _document_parser()


def _document_parser() -> etree.XMLParser[Element]:
    # encoding: without it a declaration or a byte order mark would switch to UTF-16 or UTF-7, past the check of the
    # bytes.
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=False,
        collect_ids=False,
        strip_cdata=True,
    )


def _all_known(root: Element, known: set[str]) -> bool:
    # Nearly every stanza ends here: a plain loop, since it runs for each of them.
    for element in root.iter():
        if element.tag not in known:
            return False
        for name in element.keys():
            if name not in known:
                return False
    return True


def _names(root: Element) -> Iterator[str]:
    for element in root.iter():
        yield tag_of(element)
        yield from element.keys()


def _names_by_expat(frame: bytes) -> set[str]:
    """Return all names in the notation `{namespace}name`, prefixes and unused namespaces too; raise `ExpatError`."""
    names: set[str] = set()
    namespaces: set[str] = set()

    def on_start(tag: str, attributes: list[str]) -> None:
        names.update("{" + name if "}" in name else name for name in (tag, *attributes[::2]))

    def on_namespace(prefix: str | None, uri: str | None) -> None:
        namespaces.add(uri or "")
        if prefix:
            names.add(f"xmlns:{prefix}")

    parser = expat.ParserCreate(encoding="utf-8", namespace_separator="}")
    parser.ordered_attributes = True
    parser.StartElementHandler = on_start
    parser.StartNamespaceDeclHandler = on_namespace
    parser.Parse(frame, True)
    # A namespace that is used is paid for with the names in it, as in `_names`.
    return names | (namespaces - {name[1:].partition("}")[0] for name in names})


def _cost(names: set[str]) -> int:
    return sum(_NAME_COST + len(name) for name in names)


def _most(size: int) -> int:
    """Return more than the names of a frame of `size` bytes can cost, prefixes aside.

    It holds fewer than `size / 2` names, as "<a" is the shortest. Elements of one namespace, `<a/>` at the shortest,
    cost `k * (_NAME_COST + size - 4k)`, the length of the namespace going into each, which is most for
    `k = (_NAME_COST + size) / 8`.
    """
    return max(size * (_NAME_COST // 2 + 1), (_NAME_COST + size) ** 2 // 16)


def _size_for(budget: int) -> int:
    """Return the size of the largest frame for which `_most` is within a budget, or less than one for none."""
    return min(budget // (_NAME_COST // 2 + 1), isqrt(16 * max(budget, 0) + 15) - _NAME_COST)


def _depth(root: Element) -> int:
    depth, level = 0, [root]
    while level:
        depth += 1
        level = [child for element in level for child in element]
    return depth


def _not_an_element(frame: bytes) -> NotWellFormed:
    try:
        frame.decode()
    except UnicodeDecodeError:
        # RFC 6455 section 8.1: data that is not valid UTF-8 fails the connection.
        return NotWellFormed("The message is not valid UTF-8", Reason.NOT_UTF8)
    if frame.startswith(b"<"):
        return NotWellFormed("The message is not one well-formed XML element")
    return NotWellFormed("The message does not start with '<'", Reason.NOT_XML)


def _refuse_restricted(frame: bytes) -> None:
    # RFC 6120 section 11.1: no comments, processing instructions, DTD subsets or entity references. '<' cannot stand
    # raw in text or attribute values, so outside CDATA sections these two pairs of bytes begin nothing else.
    for text in _outside_cdata(frame):
        if b"<!" in text or b"<?" in text:
            raise RestrictedXml("Comments, processing instructions and DTDs are not allowed")


def _outside_cdata(frame: bytes) -> Iterator[bytes]:
    position = 0
    while (start := frame.find(b"<![CDATA[", position)) >= 0:
        yield frame[position:start]
        end = frame.find(b"]]>", start)
        if end < 0:
            return  # The parse refuses a section without an end.
        position = end + len(b"]]>")
    yield frame[position:]


def _refuse_xml_names(root: Element) -> None:
    # lxml takes `xml:anything`; a stricter parser at the recipient would end the recipient's stream for it.
    prefix = f"{{{ns.XML}}}"
    for element in root.iter():
        if tag_of(element).startswith(prefix):
            raise BadFormat("Elements must not use the prefix 'xml'")
        if any(name.startswith(prefix) and name not in _XML_ATTRIBUTES for name in element.keys()):
            raise BadFormat("Of the prefix 'xml' only xml:lang and xml:base are allowed")
