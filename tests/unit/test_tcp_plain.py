"""Plain stanzas are recognised, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xmppws.errors import StreamError
from xmppws.stream.tcp_check import Checks, Limits
from xmppws.stream.tcp_plain import Plain
from xmppws.stream.tcp_reader import MAX_TAG, Reader
from xmppws.xml import ns
from xmppws.xml.parser import Parser, Vocabulary, tag_of

OPENING = b"<stream:stream version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
STANZAS = {f"{{{ns.CLIENT}}}{name}" for name in ("message", "presence", "iq")}
MAX_DEPTH = 20
MAX_SIZE = 20_000
NS = b"xmlns='jabber:client'"


def is_stanza(message: bytes) -> bool:
    return Plain(MAX_DEPTH).is_stanza(message)


def reader() -> Reader:
    """Return a reader of a stream that has begun."""
    made = Reader(ns.CLIENT, MAX_SIZE, Checks(), Limits(depth=MAX_DEPTH))
    made.feed(OPENING)
    made.next()
    return made


@pytest.mark.parametrize(
    "message",
    [
        b"<message " + NS + b"><body>Hi</body></message>",
        b'<message xmlns="jabber:client" to="a@b"><body>it\'s "x" > y</body><active xmlns="urn:x"/></message>',
        b"<presence to='a@b' " + NS + b"></presence>",
        b"<iq type='get' id='1' " + NS + b"><ping xmlns='urn:xmpp:ping'/></iq>",
        "<message xmlns='jabber:client'><body>\N{WAVING HAND SIGN}&amp;&#60;</body></message>".encode(),
        b"<message " + NS + b">" + b"<x/>" * (MAX_DEPTH - 2) + b"</message>",
    ],
)
def test_a_plain_stanza_of_a_client(message: bytes) -> None:
    assert is_stanza(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b" ",
        b"<message>",
        b"<message></message>",
        b"<message >",
        b"<message </message>",
        b"<message " + NS + b"/>",
        b"<message " + NS + b"></message> ",
        b" <message " + NS + b"></message>",
        b"<message " + NS + b"></message >",
        b"<message " + NS + b"><x></message>",
        b"<message " + NS + b"></x></message>",
        b"<message " + NS + b"></message><message " + NS + b"></message>",
        b"<message " + NS + b"/><message " + NS + b"></message>",
        b"<message " + NS + b"/></message>",
        b"<message " + NS + b"><messages></messages></message>",
        b"<message " + NS + b"><message></message></message>",
        b"<message " + NS + b"><message ></message>",
        b"<message " + NS + b"><message/></message>",
        b"<message " + NS + b"><body><![CDATA[</message>",
        b"<message " + NS + b"><![CDATA[x]]></message>",
        b"<message " + NS + b"><!-- x --></message>",
        b"<message " + NS + b"><?x y?></message>",
        b"<message " + NS + b">&x;</message>",
        b"<message " + NS + b">\xff</message>",
        b"<message " + NS + b"><body>\x00</body></message>",
        b"<message " + NS + b"><a:b/></message>",
        b"<message " + NS + b" a='>'></message>",
        b"<message " + NS + b" a='>></message>",
        b"<message " + NS + b' a="b"></message>',
        b"<message a=' " + NS + b"'></message>",
        b'<message a=" ' + NS + b'"></message>',
        b"<message a='b'></message>",
        b"<message xmlns='jabber:server'></message>",
        b"<message " + NS + b" " + NS + b"></message>",
        b"<message " + NS + b" xml:lang='en'></message>",
        b"<body " + NS + b"></body>",
        b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'></open>",
        b"<message " + NS + b">" + b"<x/>" * (MAX_DEPTH - 1) + b"</message>",
        b"</stream><stream><message " + NS + b"></message>",
    ],
)
def test_whatever_else_a_client_sends_is_left_to_the_parser(message: bytes) -> None:
    assert not is_stanza(message)


def test_what_is_refused_leaves_nothing_behind() -> None:
    plain, good = Plain(MAX_DEPTH), b"<message " + NS + b"></message>"
    for bad in (b"<message " + NS + b"><x></message>", b"<message " + NS + b"><?x?></message>"):
        assert not plain.is_stanza(bad)
        assert plain.is_stanza(good)


PIECES = st.lists(
    st.sampled_from(
        (
            *(b"<message ", b"<message", b"</message>", b"</message", b"<iq ", b"</iq>", b"<x>", b"</x>", b"<x/>"),
            *(b" ", b">", b"/>", b"'", b'"', b"=", b"a='", b'a="', b"' b='", b"xmlns=", b"xmlns:a='b'", b"a:b"),
            *(NS, b" " + NS, b' xmlns="jabber:client"', b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?x ", b"?>"),
            *(b"stream:", b"<stream:x/>", b"text", b"&lt;", b"&", b"\xc3\xa9", b"\xc3", b"\n"),
        )
    ),
    max_size=8,
)
STARTS = st.sampled_from((b"<message " + NS, b"<message a='b'", b"<iq " + NS + b">", b"<message ", b""))
ENDS = st.sampled_from((b"</message>", b"</iq>", b""))


@given(STARTS, PIECES, ENDS)
@example(b"<message " + NS, [b"/><message a='b'>"], b"</message>")
@example(b"<message " + NS, [b"><message >"], b"</message>")
def test_what_is_taken_for_a_stanza_is_one_for_lxml(start: bytes, pieces: list[bytes], end: bytes) -> None:
    message = start + b"".join(pieces) + end
    if is_stanza(message):
        assert tag_of(Parser(Vocabulary(), "192.0.2.1").parse(message)) in STANZAS


@given(STARTS, PIECES, ENDS)
@example(b"<message ", [b"a=' xmlns='", b">"], b"</message>")
@example(b"<message ", [b"a=' xmlns=' xmlns='urn:x'>"], b"</message>")
@example(b"<message ", [b">stream:"], b"</message>")
def test_what_is_read_at_once_is_what_would_be_read_by_and_by(start: bytes, pieces: list[bytes], end: bytes) -> None:
    data = start + b"".join(pieces) + end
    at_once = reader().whole(data)
    if at_once is not None:
        other = reader()
        other.feed(data[:-1])
        assert other.next() is None
        other.feed(data[-1:])
        assert other.next() == at_once
        assert not other.buffered


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"<message a='b'></message>", b"<message xmlns=\"jabber:client\" a='b'></message>"),
        (b"<message " + NS + b"></message>", b"<message " + NS + b"></message>"),
        (b"<message xmlns = 'urn:x'></message>", b"<message xmlns = 'urn:x'></message>"),
        (
            b"<message " + NS + b"><stream:x/></message>",
            b'<message xmlns:stream="http://etherx.jabber.org/streams" ' + NS + b"><stream:x/></message>",
        ),
    ],
)
def test_what_is_read_at_once_stands_on_its_own(data: bytes, read: bytes) -> None:
    assert reader().whole(data) == read


def test_what_is_too_much_is_not_read_at_once() -> None:
    begun = reader()
    assert begun.whole(b"<message a='b'>" + b"<x>" * MAX_DEPTH + b"</x>" * MAX_DEPTH + b"</message>") is None
    assert begun.whole(b"<message a='b'>" + b"x" * MAX_SIZE + b"</message>") is None
    assert begun.whole(b"<message a='" + b"b" * MAX_TAG + b"'></message>") is None
    assert begun.whole(b"<message a='b'></message>") is not None


def test_nothing_is_read_at_once_but_between_elements() -> None:
    stanza = b"<message a='b'></message>"
    assert Reader(ns.CLIENT, MAX_SIZE, Checks()).whole(stanza) is None
    begun = reader()
    begun.feed(stanza[:10])
    assert begun.next() is None
    assert begun.whole(stanza) is None
    begun.feed(stanza[10:])
    assert begun.next() is not None
    assert begun.whole(stanza) is not None
    begun.restart()
    assert begun.whole(stanza) is None


def test_a_wrong_stanza_is_not_read_at_once_and_then_refused() -> None:
    begun = reader()
    wrong = b"<message a='b'><x></message>"
    assert begun.whole(wrong) is None
    begun.feed(wrong)
    with pytest.raises(StreamError):
        begun.next()
