from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from xml.etree import ElementTree
from xml.parsers.expat import XMLParserType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from xmppws.errors import (
    BadFormat,
    InvalidNamespace,
    NotWellFormed,
    Reason,
    RestrictedXml,
    StreamError,
    StreamPolicyViolation,
)
from xmppws.stream import tcp_check
from xmppws.stream.tcp import CLOSE, COMPONENT, Header, header, in_namespace, read_header
from xmppws.stream.tcp_check import Checks, Limits, UnsupportedEncoding
from xmppws.stream.tcp_reader import MAX_HEADER, MAX_TAG, Closed, Event, Reader
from xmppws.xml import ns
from xmppws.xml.parser import Parser, Vocabulary, tag_of

OPENING = (
    b"<?xml version='1.0'?><stream:stream from='example.com' id='s1' version='1.0' xml:lang='en' "
    b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>"
)
MAX_SIZE = 20_000
STREAM = b'xmlns:stream="http://etherx.jabber.org/streams"'
DB = b'xmlns:db="jabber:server:dialback"'


def events(chunks: Iterable[bytes], reader: Reader | None = None) -> tuple[list[Event], StreamError | None]:
    """Read chunks and return the events, and the error that ended them."""
    reader = reader or Reader(ns.CLIENT, MAX_SIZE, Checks())
    got: list[Event] = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            got += iter(reader.next, None)
    except StreamError as error:
        return got, error
    return got, None


def elements(data: bytes, limits: Limits | None = None) -> list[Event]:
    """Read the content of a stream in one piece, and again byte by byte, and return its events."""
    whole, error = events([OPENING + data], Reader(ns.CLIENT, MAX_SIZE, Checks(), limits))
    if error is not None:
        raise error
    dripped = bytes_of(OPENING + data)
    assert events(dripped, Reader(ns.CLIENT, MAX_SIZE, Checks(), limits)) == (whole, None)
    return whole[1:]


def bytes_of(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=True, inclusive_ns_prefixes=None)


def tree(data: bytes) -> object:
    """Return what a document says, whatever its prefixes are."""

    def node(element: ElementTree.Element) -> object:
        tail = None if element is root else element.tail
        return element.tag, element.attrib, element.text or "", tail or "", [node(child) for child in element]

    root = ElementTree.fromstring(data)
    return node(root)


def parse(data: bytes) -> etree._Element:
    return Parser(Vocabulary(), "192.0.2.1").parse(data)


def test_stream() -> None:
    whole = OPENING + b" <message><body>Hi</body></message>\n\t<presence xmlns='jabber:client'/> </stream:stream> "
    expected = [
        Header(None, "example.com", "s1", "1.0", "en"),
        b'<message xmlns="jabber:client"><body>Hi</body></message>',
        b"<presence xmlns='jabber:client'/>",
        Closed(),
    ]
    assert events([whole]) == (expected, None)
    assert events(bytes_of(whole)) == (expected, None)


