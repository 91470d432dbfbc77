"""XEP-0280: who is copied what."""

from __future__ import annotations

import re

import pytest

from fakes import World, got
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side

CARBONS = "urn:xmpp:carbons:2"
MUC_USER = "<x xmlns='http://jabber.org/protocol/muc#user'/>"


async def enabled(world: World, session: Session, word: str = "enable") -> None:
    await world.dispatch.drain()
    await world.says(session, f"<iq xmlns='jabber:client' type='set' id='c'><{word} xmlns='{CARBONS}'/></iq>")
    assert any('type="result"' in each for each in got(session))


@pytest.fixture
def world() -> World:
    return World()


def copies(session: Session) -> list[tuple[str, str, str]]:
    """Return kind, `to` and body of what a client was copied, and check the wrapping."""
    found = []
    for message in got(session):
        match = re.fullmatch(
            r'<message to="([^"]+)" from="([^"/]+)" xmlns="jabber:client" type="chat">'
            r'<(sent|received) xmlns="urn:xmpp:carbons:2"><forwarded xmlns="urn:xmpp:forward:0">'
            r'<message to="([^"]+)" from="[^"]+" .*<body>(.*)</body>(?:<stanza-id [^>]*/>)?</message>'
            r"</forwarded></\3></message>",
            message,
        )
        if match:
            to, account = match[1], match[2]
            assert to == session.jid.text and account == session.account.text
            found.append((match[3], match[4], match[5]))
    return found


def message(to: str, body: str, type: str = "chat", more: str = "") -> str:
    return f"<message xmlns='jabber:client' to='{to}' type='{type}'><body>{body}</body>{more}</message>"


async def test_both_directions(world: World) -> None:
    one = world.session("alice@localhost/one", priority=0)
    two = world.session("alice@localhost/two", priority=0)
    plain = world.session("alice@localhost/plain", priority=0)
    bob = world.session("bob@localhost/b", priority=0)
    for session in (one, two):
        await enabled(world, session)
    got(one), got(two), got(plain)
    await world.says(one, message("bob@localhost/b", "out"))
    assert copies(two) == [("sent", "bob@localhost/b", "out")]
    assert got(one) == got(plain) == []
    await world.says(bob, message("alice@localhost/one", "in"))
    assert copies(two) == [("received", "alice@localhost/one", "in")]
    assert ["in</body>" in each for each in got(one)] == [True] and got(plain) == []
    # To the account: everybody available has it already.
    await world.says(bob, message("alice@localhost", "all"))
    assert copies(two) == []
    await enabled(world, two, "disable")
    await world.says(one, message("bob@localhost/b", "out"))
    assert got(two) == []


async def test_a_client_of_negative_priority_is_copied(world: World) -> None:
    one = world.session("alice@localhost/one", priority=0)
    low = world.session("alice@localhost/low", priority=-1)
    bob = world.session("bob@localhost/b", priority=0)
    await enabled(world, low)
    got(one), got(low)
    await world.says(bob, message("alice@localhost", "hi"))
    assert copies(low) == [("received", "alice@localhost", "hi")]


async def test_to_oneself(world: World) -> None:
    one, two, three = (world.session(f"alice@localhost/{name}", priority=0) for name in ("one", "two", "three"))
    for session in (one, two, three):
        await enabled(world, session)
    for session in (one, two, three):
        got(session)
    await world.says(one, message("alice@localhost/two", "note"))
    assert copies(three) == [("sent", "alice@localhost/two", "note")]
    assert len(got(two)) == 1 and got(one) == []


@pytest.mark.parametrize(
    ("type", "more", "copied"),
    [
        ("chat", "", True),
        ("normal", "", True),
        ("headline", "", False),
        ("groupchat", "", False),
        ("error", "", False),
        ("chat", f"<private xmlns='{CARBONS}'/>", False),
        ("chat", "<no-copy xmlns='urn:xmpp:hints'/>", False),
        ("chat", MUC_USER, False),
    ],
)
async def test_what_is_copied_of_what_comes(world: World, type: str, more: str, copied: bool) -> None:
    one = world.session("alice@localhost/one", priority=0)
    two = world.session("alice@localhost/two", priority=0)
    bob = world.session("bob@localhost/b", priority=0)
    await enabled(world, two)
    got(one), got(two)
    await world.says(bob, message("alice@localhost/one", "x", type, more))
    assert bool(got(two)) is copied


@pytest.mark.parametrize(
    ("content", "copied"),
    [
        ("<received xmlns='urn:xmpp:receipts' id='1'/>", True),
        ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", True),
        ("<x xmlns='jabber:x:conference' jid='a@b'/>", True),
        ("<other xmlns='urn:x'/>", False),
    ],
)
async def test_messages_without_body_and_type(world: World, content: str, copied: bool) -> None:
    one = world.session("alice@localhost/one", priority=0)
    two = world.session("alice@localhost/two", priority=0)
    await enabled(world, two)
    got(one), got(two)
    await world.says(one, f"<message xmlns='jabber:client' to='bob@localhost/b'>{content}</message>")
    assert any("forwarded" in each for each in got(two)) is copied


async def test_nothing_is_left_of_a_client_that_is_gone(world: World) -> None:
    two = world.session("alice@localhost/two", priority=0)
    await enabled(world, two)
    await enabled(world, two)
    world.host.unbind(two, End(Reason.CLIENT_CLOSE, Side.CLIENT))
    assert world.host.modules["carbons"]._enabled == {}  # type: ignore[attr-defined]
