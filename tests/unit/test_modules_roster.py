"""RFC 6121 section 2: what dialogues cannot show of rosters, their limits, races and failures."""

from __future__ import annotations

import asyncio
import re

import pytest

from fakes import World, got
from faulty import Faulty, faulty
from xmppws.core.roster import RosterItem
from xmppws.core.session import Session
from xmppws.core.stores import Map
from xmppws.errors import End, Reason, Side

ENDED = End(Reason.CONNECTION_LOST, Side.NETWORK)
GET = "<iq xmlns='jabber:client' type='get' id='get'><query xmlns='jabber:iq:roster'/></iq>"


def set_item(item: str) -> str:
    return f"<iq xmlns='jabber:client' type='set' id='set'><query xmlns='jabber:iq:roster'>{item}</query></iq>"


def rosters(world: World) -> Map[RosterItem]:
    return world.host.stores.map("roster", RosterItem)


def disk(world: World) -> Faulty:
    return faulty(world.host.modules["roster"], "items")


async def interested(world: World, jid: str) -> Session:
    session = world.session(jid)
    await world.says(session, GET)
    got(session)
    return session


async def test_a_roster_holds_so_many_contacts() -> None:
    world = World()
    alice = await interested(world, "alice@localhost/a")
    for number in range(5000):
        await rosters(world).set("alice", f"{number}@localhost", RosterItem())
    await world.says(alice, set_item("<item jid='bob@localhost'/>"))
    (answer,) = got(alice)
    assert "<resource-constraint " in answer and len(await rosters(world).all("alice")) == 5000
    # What is there can be changed, and requests of strangers are no contacts.
    await rosters(world).set("alice", "asks@localhost", RosterItem(request=b"/>", listed=False))
    await world.says(alice, set_item("<item jid='1@localhost' name='One'/>"))
    assert 'type="result"' in got(alice)[-1]


async def test_a_roster_holds_so_many_bytes() -> None:
    world = World()
    alice = await interested(world, "alice@localhost/a")
    groups = tuple(f"{number:02}".ljust(1000, "x") for number in range(50))
    for number in range(10):
        await rosters(world).set("alice", f"{number}@localhost", RosterItem(groups=groups))
    texts = "".join(f"<group>{group}</group>" for group in groups)
    await world.says(alice, set_item(f"<item jid='bob@localhost'>{texts}</item>"))
    (answer,) = got(alice)
    assert "<resource-constraint " in answer and "bob@localhost" not in await rosters(world).all("alice")


@pytest.mark.parametrize(("number", "request_"), [(1000, b"/>"), (8, b">" + 64 * 1024 * b"x" + b"</presence>")])
async def test_so_many_requests_wait_for_an_account(number: int, request_: bytes) -> None:
    world = World()
    alice, bob = await interested(world, "alice@localhost/a"), world.session("bob@localhost/b", priority=0)
    await world.dispatch.drain()
    for index in range(number):
        await rosters(world).set("alice", f"{index}@localhost", RosterItem(request=request_, listed=False))
    got(bob)
    await world.says(bob, "<presence xmlns='jabber:client' type='subscribe' to='alice@localhost'/>")
    (answer,) = got(bob)
    assert 'type="error"' in answer and "<resource-constraint " in answer
    assert got(alice) == [] and "bob@localhost" not in await rosters(world).all("alice")


async def test_changes_at_once_are_all_kept_and_pushed_with_a_version_each() -> None:
    world = World()
    disk(world)
    one, two = await interested(world, "alice@localhost/one"), await interested(world, "alice@localhost/two")
    await asyncio.gather(
        *(world.says(one, set_item(f"<item jid='{number}@localhost'/>")) for number in range(5)),
        *(world.says(two, set_item(f"<item jid='{number}@localhost'/>")) for number in range(5, 10)),
    )
    assert len(await rosters(world).all("alice")) == 10
    pushes = [text for text in got(one) if 'type="set"' in text]
    assert len({re.findall(' ver="([0-9a-f]+)"', push)[0] for push in pushes}) == 10


async def test_a_push_does_not_come_before_the_roster_that_lacks_it() -> None:
    world = World()
    disk(world)
    one, two = world.session("alice@localhost/one"), world.session("alice@localhost/two")
    await asyncio.gather(world.says(one, GET), world.says(two, set_item("<item jid='bob@localhost'/>")))
    roster, push = got(one)
    assert "bob@localhost" not in roster and 'type="set"' in push and "bob@localhost" in push


async def test_a_client_that_has_gone_is_no_trouble() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    world.host.unbind(alice, ENDED)
    await world.says(alice, GET)
    assert not alice.interested


async def test_when_nothing_can_be_read_or_written_the_client_is_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    broken = disk(world)
    alice = await interested(world, "alice@localhost/a")
    broken.broken.add("alice")
    for request in (GET, set_item("<item jid='bob@localhost'/>"), set_item("<item jid='b@c' subscription='remove'/>")):
        await world.says(alice, request)
        (answer,) = got(alice)
        assert "<internal-server-error " in answer and "disk" not in answer
    broken.broken.clear()
    await world.says(alice, set_item("<item jid='bob@localhost'/>"))
    assert len(got(alice)) == 2
    assert len(caplog.records) == 3