@pytest.mark.parametrize(
    ("sent", "wire"),
    [
        (b"<presence/>", b'<presence xmlns="jabber:client"/>'),
        (b"<presence />", b'<presence xmlns="jabber:client" />'),
        (b"<a\nb='c'\n></a\n>", b"<a xmlns=\"jabber:client\"\nb='c'\n></a\n>"),
        (b"<a><a/></a>", b'<a xmlns="jabber:client"><a/></a>'),
        (b"<a><a></a><ab></ab></a>", b'<a xmlns="jabber:client"><a></a><ab></ab></a>'),
        (b"<a><ab><a></a></ab></a >", b'<a xmlns="jabber:client"><ab><a></a></ab></a >'),
        (b"<a><b></b><![CDATA[</a>]]></a>", b'<a xmlns="jabber:client"><b></b><![CDATA[</a>]]></a>'),
        (b"<a><![CDATA[<?x <!-- ]]></a>", b'<a xmlns="jabber:client"><![CDATA[<?x <!-- ]]></a>'),
        (b"<a b='/>'>!?</a>", b"<a xmlns=\"jabber:client\" b='/>'>!?</a>"),
        (b"<a b='x>y'/>", b"<a xmlns=\"jabber:client\" b='x>y'/>"),
        (b'<a b=\'">\' c="d"></a>', b'<a xmlns="jabber:client" b=\'">\' c="d"></a>'),
        (b"<a b=' xmlns='></a>", b"<a xmlns=\"jabber:client\" b=' xmlns='></a>"),
        (b"<a b='c' xmlns = 'urn:d'></a>", b"<a b='c' xmlns = 'urn:d'></a>"),
        (
            b"<a>\xf0\x9f\x91\x8b &amp;&lt;&#9731;&gt;></a>",
            b'<a xmlns="jabber:client">\xf0\x9f\x91\x8b &amp;&lt;&#9731;&gt;></a>',
        ),
        (b"<a:b xmlns:a='urn:c'/>", b"<a:b xmlns=\"jabber:client\" xmlns:a='urn:c'/>"),
        (b"<stream:features/>", b'<stream:features xmlns="jabber:client" %b/>' % STREAM),
        (b"<db:x><stream:y/></db:x>", b'<db:x xmlns="jabber:client" %b %b><stream:y/></db:x>' % (STREAM, DB)),
        (b"<a xmlns:db='urn:c'><db:b/></a>", b"<a xmlns=\"jabber:client\" xmlns:db='urn:c'><db:b/></a>"),
        (b"<a>db:</a>", b'<a xmlns="jabber:client" %b>db:</a>' % DB),
        (b"<r xmlns='urn:xmpp:sm:3'/>", b"<r xmlns='urn:xmpp:sm:3'/>"),
    ],
)
def test_stands_on_its_own(sent: bytes, wire: bytes) -> None:
    assert elements(sent + sent) == [wire, wire]
    inside = etree.fromstring(OPENING + sent + CLOSE)[0]
    assert canonical(inside) == canonical(parse(wire))


NAMES = ("a", "ab", "body", "é", "db:a", "stream:a", "own:a")
ATTRIBUTES = ("b", "to", "xml:lang", "db:b", "own:c")
NAMESPACES = ("jabber:client", "urn:x", COMPONENT)
TEXTS = ("", " ", "Hi", ">", "/>", "db:", "!?", "&lt;/a&gt;", "&#60;", "👋", "<![CDATA[</a><!--<?x ]]>", "\n")
VALUES = ("", "c", ">", "/>", "xmlns", " xmlns=", "&quot;&apos;", "db:é")


@st.composite
def tags(draw: st.DrawFn, children: st.SearchStrategy[str] | None = None) -> str:
    name = draw(st.sampled_from(NAMES))
    blank = draw(st.sampled_from(("", "", "", " ", "\n\t")))
    attributes = draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=3, unique=True))
    declared = draw(st.lists(st.sampled_from(("xmlns", "xmlns:db", "xmlns:stream")), max_size=1))
    if "own:" in name or "own:c" in attributes:
        declared.append("xmlns:own")
    written = "".join(
        f" {key}{blank}={blank}{quote}{value}{other}{quote}"
        for key in attributes
        for value in (draw(st.sampled_from(VALUES)),)
        for quote, other in (draw(st.sampled_from((("'", ""), ('"', ""), ("'", '"'), ('"', "'")))),)
    )
    written += "".join(f' {key}="{draw(st.sampled_from(NAMESPACES))}"' for key in declared)
    inner = draw(children) if children is not None else ""
    if not inner and draw(st.booleans()):
        return f"<{name}{written}{blank}/>"
    return f"<{name}{written}{blank}>{inner}</{name}{blank}>"


