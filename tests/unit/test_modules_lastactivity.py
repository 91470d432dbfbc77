"""XEP-0012: how long the host has been up, and accounts away."""

from __future__ import annotations

import re
import time

import pytest

from fakes import ListRoute, World, got
from xmppws.core.loader import defaults, replace
from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.modules.lastactivity import LastSeen
from xmppws.modules.uptime import Uptime, in_words
from xmppws.xml.stanza import read

LAST = "<query xmlns='jabber:iq:last'/>"
ENDED = End(Reason.CONNECTION_LOST, Side.NETWORK)


IQ = "<iq xmlns='jabber:client' type='{}' id='1' to='{}'>{}</iq>"


async def ask(world: World, session: Session, to: str) -> str:
    await world.says(session, IQ.format("get", to, LAST))
    return got(session)[-1]


def seconds(answer: str) -> int:
    match = re.search(r'<query xmlns="jabber:iq:last" seconds="(\d+)"', answer)
    assert match is not None, answer
    return int(match[1])


async def allow(world: World, owner: str, contact: str) -> None:
    await world.host.stores.map("roster", RosterItem).set(owner, contact, RosterItem(subscription=Subscription.FROM))


async def stored(world: World, owner: str) -> LastSeen | None:
    return await world.host.stores.keyvalue("lastactivity", LastSeen).get(owner)


async def bound(world: World, jid: str) -> Session:
    session = world.session(jid, priority=0)
    await world.dispatch.drain()
    got(session)
    return session


async def test_it_is_for_those_who_may_see_the_presence() -> None:
    world = World()
    alice = await bound(world, "alice@localhost/a")
    await allow(world, "alice", "bob@localhost")
    refused = await ask(world, alice, "bob@localhost")
    assert "<forbidden " in refused and 'type="auth"' in refused
    assert (await ask(world, alice, "nobody@localhost")).replace("nobody@", "bob@") == refused
    await allow(world, "bob", "alice@localhost")
    assert "<item-not-found " in await ask(world, alice, "bob@localhost")
    await bound(world, "bob@localhost/b")
    assert seconds(await ask(world, alice, "bob@localhost")) == 0
    assert seconds(await ask(world, alice, "alice@localhost")) == 0


async def test_the_last_resource_that_leaves_counts() -> None:
    world = World()
    one, two = await bound(world, "alice@localhost/one"), await bound(world, "alice@localhost/two")
    leave = "<presence xmlns='jabber:client' type='unavailable'><status>Heading &lt; Home</status></presence>"
    before = time.time()
    await world.says(one, leave)
    assert await stored(world, "alice") is None
    await world.says(two, leave)
    seen = await stored(world, "alice")
    assert seen is not None and before <= seen.when <= time.time() and seen.status == "Heading < Home"
    got(one)
    answer = await ask(world, one, "alice@localhost")
    assert seconds(answer) < 30 and ">Heading &lt; Home</query>" in answer

    # That the connections end too changes nothing.
    for session in (one, two):
        world.host.unbind(session, ENDED)
    await world.dispatch.drain()
    assert await stored(world, "alice") == seen


async def test_a_session_that_breaks_leaves_too_and_without_a_status() -> None:
    world = World()
    alice = await bound(world, "alice@localhost/a")
    before = time.time()
    world.host.unbind(alice, ENDED)
    await world.dispatch.drain()
    seen = await stored(world, "alice")
    assert seen is not None and seen.when >= before and seen.status == ""


async def test_how_long_ago() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    seen = world.host.stores.keyvalue("lastactivity", LastSeen)
    await seen.set("alice", LastSeen(time.time() - 903))
    assert 903 <= seconds(await ask(world, alice, "alice@localhost")) < 933
    await seen.set("alice", LastSeen(time.time() + 1000))
    assert seconds(await ask(world, alice, "alice@localhost")) == 0


async def test_what_is_kept_is_bounded_and_ends_with_the_account() -> None:
    world = World()
    alice, gone = await bound(world, "alice@localhost/a"), await bound(world, "gone@localhost/g")
    status = f"<status>{'x' * 5000}</status>"
    for session in (alice, gone):
        await world.says(session, f"<presence xmlns='jabber:client' type='unavailable'>{status}</presence>")
    seen = await stored(world, "alice")
    assert seen is not None and len(seen.status) == 1024
    assert await stored(world, "gone") is None


async def test_resources_are_asked_by_those_who_may_see_them_alone() -> None:
    world = World()
    alice, bob = await bound(world, "alice@localhost/a"), await bound(world, "bob@localhost/b")
    refused = await ask(world, alice, "bob@localhost/b")
    assert "<forbidden " in refused and got(bob) == []
    assert (await ask(world, alice, "bob@localhost/none")).replace("/none", "/b") == refused
    await allow(world, "bob", "alice@localhost")
    await world.says(alice, IQ.format("get", "bob@localhost/b", LAST))
    (question,) = got(bob)
    assert 'from="alice@localhost/a"' in question and "jabber:iq:last" in question
    # The answer, and other questions, are nobody's business here.
    for type, payload in (("result", LAST), ("get", "<x xmlns='urn:x'/>")):
        await world.says(bob, IQ.format(type, "alice@localhost/a", payload))
    assert len(got(alice)) == 2


async def test_a_server_far_away_is_told_nothing() -> None:
    world = World()
    route = ListRoute("far.example")
    world.dispatch.routes = (*world.dispatch.routes, route)
    stanza = f"<iq xmlns='jabber:client' type='get' id='1' to='alice@localhost' from='x@far.example/y'>{LAST}</iq>"
    world.dispatch.post(read(world.parse(stanza))[0])
    await world.dispatch.drain()
    (answer,) = route.delivered
    assert b"<forbidden " in answer


async def test_the_host_has_been_up() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    assert seconds(await ask(world, alice, "localhost")) < 30
    uptime = world.host.modules["uptime"]
    assert isinstance(uptime, Uptime)
    uptime.began -= 100_000
    # A module that is read again is another class of the same name, and the host runs on.
    await replace(world.host, type("Again", (Uptime,), {}), defaults)
    assert 100_000 <= seconds(await ask(world, alice, "localhost")) < 100_030
    command = "<command xmlns='http://jabber.org/protocol/commands' node='uptime'/>"
    await world.says(alice, f"<iq xmlns='jabber:client' type='set' id='1' to='localhost'>{command}</iq>")
    (answer,) = got(alice)
    assert "The server has been running for 1 day, 3 hours and 46 minutes." in answer


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (59, "0 days, 0 hours and 0 minutes"),
        (3660, "0 days, 1 hour and 1 minute"),
        (200_000, "2 days, 7 hours and 33 minutes"),
    ],
)
def test_a_time_in_words(count: int, words: str) -> None:
    assert in_words(count) == words
