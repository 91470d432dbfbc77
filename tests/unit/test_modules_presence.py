"""RFC 6121 section 4: what dialogues cannot show of presence, its limits, races, failures and other servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fakes import ListRoute, World
from fakes import got as got_as_written
from faulty import faulty
from xmppws.core.events import AudienceChanged
from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.xml.stanza import read

ENDED = End(Reason.CONNECTION_LOST, Side.NETWORK)
PRESENCE = "<presence xmlns='jabber:client'/>"
ALICE = Jid.parse("alice@localhost")


def got(session: Session) -> list[str]:
    """Return what a session was sent since the last look, without the namespace that all of it has."""
    return [text.replace(' xmlns="jabber:client"', "") for text in got_as_written(session)]


def told(route: ListRoute) -> list[str]:
    """Return what another server was sent since the last look, likewise."""
    texts, route.delivered = [sent.decode().replace(' xmlns="jabber:client"', "") for sent in route.delivered], []
    return texts


def far(world: World) -> ListRoute:
    route = ListRoute("far.example")
    world.dispatch.routes = (*world.dispatch.routes, route)
    return route


async def comes(world: World, stanza: str) -> None:
    """Let a stanza come from another server."""
    world.dispatch.post(read(world.parse(stanza))[0])
    await world.dispatch.drain()


async def sees(world: World, owner: str, contact: str, subscription: Subscription) -> None:
    await world.host.stores.map("roster", RosterItem).set(owner, contact, RosterItem(subscription=subscription))


async def online(world: World, jid: str, presence: str = PRESENCE) -> Session:
    session = world.session(jid)
    await world.says(session, presence)
    got(session)
    return session


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_presence_is_directed_to_so_many_addresses() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    alice.directed = {Jid.parse(f"{number}@localhost") for number in range(1000)}
    await world.says(alice, "<presence xmlns='jabber:client' to='bob@localhost'/>")
    (answer,) = got(alice)
    assert "<not-acceptable " in answer and len(alice.directed) == 1000
    await world.says(alice, "<presence xmlns='jabber:client' to='1@localhost'/>")
    await world.says(alice, "<presence xmlns='jabber:client' to='2@localhost' type='unavailable'/>")
    await world.says(alice, "<presence xmlns='jabber:client' to='bob@localhost'/>")
    assert got(alice) == [] and len(alice.directed) == 1000


async def test_other_servers_are_asked_in_the_name_of_the_account() -> None:
    world = World()
    route = far(world)
    await sees(world, "alice", "carol@far.example", Subscription.TO)
    await sees(world, "alice", "dave@far.example", Subscription.FROM)
    await online(world, "alice@localhost/a")
    assert sorted(told(route)) == [
        '<presence to="carol@far.example" from="alice@localhost" type="probe"/>',
        '<presence to="dave@far.example" from="alice@localhost/a"/>',
    ]


async def test_another_server_asks() -> None:
    world = World()
    route = far(world)
    probe = "<presence xmlns='jabber:client' type='probe' from='carol@far.example' to='alice@localhost' id='p1'/>"
    await comes(world, probe)
    refused = '<presence to="carol@far.example" from="alice@localhost" type="unsubscribed" id="p1"/>'
    assert told(route) == [refused]
    await comes(world, probe.replace("alice", "nobody").replace(" id='p1'", ""))
    assert told(route) == [refused.replace("alice", "nobody").replace(' id="p1"', "")]
    await sees(world, "alice", "carol@far.example", Subscription.FROM)
    await comes(world, probe)
    assert told(route) == [refused.replace("unsubscribed", "unavailable")]
    await online(world, "alice@localhost/a", "<presence xmlns='jabber:client' id='a1'><show>dnd</show></presence>")
    told(route)
    await comes(world, probe)
    assert told(route) == [
        '<presence to="carol@far.example" from="alice@localhost/a" id="a1"><show>dnd</show></presence>'
    ]


async def test_who_was_sent_presence_asks_also_when_the_sender_is_not_available() -> None:
    world = World()
    route = far(world)
    alice = world.session("alice@localhost/a")
    await world.says(alice, "<presence xmlns='jabber:client' to='room@far.example/Ali'><show>away</show></presence>")
    told(route)
    probe = "<presence xmlns='jabber:client' type='probe' from='room@far.example/Ali' to='alice@localhost/a'/>"
    await comes(world, probe)
    assert told(route) == ['<presence to="room@far.example/Ali" from="alice@localhost/a"/>']
    # The room has put her out: there is nobody to tell when she goes.
    gone = "<presence xmlns='jabber:client' type='unavailable' from='room@far.example/Ali' to='alice@localhost/a'/>"
    await comes(world, gone)
    assert alice.directed == set()
    world.host.unbind(alice, ENDED)
    await world.dispatch.drain()
    assert told(route) == []


async def test_a_session_that_ends_while_its_contacts_are_told_is_not_shown() -> None:
    world = World()
    route = far(world)
    disk = faulty(world.host.modules["roster"], "items")
    await sees(world, "alice", "carol@far.example", Subscription.BOTH)
    alice = world.session("alice@localhost/a")
    disk.gate.clear()
    pending = asyncio.ensure_future(world.says(alice, PRESENCE))
    await until(lambda: alice.presence is not None)
    world.host.unbind(alice, ENDED)
    await until(lambda: alice.presence is None)
    disk.gate.set()
    await pending
    assert '<presence to="carol@far.example" from="alice@localhost/a"/>' not in told(route)


async def test_a_session_that_goes_while_another_one_is_shown_is_not_shown() -> None:
    world = World()
    bob = await online(world, "bob@localhost/b")
    one, two = await online(world, "alice@localhost/one"), await online(world, "alice@localhost/two")
    # What comes for bob has to wait for the list of those he blocks.
    blocking = world.host.modules["blocking"]
    disk = faulty(blocking, "lists")
    vars(blocking)["_known"].clear()
    disk.gate.clear()
    showing = asyncio.ensure_future(world.host.hooks.finish(AudienceChanged(ALICE, (bob.jid.bare,), shown=True)))
    await asyncio.sleep(0)
    world.host.unbind(two, ENDED)
    await until(lambda: two.presence is None)
    disk.gate.set()
    await showing
    await world.dispatch.drain()
    assert got(bob) == [f'<presence to="bob@localhost" from="{one.jid}"/>']


async def test_when_the_roster_cannot_be_read_the_client_is_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await sees(world, "alice", "bob@localhost", Subscription.FROM)
    bob, alice = await online(world, "bob@localhost/b"), world.session("alice@localhost/a")
    broken = faulty(world.host.modules["roster"], "items")
    broken.broken.add("alice")
    await world.says(alice, PRESENCE)
    (answer,) = got(alice)
    assert 'type="error"' in answer and "<internal-server-error " in answer and got(bob) == []
    broken.broken.clear()
    # Nobody was told, so nobody is told of the end of it.
    world.host.unbind(alice, ENDED)
    await world.dispatch.drain()
    assert got(bob) == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("text", "priority"), [(" +5\n", 5), ("-0", 0), ("007", 7)])
async def test_priorities_are_written_as_xml_schema_allows(text: str, priority: int) -> None:
    world = World()
    alice = await online(
        world, "alice@localhost/a", f"<presence xmlns='jabber:client'><priority>{text}</priority></presence>"
    )
    assert alice.priority == priority


async def test_without_a_roster_module_there_are_no_contacts() -> None:
    world = World()
    world.host.hooks.remove("roster")
    alice = await online(world, "alice@localhost/a")
    assert alice.presence is not None