def contents(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return tags(st.lists(st.one_of(st.sampled_from(TEXTS), children), max_size=3).map("".join))


STREAMS = st.lists(
    st.tuples(st.recursive(tags(), contents, max_leaves=6), st.sampled_from(("", "", " ", "\r\n"))), max_size=4
).map(lambda pairs: "".join(element + blank for element, blank in pairs).encode())


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_split_gives_what_lxml_reads(content: bytes, cuts: list[int]) -> None:
    data = OPENING + content + CLOSE
    got, error = events(split(data, cuts))
    assert error is None
    read = [canonical(parse(wire)) for wire in got if isinstance(wire, bytes)]
    assert read == [canonical(element) for element in etree.fromstring(data)]
    assert (got, None) == events([data])
    assert isinstance(got[0], Header) and got[-1] == Closed()


@given(STREAMS, st.binary(min_size=1, max_size=3), st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=5))
@example(b"<a><a></a><?x </a>", b"<", 400, [3])
def test_spoiled_streams_do_not_depend_on_splits(content: bytes, noise: bytes, place: int, cuts: list[int]) -> None:
    at = place % (len(content) + 1)
    data = OPENING + content[:at] + noise + content[at + len(noise) :]
    got, error = events([data])
    again, other = events(split(data, cuts))
    assert again == got
    assert (type(error), error and error.end) == (type(other), other and other.end)
    for wire in got:
        if isinstance(wire, bytes):
            # Not lxml: it looks into the URIs of namespaces.
            ElementTree.fromstring(wire)


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


