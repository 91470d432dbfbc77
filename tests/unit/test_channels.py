"""The pure parts of the module channels: names, requests, contents."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppws.jid import Jid
from xmppws.modules.channels import content
from xmppws.modules.channels.channel import Channel
from xmppws.modules.channels.names import is_name, to_localpart
from xmppws.modules.channels.options import ChannelsOptions
from xmppws.modules.channels.requests import Problem, Publish, check, read
from xmppws.xml.parser import Parser, Vocabulary
from xmppws.xml.writer import serialize

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-"
IDEOGRAPHS = "".join(map(chr, range(0x4E00, 0x9FA6)))
NAMES = st.text(st.sampled_from(ALPHABET + IDEOGRAPHS[::97] + IDEOGRAPHS[-1]), min_size=2, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def back(localpart: str) -> str:
    """Undo the documented rule, in another way than it is done."""
    letters = iter(localpart)
    return "".join(next(letters).upper() if letter == "^" else letter.replace("+", " ") for letter in letters)


@given(NAMES)
def test_every_name_has_an_address_of_its_own(name: str) -> None:
    jid = Jid.make(to_localpart(name), "conference.example.com")
    assert is_name(name) and back(jid.local) == name


def test_every_character_of_a_name_stays_itself_in_an_address() -> None:
    for start in range(0, len(IDEOGRAPHS), 12):
        name = IDEOGRAPHS[start : start + 12]
        assert Jid.make(to_localpart(name), "localhost").local == name
    localparts = {Jid.make(to_localpart(letter * 2), "localhost").local for letter in ALPHABET}
    assert len(localparts) == len(ALPHABET)


@pytest.mark.parametrize(
    ("name", "localpart"),
    [("Team One", "^team+^one"), ("team one", "team+one"), (" a ", "+a+"), ("频道 1", "频道+1"), ("a_b-C", "a_b-^c")],
)
def test_names_and_their_localparts(name: str, localpart: str) -> None:
    assert to_localpart(name) == localpart


@pytest.mark.parametrize("text", ["", "a", "a" * 13, "a.b", "a+b", "^ab", "ab\n", "é1", "龦龦", "a\u00a0b"])
def test_what_is_no_name(text: str) -> None:
    assert not is_name(text)


@given(VALUES, st.booleans())
def test_data_comes_through_a_stanza_as_it_was(value: object, escaped: bool) -> None:
    data = json.dumps(value, ensure_ascii=escaped)
    request = read(b'{"type":"publish","channel":"ab","event":"e:1","data":%b}' % data.encode(errors="replace"))
    assert isinstance(request, Publish)
    written = serialize(content.write("e:1", bytes(request.data), "1"))
    message = Parser(Vocabulary(), "").parse(written)
    event, found = content.read(message, "message") or ("", b"")
    assert event == "e:1"
    assert json.loads(found) == json.loads(bytes(request.data))
    # All but characters that XML cannot hold is even the same text.
    if "\ufffe" not in data and "\uffff" not in data:
        assert found == bytes(request.data)


@given(st.text())
def test_what_is_read_is_checked(text: str) -> None:
    try:
        check(text)
    except Problem as problem:
        assert problem.code in ("bad-json", "duplicate-key")
    else:
        json.loads(text)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ('"hi"', "hi"),
        ('{"text":"hi","more":1}', "hi"),
        ('{"text":1}', 'e: {"text":1}'),
        ("1.50", "e: 1.50"),
        (f'"{"x" * 2000}"', "x" * 999 + "…"),
        ('"\\u0000\\ud83d\\ude00"', "\ufffd😀"),
    ],
)
def test_what_people_read(data: str, body: str) -> None:
    assert content.write("e", data.encode(), "1")[0].text == body


def test_a_channel_keeps_no_more_than_it_may() -> None:
    options = ChannelsOptions(history_length=100, max_history_size=10_000)
    channel = Channel("ab", Jid.parse("ab@rooms.localhost"), options)
    sender = Jid.parse("ab@rooms.localhost/alice")
    from xmppws.xml.stanza import Stanza

    for number in range(200):
        element = content.write("e", f'"{number:0900}"'.encode(), str(number))
        message = Stanza("message", "groupchat", element, None, sender)
        told = channel.read(message, is_history=False)
        assert told is not None and channel.read(message.addressed(to=None, sender=sender), is_history=False) is told
    kept = list(channel.history("e", 100))
    assert sum(len(told.frame) for told in kept) < 10_000 and kept[-1].number == 200
    assert not list(channel.history("other", 100)) and not list(channel.history("e", 0))
