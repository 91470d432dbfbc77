"""XEP-0160: what dialogues cannot show of messages that wait, their limits, races and failures."""

from __future__ import annotations

import asyncio
import re

import pytest

from fakes import KeepingStream, World, got
from faulty import Faulty, faulty
from xmppws.core.session import Session
from xmppws.core.stores import Archive
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.modules.offline import Offline

ENDED = End(Reason.CONNECTION_LOST, Side.NETWORK)
PRESENCE = "<presence xmlns='jabber:client'/>"


def message(body: str) -> str:
    return f"<message xmlns='jabber:client' to='bob@localhost' type='chat'><body>{body}</body></message>"


def bodies(session: Session) -> list[str]:
    return re.findall("<body>(.*?)</body>", "".join(got(session)))


def waiting(world: World) -> Archive:
    return world.host.stores.archive("offline")


def disk(world: World) -> Faulty:
    return faulty(world.host.modules["offline"], "messages")


async def keep(world: World, number: int) -> Session:
    alice = world.session("alice@localhost/a")
    for index in range(number):
        await world.says(alice, message(str(index)))
    assert await waiting(world).count("bob") == number
    return alice


async def test_so_many_messages_are_kept() -> None:
    world = World()
    offline = world.host.modules["offline"]
    offline.options = Offline.Options(max_messages=3)
    alice = await keep(world, 3)
    assert got(alice) == []
    await world.says(alice, message("4"))
    (answer,) = got(alice)
    assert "<service-unavailable " in answer and await waiting(world).count("bob") == 3


async def test_all_pages_are_sent() -> None:
    world = World()
    await keep(world, 120)
    bob = world.session("bob@localhost/b")
    await world.says(bob, PRESENCE)
    assert bodies(bob) == [str(number) for number in range(120)]
    assert await waiting(world).count("bob") == 0


async def test_of_two_resources_at_once_one_gets_each_message() -> None:
    world = World()
    disk(world)
    await keep(world, 60)
    one, two = world.session("bob@localhost/one"), world.session("bob@localhost/two")
    await asyncio.gather(world.says(one, PRESENCE), world.says(two, PRESENCE))
    assert sorted(bodies(one) + bodies(two), key=int) == [str(number) for number in range(60)]


async def test_they_are_sent_when_the_priority_is_no_longer_negative_and_not_again() -> None:
    world = World()
    await keep(world, 1)
    bob = world.session("bob@localhost/b", priority=-1)
    await world.dispatch.drain()
    assert bodies(bob) == []
    await world.says(bob, PRESENCE)
    assert bodies(bob) == ["0"]
    # Nothing is asked for while it takes messages anyway.
    disk(world).broken.add("bob")
    await world.says(bob, "<presence xmlns='jabber:client'><priority>2</priority></presence>")
    assert "error" not in "".join(got(bob))


async def test_what_was_not_sent_before_a_session_ended_stays() -> None:
    class Slow(KeepingStream):
        def send(self, *messages: bytes) -> None:
            super().send(*messages)
            if b"<body>" in messages[0]:
                session.reads(False)

    world = World()
    await keep(world, 3)
    session = world.host.bind(Jid.parse("bob@localhost"), "b", Slow())
    pending = asyncio.ensure_future(world.says(session, PRESENCE))
    async with asyncio.timeout(5):
        while not any(b"<body>" in sent for sent in session.stream.sent):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        world.host.unbind(session, ENDED)
        session.reads(True)
        await pending
    assert bodies(session) == ["0"]
    other = world.session("bob@localhost/other")
    await world.says(other, PRESENCE)
    assert bodies(other) == ["1", "2"]


async def test_the_sender_is_told_of_what_cannot_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    disk(world).broken.add("bob")
    await world.says(alice, message("1"))
    (answer,) = got(alice)
    assert "<internal-server-error " in answer and 'from="bob@localhost"' in answer
    assert len(caplog.records) == 1


@pytest.mark.parametrize("cancelled", [False, True])
async def test_the_sender_is_told_of_what_fails_later(cancelled: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Later(Faulty):
        written: asyncio.Future[str]

        def append(self, *arguments: object, **options: object) -> asyncio.Future[str]:
            self.written = asyncio.get_running_loop().create_future()
            return self.written

    world = World()
    alice = world.session("alice@localhost/a")
    offline = world.host.modules["offline"]
    assert isinstance(offline, Offline)
    later = Later(offline.messages)
    vars(offline)["messages"] = later
    await world.says(alice, message("1"))
    assert got(alice) == []
    if cancelled:
        later.written.cancel()
    else:
        later.written.set_exception(OSError("The disk is full"))
    await asyncio.sleep(0)
    await world.dispatch.drain()
    answers = got(alice)
    assert len(answers) == len(caplog.records) == (0 if cancelled else 1)
    assert all("<internal-server-error " in answer and "disk" not in answer for answer in answers)


async def test_what_cannot_be_read_stays(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await keep(world, 2)
    broken = disk(world)
    broken.broken.add("bob")
    bob = world.session("bob@localhost/b")
    await world.says(bob, PRESENCE)
    assert "<internal-server-error " in got(bob)[-1]
    assert len(caplog.records) == 1
    broken.broken.clear()
    await world.says(bob, "<presence xmlns='jabber:client' type='unavailable'/>")
    await world.says(bob, PRESENCE)
    assert bodies(bob) == ["0", "1"]


async def test_a_message_with_nothing_in_it_is_not_kept() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    await world.says(alice, "<message xmlns='jabber:client' to='bob@localhost'/>")
    assert got(alice) == [] and await waiting(world).count("bob") == 0