HOSTILE = [
    # What XMPP does not allow (RFC 6120 section 11.1).
    (b"<!-- -->", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<?pi?>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<!DOCTYPE a>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<![CDATA[ ]]>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<a><!-- --></a>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<a><?pi?></a>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<a><!-- </a>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<a><?pi </a>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<a>&entity;</a>", RestrictedXml, Reason.RESTRICTED_XML),
    (b"<a b='&entity;'/>", RestrictedXml, Reason.RESTRICTED_XML),
    # What is not well-formed.
    (b"<a><!DOCTYPE a></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a><b></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a></b></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a b=c></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a b='1' b='2'/>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a b='<'/>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a b='<c></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a><x:b/></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<x:a/>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a x:b=''/>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>]]></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>\x00</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>\xc0\x80</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>\xed\xa0\x80</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>\xf0\x9f</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>&#0;</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>&#xD800;</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a>&</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a><?xml version='1.0'?></a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<<a/>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"<a<b/>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"</a>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"</stream>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"</>", NotWellFormed, Reason.NOT_WELL_FORMED),
    (b"</stream:stream<", NotWellFormed, Reason.NOT_WELL_FORMED),
    # What is between elements.
    (b"text", BadFormat, Reason.BAD_FORMAT),
    (b"<a/>&amp;", BadFormat, Reason.BAD_FORMAT),
    # What is over a limit.
    (nested(101), StreamPolicyViolation, Reason.TOO_DEEP),
    (b"<x>" + b"<a>" * 100 + b"</a>" * 100 + b"</x>", StreamPolicyViolation, Reason.TOO_DEEP),
    (b"<a>" + b"<b/>" * 200 + b"</a>", StreamPolicyViolation, Reason.TOO_MANY_ELEMENTS),
    (b"<a>" + b"<b></b>" * 200 + b"</a>", StreamPolicyViolation, Reason.TOO_MANY_ELEMENTS),
    (b"<a %b/>" % b" ".join(b"b%d=''" % i for i in range(101)), StreamPolicyViolation, Reason.TOO_MANY_ELEMENTS),
    (b"<a>" + bytes(MAX_SIZE).replace(b"\0", b"x") + b"</a>", StreamPolicyViolation, Reason.FRAME_TOO_BIG),
    (b"<a>" + b"</a " + b" " * MAX_TAG + b"></a>", StreamPolicyViolation, Reason.FRAME_TOO_BIG),
    (b"<a b='%b'/>" % (b"x" * MAX_TAG), StreamPolicyViolation, Reason.FRAME_TOO_BIG),
    (b"<a b='%b'></a>" % (b"x" * MAX_TAG), StreamPolicyViolation, Reason.FRAME_TOO_BIG),
    (b"</" + b"x" * MAX_TAG, StreamPolicyViolation, Reason.FRAME_TOO_BIG),
]


@pytest.mark.parametrize(("content", "error", "reason"), HOSTILE)
def test_hostile(content: bytes, error: type[StreamError], reason: Reason) -> None:
    limits = Limits(elements=200)
    data = b"<presence/>" + content
    for chunks in ([data], [data[:300], data[300:]], [data[i : i + 7] for i in range(0, len(data), 7)]):
        reader = Reader(ns.CLIENT, MAX_SIZE, Checks(), limits)
        reader.feed(OPENING)
        assert isinstance(reader.next(), Header)
        got, refused = events(chunks, reader)
        assert got[0] == b'<presence xmlns="jabber:client"/>'
        assert type(refused) is error
        assert refused.reason is reason


def test_limits_are_met() -> None:
    limits = Limits(depth=3, elements=4, attributes=2)
    for element in (b"<a><b><c/></b><d/></a>", b"<a b='' c=''>%b<b d='' e=''/></a>" % (b"=" * 100)):
        assert len(elements(element, limits)) == 1
    most = b"<a>%b</a>" % (b"x" * (MAX_SIZE - 7))
    assert len(elements(most)) == 1
    assert len(elements(nested(100))) == 1
    with pytest.raises(StreamPolicyViolation):
        elements(most.replace(b"xx", b"xxx", 1))


@pytest.mark.parametrize("name", [b"message", b"x:message"])
def test_first_tag_larger_than_the_limit(name: bytes) -> None:
    reader = Reader(ns.CLIENT, 50, Checks())
    got, error = events([OPENING, b"<%b to='%b'/>" % (name, b"x" * 50)], reader)
    assert len(got) == 1
    assert error is not None and error.reason is Reason.FRAME_TOO_BIG


def test_limit_may_change() -> None:
    reader = Reader(ns.CLIENT, 10, Checks())
    reader.feed(OPENING + b"<presence/><presence/>")
    assert isinstance(reader.next(), Header)
    reader.max_size = 11
    assert reader.next() is not None
    reader.max_size = 10
    with pytest.raises(StreamPolicyViolation, match="10 bytes"):
        reader.next()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.1 400 Bad Request", NotWellFormed),
        (b"\xef\xbb\xbf" + OPENING, NotWellFormed),
        (b"\xff\xfe<\0", UnsupportedEncoding),
        (b"\xfe\xff\0<", UnsupportedEncoding),
        (b"\0<\0s", UnsupportedEncoding),
        (OPENING.replace(b"?>", b" encoding='iso-8859-1'?>"), UnsupportedEncoding),
        (OPENING.replace(b"'1.0'?>", b"'1.1'?>"), NotWellFormed),
        (OPENING.replace(b"?>", b" encoding=?>"), NotWellFormed),
        (b"<?xml?>" + OPENING, RestrictedXml),
        (b"<?pi ?>" + OPENING, RestrictedXml),
        (b"<?xml version='1.0'?><?pi?>", RestrictedXml),
        (b"<!DOCTYPE x>", RestrictedXml),
        (b"<?xml version='1.0'?><!-- -->", RestrictedXml),
        (b"<?xml version='1.0'?>x", NotWellFormed),
        (b"<stream:stream <", NotWellFormed),
        (b"<x:stream>", NotWellFormed),
        (OPENING.replace(b"'en'", b"'&x;'"), RestrictedXml),
        (OPENING.replace(b":stream ", b":streams "), BadFormat),
        (OPENING.replace(b">", b"/>").replace(b"?/>", b"?>"), BadFormat),
        (OPENING.replace(b"streams'", b"stream'"), InvalidNamespace),
        (OPENING.replace(b"jabber:client", b"jabber:server"), InvalidNamespace),
        (OPENING.replace(b"xmlns='jabber:client'", b""), InvalidNamespace),
        (b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'>", BadFormat),
        (OPENING.replace(b"'s1'", b"'%b'" % (b"x" * MAX_HEADER)), StreamPolicyViolation),
    ],
)
def test_hostile_header(data: bytes, error: type[StreamError]) -> None:
    for chunks in ([b" " + data], bytes_of(data)):
        got, refused = events(chunks)
        assert got == []
        assert type(refused) is error


