"""XEP-0191: what dialogues cannot show of blocking, its limits, races and failures."""

from __future__ import annotations

import asyncio

import pytest

from fakes import World
from fakes import got as got_as_written
from faulty import faulty
from xmppws.core.events import PresenceAudience
from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.modules.blocking import Blocking

ENDED = End(Reason.CONNECTION_LOST, Side.NETWORK)
LIST = "<iq xmlns='jabber:client' type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>"
ALICE = Jid.parse("alice@localhost")


def got(session: Session) -> list[str]:
    """Return what a session was sent since the last look, without the namespace that all of it has."""
    return [text.replace(' xmlns="jabber:client"', "") for text in got_as_written(session)]


def command(name: str, *addresses: str) -> str:
    items = "".join(f"<item jid='{address}'/>" for address in addresses)
    return f"<iq xmlns='jabber:client' type='set' id='c'><{name} xmlns='urn:xmpp:blocking'>{items}</{name}></iq>"


def module(world: World) -> Blocking:
    found = world.host.modules["blocking"]
    assert isinstance(found, Blocking)
    return found


async def blocked(world: World, owner: str = "alice") -> tuple[str, ...] | None:
    return await world.host.stores.keyvalue("blocking", tuple[str, ...]).get(owner)


async def online(world: World, jid: str) -> Session:
    session = world.session(jid)
    await world.says(session, LIST)
    await world.says(session, "<presence xmlns='jabber:client'/>")
    got(session)
    return session


async def sees(world: World, owner: str, contact: str) -> None:
    await world.host.stores.map("roster", RosterItem).set(owner, contact, RosterItem(subscription=Subscription.FROM))


async def test_so_many_addresses_are_blocked() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    module(world).options = Blocking.Options(max_addresses=3)
    await world.says(alice, command("block", "a@b", "c@d", "e@f"))
    await world.says(alice, command("block", "g@h"))
    assert "<resource-constraint " in got(alice)[-1] and await blocked(world) == ("a@b", "c@d", "e@f")
    # What is there already takes no room.
    await world.says(alice, command("block", "a@b", "c@d"))
    assert 'type="result"' in got(alice)[-1]


async def test_of_two_commands_at_once_none_is_lost() -> None:
    world = World()
    faulty(module(world), "lists")
    one, two = world.session("alice@localhost/one"), world.session("alice@localhost/two")
    await asyncio.gather(
        world.says(one, command("block", "a@b")),
        world.says(two, command("block", "c@d")),
        world.says(one, command("unblock", "e@f")),
    )
    assert await blocked(world) == ("a@b", "c@d")
    await world.says(one, LIST)
    assert got(one)[-1].count("<item ") == 2


async def test_a_list_that_cannot_be_written_is_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await sees(world, "alice", "bob@localhost")
    alice, bob = await online(world, "alice@localhost/a"), await online(world, "bob@localhost/b")
    await world.says(alice, command("block", "a@b"))
    got(alice)
    broken = faulty(module(world), "lists")
    broken.broken.add("alice")
    await world.says(alice, command("block", "bob@localhost"))
    (answer,) = got(alice)
    assert "<internal-server-error " in answer and got(bob) == []
    broken.broken.clear()
    await world.says(alice, LIST)
    (answer,) = got(alice)
    assert "a@b" in answer and "bob" not in answer
    assert len(caplog.records) == 1


async def test_what_guards_fails_closed(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    alice, bob = await online(world, "alice@localhost/a"), await online(world, "bob@localhost/b")
    vars(module(world))["_known"].clear()
    faulty(module(world), "lists").broken.add("alice")
    await world.says(bob, "<message xmlns='jabber:client' id='m' to='alice@localhost'><body>Hello</body></message>")
    (answer,) = got(bob)
    assert "<internal-server-error " in answer and got(alice) == []
    assert len(caplog.records) == 1


async def test_the_blocked_are_no_audience() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    await world.says(alice, command("block", "bob@localhost", "far.example", "carol@localhost/x"))
    texts = ("bob@localhost", "dave@far.example", "carol@localhost", "carol@localhost/x", "erin@localhost")
    contacts = {Jid.parse(text) for text in texts}
    await world.host.hooks.finish(PresenceAudience(ALICE, contacts))
    assert sorted(map(str, contacts)) == ["carol@localhost", "erin@localhost"]


async def test_who_stays_blocked_by_another_entry_sees_nothing() -> None:
    world = World()
    await sees(world, "alice", "bob@localhost")
    alice, bob = await online(world, "alice@localhost/a"), await online(world, "bob@localhost/b")
    await world.says(alice, command("block", "bob@localhost"))
    assert len(got(bob)) == 1
    # He has seen her go.
    await world.says(alice, command("block", "localhost"))
    await world.says(alice, command("unblock", "bob@localhost"))
    assert got(bob) == []
    await world.says(alice, command("unblock", "localhost"))
    assert got(bob) == ['<presence to="bob@localhost" from="alice@localhost/a"/>']


async def test_pushes_go_to_those_who_have_asked_and_are_still_there() -> None:
    world = World()
    one, two = await online(world, "alice@localhost/one"), await online(world, "alice@localhost/two")
    world.host.unbind(one, ENDED)
    again = world.session("alice@localhost/one")
    await world.says(two, command("block", "a@b"))
    await world.dispatch.drain()
    assert got(again) == [] and sum("<block " in text for text in got(two)) == 1
    # A client that has gone is no trouble.
    world.host.unbind(two, ENDED)
    await world.says(two, LIST)


async def test_nothing_is_held_for_accounts_without_sessions() -> None:
    world = World()
    faulty(module(world), "lists")
    alice, bob = await online(world, "alice@localhost/a"), await online(world, "bob@localhost/b")
    pending = asyncio.ensure_future(world.says(alice, command("block", "bob@localhost")))
    await asyncio.sleep(0)
    world.host.unbind(alice, ENDED)
    await pending
    held = vars(module(world))
    assert ALICE not in held["_known"] and ALICE not in held["_interested"]
    await world.says(bob, "<message xmlns='jabber:client' id='m' to='alice@localhost'><body>Hello</body></message>")
    assert "<service-unavailable " in got(bob)[-1]
    assert ALICE not in held["_known"]
