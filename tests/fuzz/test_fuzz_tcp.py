"""Whatever a TCP peer sends, what is handed out is what expat's tree builder reads, however the bytes arrive."""

from __future__ import annotations

from collections import Counter
from random import Random
from xml.etree import ElementTree

import pytest

from xmppws.errors import NotWellFormed, StreamError
from xmppws.stream.tcp_check import Checks, Limits
from xmppws.stream.tcp_reader import Event, Reader
from xmppws.xml import ns

OPENING = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}' xmlns:db='jabber:server:dialback'>".encode()
LIMITS = Limits(depth=4, elements=8, attributes=2)
MAX_SIZE = 400

_NAMES = (b"a", b"a", b"ab", b"message", b"stream:a", b"db:a")
_ATTRIBUTES = (b"b='c'", b'b="c>"', b"b='/>'", b"xmlns='urn:x'", b'xmlns:db="urn:y"', b"c = '\"'", b"d=' xmlns='")
_TEXTS = (b"x", b">", b" ", b"!?", b"&lt;", b"&#60;", b"]]", b"<![CDATA[</a>]]>", "é👋".encode(), b"stream:", b"x" * 90)
_NOISE = (
    *(b"<", b">", b"/", b"'", b'"', b"&", b"=", b"!", b"?", b":", b" ", b"\x00", b"\xff", b"]]>", b"-->", b"?>"),
    *(
        b"<a>",
        b"</a>",
        b"<a/>",
        b"</a >",
        b"<!--",
        b"<?",
        b"<?x?>",
        b"<![CDATA[",
        b"&x;",
        b"</stream:stream>",
        b"<b" * 9,
    ),
)

# A seed that finds something comes here.
CORPUS = range(5)


def element(random: Random, depth: int = 0) -> bytes:
    name = random.choice(_NAMES)
    attributes = random.sample(_ATTRIBUTES, random.choice((0, 0, 1, 1, 2, 3)))
    start = b"<" + b" ".join([name, *attributes]) + random.choice((b"", b"", b" "))
    if random.random() < 0.3:
        return start + b"/>"
    inside = b""
    while random.random() < 0.6:
        inside += element(random, depth + 1) if depth < 4 and random.random() < 0.5 else random.choice(_TEXTS)
    return start + b">" + inside + b"</" + name + random.choice((b"", b"", b"", b" ")) + b">"


def content(random: Random) -> bytes:
    """Make some elements, then perhaps spoil a few bytes."""
    data = b"".join(element(random) + random.choice((b"", b"", b"\n ")) for _ in range(random.randrange(5)))
    data += random.choice((b"", b"</stream:stream>"))
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        place = random.randrange(len(data) + 1)
        data = data[:place] + random.choice(_NOISE) + data[place + random.choice((0, 0, 1, 2, 5)) :]
    return data


def pieces(random: Random, data: bytes) -> list[bytes]:
    most = random.choice((1, 2, 5, 30, 200))
    taken = []
    while data:
        size = random.randrange(1, most + 1)
        taken.append(data[:size])
        data = data[size:]
    return taken


def ours(chunks: list[bytes], checks: Checks) -> tuple[list[Event], StreamError | None]:
    reader = Reader(ns.CLIENT, MAX_SIZE, checks, LIMITS)
    got: list[Event] = []
    try:
        for chunk in (OPENING, *chunks):
            reader.feed(chunk)
            got += iter(reader.next, None)
    except StreamError as error:
        return got, error
    return got, None


def theirs(data: bytes) -> list[bytes]:
    """Return the first-level elements that the standard library's parser reads before it fails."""
    parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(("start", "end"))
    try:
        parser.feed(OPENING)
        parser.feed(data)
    except ElementTree.ParseError:
        pass
    depth, found = 0, []
    try:
        for event in parser.read_events():
            node = event[-1]
            assert isinstance(node, ElementTree.Element)
            depth += 1 if event[0] == "start" else -1
            if event[0] == "end" and depth == 1:
                node.tail = None
                found.append(canonical(node))
    except ElementTree.ParseError:
        pass
    return found


def canonical(node: ElementTree.Element) -> bytes:
    return ElementTree.tostring(node)


def compare(seed: int, checks: Checks) -> str:
    random = Random(seed)
    data = content(random)
    got, error = ours([data], checks)
    for _ in range(2):
        again, other = ours(pieces(random, data), checks)
        assert again == got, data
        assert (type(other), other and other.end) == (type(error), error and error.end), data
    read = [canonical(ElementTree.fromstring(one)) for one in got if isinstance(one, bytes)]
    expected = theirs(data)
    if error is None or isinstance(error, NotWellFormed):
        assert read == expected, data
    else:
        assert read == expected[: len(read)], data
    return error.reason.id if error else "whole" if read else "nothing"


@pytest.mark.parametrize("seed", CORPUS)
def test_seed(seed: int) -> None:
    compare(seed, Checks())


def test_short() -> None:
    checks = Checks()
    seen = Counter(compare(seed, checks) for seed in range(100, 3100))
    # Otherwise this says little.
    for wanted in (
        *("whole", "not-well-formed", "restricted-xml", "bad-format"),
        *("stanza-too-large", "too-deep", "too-many-elements"),
    ):
        assert seen[wanted] > 10, (wanted, seen)


@pytest.mark.soak
def test_long() -> None:
    checks = Checks()
    for seed in range(10_000, 1_000_000):
        compare(seed, checks)