def test_header_prefixes() -> None:
    opening = (
        b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' to='a' xmlns:x='&amp;&quot;'>"
    )
    got, error = events([b"\n" + opening + b"<s:error/><x:a/></s:stream>"])
    assert error is None
    assert got == [
        Header("a", None, None, None, None),
        b'<s:error xmlns="jabber:client" xmlns:s="http://etherx.jabber.org/streams"/>',
        b'<x:a xmlns="jabber:client" xmlns:x="&amp;&quot;"/>',
        Closed(),
    ]


def test_restart_and_what_is_left_over() -> None:
    proceed = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    reader = Reader(ns.CLIENT, MAX_SIZE, Checks())
    reader.feed(OPENING + proceed)
    assert isinstance(reader.next(), Header)
    assert reader.next() == proceed
    assert reader.buffered == 0
    reader.restart()
    assert reader.next() is None
    reader.feed(OPENING.replace(b"s1", b"s2") + proceed + b"<stream:features/>")
    second = reader.next()
    assert isinstance(second, Header) and second.id == "s2"
    assert reader.next() == proceed
    assert reader.buffered == len(b"<stream:features/>")
    reader.restart()
    with pytest.raises(BadFormat):
        reader.next()


def test_nothing_after_the_end() -> None:
    reader = Reader(ns.CLIENT, MAX_SIZE, Checks())
    got, error = events([OPENING, CLOSE + b"<a/>", b"<a/>"], reader)
    assert got[1:] == [Closed()]
    assert error is None
    assert reader.buffered == 0


def test_long_elements_in_pieces() -> None:
    inner = b"".join(b"<b>%d</b><a></a>" % i for i in range(700))
    sent = b"<a>" + inner + b"</a>"
    data = OPENING + (sent + b" ") * 5
    expected = [b'<a xmlns="jabber:client">' + inner + b"</a>"] * 5
    for size in (1448, 4999, 5000, 30_000):
        got, error = events(data[i : i + size] for i in range(0, len(data), size))
        assert error is None
        assert got[1:] == expected


def test_names_are_forgotten() -> None:
    reader = Reader(ns.CLIENT, MAX_SIZE, Checks())
    events([OPENING], reader)

    def flood(start: int, count: int) -> None:
        for i in range(start, start + count):
            got, error = events([b"<a>" + b"".join(b"<n%d-%d/>" % (i, j) for j in range(40)) + b"</a>"], reader)
            assert len(got) == 1 and error is None

    tracemalloc.start()
    try:
        flood(0, 1000)
        before = tracemalloc.get_traced_memory()[0]
        # 100,000 names take 5 MB.
        flood(1000, 2500)
        assert tracemalloc.get_traced_memory()[0] - before < 2_000_000
    finally:
        tracemalloc.stop()


def test_parser_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    original = tcp_check._parser

    def parser(opening: bytes) -> XMLParserType:
        made.append(opening)
        return original(opening)

    monkeypatch.setattr(tcp_check, "_parser", parser)
    check = Checks().of(b"<stream>")
    assert check.read(b"<a>%b</a>" % (b"x" * 100))
    assert len(made) == 1
    assert check.read(b"<a>%b</a>" % (b"x" * 300_000))
    assert len(made) == 2
    assert not check.read(b"<a><?x </a>")
    assert check.read(b"<a/>")


def test_checks_are_shared_and_bounded() -> None:
    checks = Checks()
    first = checks.of(b"<stream>")
    assert checks.of(b"<stream>") is first
    for i in range(20):
        checks.of(b"<stream xmlns='urn:%d'>" % i)
    assert len(checks._known) == 8
    assert checks.of(b"<stream>") is not first


# --- What is written ---


def test_written_header() -> None:
    assert header(COMPONENT, to="a.example", version=None) == (
        b"<?xml version='1.0'?><stream:stream to=\"a.example\" "
        b'xmlns="jabber:component:accept" xmlns:stream="http://etherx.jabber.org/streams">'
    )


