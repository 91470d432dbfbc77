"""Clients that read too slowly: what waits for them, and who."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from fakes import KeepingStream, World, got, stream_of
from waiting import until
from xmppws.core.session import Session
from xmppws.jid import Jid
from xmppws.modules.csi import Csi
from xmppws.stream.sm import Acks
from xmppws.xml.stanza import kept, message, read

STATES = "http://jabber.org/protocol/chatstates"
MUC_USER = "http://jabber.org/protocol/muc#user"
COMPOSING = f"<composing xmlns='{STATES}'/>"
PHONE, LAPTOP = "carol@elsewhere/phone", "carol@elsewhere/laptop"
HELLO = "<message xmlns='jabber:client' to='bob@localhost/b' type='chat'><body>hello</body></message>"


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def alice(world: World) -> Session:
    return world.session("alice@localhost/a", priority=0)


@pytest.fixture
async def bob(world: World, alice: Session) -> Session:
    session = world.session("bob@localhost/b", priority=0)
    await world.dispatch.drain()
    got(session)
    session.reads(False)
    return session


async def comes(world: World, sender: str, kind: str, content: str = "", type: str = "", to: str = "/b") -> None:
    """Let a stanza for bob come from somewhere else."""
    attributes = f" type='{type}'" if type else ""
    stanza, _ = read(world.parse(f"<{kind} xmlns='jabber:client'{attributes}>{content}</{kind}>"))
    world.dispatch.post(stanza.addressed(to=Jid.parse(f"bob@localhost{to}"), sender=Jid.parse(sender)))
    await world.dispatch.drain()


def seen(session: Session) -> list[str]:
    """Return the resources of who has sent something since the last look, each with the text in it."""
    return [" ".join(_words(text)) for text in got(session)]


def _words(text: str) -> Iterator[str]:
    for found in re.finditer(r' from="[^/"]*/([^"]*)"|type="(unavailable)|>([^<>]+)<|<(composing)', text):
        yield next(filter(None, found.groups()))


async def turn() -> None:
    """Let what is due now happen."""
    for _ in range(3):
        await asyncio.sleep(0)


# --- What waits ---


async def test_presence_and_chat_states_wait_and_only_the_latest_is_sent(world: World, bob: Session) -> None:
    for status in ("one", "two", "three"):
        await comes(world, PHONE, "presence", f"<status>{status}</status>")
        await comes(world, PHONE, "message", COMPOSING, "chat")
    await comes(world, LAPTOP, "presence")
    assert seen(bob) == []
    bob.reads(True)
    assert seen(bob) == ["phone three", "phone composing", "laptop"]
    assert (world.host.traffic.held.value, world.host.traffic.collapsed.value) == (7, 4)
    assert bob.hold is None and bob.caught_up is None
    await comes(world, PHONE, "presence", "<status>four</status>")
    assert seen(bob) == ["phone four"]


async def test_everything_else_goes_at_once_behind_what_its_sender_said_before(world: World, bob: Session) -> None:
    await comes(world, LAPTOP, "presence")
    await comes(world, PHONE, "presence")
    await comes(world, PHONE, "message", COMPOSING, "chat")
    await comes(world, PHONE, "message", "<body>hello</body>", "chat")
    assert seen(bob) == ["phone", "phone composing", "phone hello"]
    bob.reads(True)
    assert seen(bob) == ["laptop"]


@pytest.mark.parametrize("last", ["", "unavailable"])
async def test_what_presence_collapses_to_is_true(world: World, bob: Session, last: str) -> None:
    await comes(world, PHONE, "presence", "<status>before</status>")
    await comes(world, PHONE, "presence", type="unavailable")
    await comes(world, PHONE, "presence", "<status>after</status>")
    if last:
        await comes(world, PHONE, "presence", type="unavailable")
    bob.reads(True)
    assert seen(bob) == ["phone unavailable" if last else "phone after"]


async def test_what_a_room_says_of_the_client_itself_goes_at_once(world: World, bob: Session) -> None:
    room = Jid.parse("den@rooms.elsewhere/me")
    content = b' xmlns="jabber:client"><x xmlns="%b"><status code="110"/></x></presence>' % MUC_USER.encode()
    await comes(world, "den@rooms.elsewhere/other", "presence")
    bob.send(kept("presence", "", content, to=bob.jid, sender=room))
    assert seen(bob) == ["other", "me"]
    bob.send(kept("presence", "", content.replace(b'<status code="110"/>', b""), to=bob.jid, sender=room))
    assert seen(bob) == []


async def test_subscriptions_go_at_once(world: World, bob: Session) -> None:
    await comes(world, "carol@elsewhere", "presence", type="subscribe", to="")
    assert len(got(bob)) == 1


async def test_what_waits_is_kept_without_its_tree(world: World, bob: Session) -> None:
    await comes(world, PHONE, "presence", "<status>here</status>")
    assert bob.hold is not None
    (waiting,) = bob.hold.held()
    assert len(waiting.element) == 0 and b"here" in waiting.wire


async def test_so_many_wait(world: World, bob: Session) -> None:
    for number in range(510):
        await comes(world, f"carol@elsewhere/{number}", "presence")
    assert seen(bob) == [str(number) for number in range(10)]
    bob.reads(True)
    assert seen(bob) == [str(number) for number in range(10, 510)]


class Narrow(KeepingStream):
    """A stream that two messages are too much for."""

    session: Session

    def send(self, *messages: bytes) -> None:
        super().send(*messages)
        if len(self.sent) == 2:
            self.session.reads(False)


async def test_what_waited_is_sent_as_fast_as_the_client_reads(world: World) -> None:
    bob = world.host.bind(Jid.parse("bob@localhost"), "b", narrow := Narrow())
    narrow.session = bob
    bob.reads(False)
    for number in range(5):
        await comes(world, f"carol@elsewhere/{number}", "presence")
    for expected in (["0", "1"], ["2", "3"], ["4"]):
        bob.reads(True)
        assert not narrow.reading or expected == ["4"]
        # One that comes meanwhile is behind the others.
        assert seen(bob) == expected
    assert narrow.reading and bob.hold is None


async def test_who_awaits_it_waits_until_all_is_read(world: World) -> None:
    bob = world.host.bind(Jid.parse("bob@localhost"), "b", narrow := Narrow())
    narrow.session = bob
    bob.reads(False)
    waiting = asyncio.ensure_future(bob.writable())
    for number in range(3):
        await comes(world, f"carol@elsewhere/{number}", "presence")
    bob.reads(True)
    await turn()
    assert not waiting.done()
    got(bob)
    bob.reads(True)
    await waiting


# --- Together with CSI ---


def csi(world: World, session: Session, state: str) -> None:
    module = world.host.modules["csi"]
    assert isinstance(module, Csi)
    getattr(module, state)(session, world.parse(f"<{state} xmlns='urn:xmpp:csi:0'/>"))


async def test_an_inactive_client_that_has_caught_up_is_still_inactive(world: World, bob: Session) -> None:
    bob.reads(True)
    csi(world, bob, "inactive")
    bob.reads(False)
    await comes(world, PHONE, "presence")
    bob.reads(True)
    assert seen(bob) == []
    csi(world, bob, "active")
    assert seen(bob) == ["phone"] and bob.hold is None


async def test_a_client_that_becomes_active_is_sent_no_more_than_it_reads(world: World, bob: Session) -> None:
    bob.reads(True)
    csi(world, bob, "inactive")
    await comes(world, PHONE, "presence", "<status>one</status>")
    bob.reads(False)
    csi(world, bob, "active")
    await comes(world, PHONE, "presence", "<status>two</status>")
    assert seen(bob) == []
    bob.reads(True)
    assert seen(bob) == ["phone two"] and bob.hold is None


async def test_a_client_that_becomes_inactive_while_it_is_slow(world: World, bob: Session) -> None:
    await comes(world, LAPTOP, "presence")
    csi(world, bob, "inactive")
    await comes(world, PHONE, "presence")
    bob.reads(True)
    assert seen(bob) == []
    csi(world, bob, "active")
    assert seen(bob) == ["laptop", "phone"]


# --- Together with stream management ---


async def test_what_waits_is_not_counted_and_outlasts_the_connection(world: World, bob: Session) -> None:
    bob.acks = Acks(1000, 10**6)
    await comes(world, PHONE, "presence", "<status>one</status>")
    await comes(world, LAPTOP, "message", "<body>hello</body>", "chat")
    assert len(bob.acks) == 1
    bob.lost()
    await comes(world, PHONE, "presence", "<status>two</status>")
    assert len(bob.acks) == 1
    got(bob)
    bob.release()
    assert seen(bob) == ["phone two"] and len(bob.acks) == 2


# --- Who waits ---


async def says(world: World, session: Session, text: str) -> None:
    assert stream_of(session).reading
    await world.says(session, text)


async def test_who_writes_to_a_slow_reader_is_read_again_when_it_has_caught_up(
    world: World, alice: Session, bob: Session
) -> None:
    await says(world, alice, HELLO)
    assert seen(bob) == ["a hello"]
    assert not stream_of(alice).reading and world.host.traffic.pauses.value == 1
    bob.reads(True)
    await turn()
    assert stream_of(alice).reading
    await says(world, alice, HELLO)
    assert stream_of(alice).reading and world.host.traffic.pauses.value == 1


async def test_who_writes_to_a_slow_reader_waits_no_longer_than_may_be(
    world: World, alice: Session, bob: Session
) -> None:
    world.host.slow_reader_wait = 0.01
    for _ in range(2):
        await says(world, alice, HELLO)
        assert not stream_of(alice).reading
        await until(lambda: stream_of(alice).reading)
    assert bob.caught_up is not None
    # Nothing is left of those who have waited.
    assert not bob.caught_up._callbacks


async def test_who_writes_to_a_slow_reader_does_not_wait_where_nobody_should(
    world: World, alice: Session, bob: Session
) -> None:
    world.host.slow_reader_wait = 0
    await says(world, alice, HELLO)
    assert stream_of(alice).reading and seen(bob) == ["a hello"]


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        (HELLO.replace("/b'", "'"), True),
        (HELLO.replace("type='chat'", "type='headline'"), True),
        ("<iq xmlns='jabber:client' to='bob@localhost/b' type='get' id='1'><x xmlns='urn:x'/></iq>", True),
        ("<iq xmlns='jabber:client' to='bob@localhost/b' type='result' id='1'/>", True),
        ("<iq xmlns='jabber:client' to='bob@localhost' type='get' id='1'><x xmlns='urn:x'/></iq>", False),
        ("<presence xmlns='jabber:client' to='bob@localhost/b'/>", False),
        (f"<message xmlns='jabber:client' to='bob@localhost/b' type='chat'>{COMPOSING}</message>", False),
        (HELLO.replace("bob@localhost/b", "carol@localhost/c"), False),
        ("<presence xmlns='jabber:client'><status>away</status></presence>", False),
    ],
)
async def test_what_makes_its_sender_wait(world: World, alice: Session, bob: Session, text: str, waits: bool) -> None:
    await says(world, alice, text)
    assert stream_of(alice).reading is not waits


async def test_errors_of_the_servers_make_nobody_wait(world: World, alice: Session, bob: Session) -> None:
    await world.says(bob, HELLO.replace("bob@localhost/b' type='chat", "alice@localhost/none' type='groupchat"))
    bob.send(message("error", to=bob.jid, sender=alice.jid))
    assert len(got(bob)) == 2 and stream_of(alice).reading


async def test_a_room_with_a_slow_reader_waits_for_nobody(world: World, alice: Session, bob: Session) -> None:
    join = "<presence xmlns='jabber:client' to='den@conference.localhost/{}'><x xmlns='{}'/></presence>"
    await world.says(alice, join.format("Alice", "http://jabber.org/protocol/muc"))
    form = "<x xmlns='jabber:x:data' type='submit'/>"
    owner = f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>"
    await world.says(alice, f"<iq xmlns='jabber:client' type='set' id='1' to='den@conference.localhost'>{owner}</iq>")
    await world.says(bob, join.format("Bob", "http://jabber.org/protocol/muc"))
    got(bob)
    said = "<message xmlns='jabber:client' type='groupchat' to='den@conference.localhost'><body>hello</body></message>"
    await says(world, alice, said)
    assert "Alice hello" in " ".join(seen(bob))
    assert stream_of(alice).reading and not world.host.traffic.pauses.value


async def test_who_is_slow_itself_waits_for_that_too(world: World, alice: Session, bob: Session) -> None:
    await says(world, alice, HELLO)
    alice.reads(False)
    bob.reads(True)
    await turn()
    assert not stream_of(alice).reading
    alice.reads(True)
    assert stream_of(alice).reading


async def test_who_has_caught_up_still_waits_for_a_slow_reader(world: World, alice: Session, bob: Session) -> None:
    alice.reads(False)
    await world.says(alice, HELLO)
    alice.reads(True)
    assert not stream_of(alice).reading
    bob.reads(True)
    await turn()
    assert stream_of(alice).reading


async def test_two_that_are_slow_towards_each_other(world: World, alice: Session, bob: Session) -> None:
    alice.reads(False)
    await world.says(alice, HELLO)
    await world.says(bob, HELLO.replace("bob@localhost/b", "alice@localhost/a"))
    alice.reads(True)
    bob.reads(True)
    await turn()
    assert stream_of(alice).reading and stream_of(bob).reading


async def test_a_slow_reader_that_writes_to_itself(world: World, bob: Session) -> None:
    await world.says(bob, HELLO)
    assert seen(bob) == ["b hello"]
    bob.reads(True)
    assert stream_of(bob).reading and not world.host.traffic.pauses.value


async def test_a_slow_reader_that_goes_lets_its_senders_go_on(world: World, alice: Session, bob: Session) -> None:
    await says(world, alice, HELLO)
    bob.lost()
    await turn()
    assert stream_of(alice).reading and stream_of(bob).reading


async def test_a_sender_that_goes_waits_no_longer(world: World, alice: Session, bob: Session) -> None:
    await says(world, alice, HELLO)
    alice.lost()
    assert bob.caught_up is not None and not bob.caught_up._callbacks
    await turn()
    # So that the client's answer to the end is read.
    assert stream_of(alice).reading


async def test_a_sender_that_goes_when_its_reader_has_just_caught_up(
    world: World, alice: Session, bob: Session
) -> None:
    await says(world, alice, HELLO)
    bob.reads(True)
    alice.lost()
    await turn()
    assert stream_of(alice).reading


async def test_senders_wait_on_when_the_first_was_too_much_already(world: World, alice: Session, bob: Session) -> None:
    other = world.session("alice@localhost/other")
    for sender in (alice, other):
        await says(world, sender, HELLO)
    bob.reads(True)
    bob.reads(False)
    await turn()
    assert not stream_of(alice).reading and not stream_of(other).reading
    bob.reads(True)
    await turn()
    assert stream_of(alice).reading and stream_of(other).reading


async def test_a_sender_waits_for_one_reader_at_a_time(world: World, alice: Session, bob: Session) -> None:
    other = world.session("bob@localhost/other", priority=0)
    await world.dispatch.drain()
    other.reads(False)
    await says(world, alice, HELLO.replace("/b'", "'"))
    assert world.host.traffic.pauses.value == 1
    bob.reads(True)
    await turn()
    assert stream_of(alice).reading