@given(*[st.none() | st.text("a&<'\"é\t", min_size=1, max_size=5)] * 4)
def test_header_is_read_back(to: str | None, sender: str | None, id: str | None, lang: str | None) -> None:
    written = header(ns.CLIENT, to=to, sender=sender, id=id, lang=lang)
    assert read_header(written, ns.CLIENT) == (Header(to, sender, id, "1.0", lang), {"stream": ns.STREAM})


def test_encoding_may_be_named() -> None:
    data = OPENING.replace(b"'?>", b"' encoding='UTF-8'?>")
    assert read_header(data, ns.CLIENT)[0].id == "s1"


FORWARDED = '<forwarded xmlns="urn:xmpp:forward:0"><message xmlns="jabber:client"><body>Hi</body></message></forwarded>'


@pytest.mark.parametrize(
    ("wire", "translated"),
    [
        ('<message xmlns="O" to="a"><body>Hi</body></message>', '<message xmlns="N" to="a"><body>Hi</body></message>'),
        ('<presence xmlns="O"/>', '<presence xmlns="N"/>'),
        (
            '<message to="a" xmlns="O"><body>O</body> <subject/>x</message>',
            '<message xmlns="N" to="a"><body>O</body> <subject/>x</message>',
        ),
        ('<message xmlns="O"><body xmlns="O">Hi</body></message>', '<message xmlns="N"><body>Hi</body></message>'),
        ("<message xmlns=\"O\"><body xmlns='O'>Hi</body></message>", '<message xmlns="N"><body>Hi</body></message>'),
        ('<message xmlns="O"><body xmlns="&#79;">Hi</body></message>', '<message xmlns="N"><body>Hi</body></message>'),
        ('<p:message xmlns:p="O"><p:body/></p:message>', '<message xmlns="N"><body/></message>'),
        (f'<message xmlns="O">{FORWARDED}</message>', f'<message xmlns="N">{FORWARDED}</message>'),
        (
            '<message xmlns="O" xmlns:f="urn:f"><f:f><message>Hi</message></f:f>tail</message>',
            '<message xmlns="N"><f:f xmlns:f="urn:f"><message xmlns="O">Hi</message></f:f>tail</message>',
        ),
        (
            '<message xmlns="O"><body/><x xmlns=""><y/></x><z xmlns="urn:z"><body xmlns="O"/></z></message>',
            '<message xmlns="N"><body/><x xmlns=""><y/></x><z xmlns="urn:z"><body xmlns="O"/></z></message>',
        ),
        ('<message xmlns="O" xmlns:p="N"><p:a/></message>', '<message xmlns="N"><p:a xmlns:p="N"/></message>'),
        ('<handshake xmlns="urn:other"/>', '<handshake xmlns="urn:other"/>'),
    ],
)
@pytest.mark.parametrize(("old", "new"), [(ns.CLIENT, COMPONENT), (COMPONENT, ns.CLIENT)])
def test_content_namespace(wire: str, translated: str, old: str, new: str) -> None:
    names = {"O": old, "N": new, "&#79;": "&#106;" + old[1:]}

    def named(text: str) -> bytes:
        return re.sub(r"""(?<=["'])(O|N|&#79;)(?=["'])""", lambda match: names[match[1]], text).encode()

    got = in_namespace(named(wire), old, new, parse)
    assert tree(got) == tree(named(translated))
    # A stanza is written without a prefix.
    assert b":" not in got.partition(b" ")[0]


@given(STREAMS)
def test_content_namespace_there_and_back(content: bytes) -> None:
    for element in events([OPENING + content])[0][1:]:
        assert isinstance(element, bytes)
        root = parse(element)
        # Otherwise what came in the other namespace goes back with the rest.
        if COMPONENT.encode() in element or not tag_of(root).startswith("{jabber:client}"):
            continue
        sent = in_namespace(element, ns.CLIENT, COMPONENT, parse)
        assert tree(in_namespace(sent, COMPONENT, ns.CLIENT, parse)) == tree(element)
