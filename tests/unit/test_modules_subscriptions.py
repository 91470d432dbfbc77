"""RFC 6121 section 3: what dialogues cannot show of subscriptions, their races, failures and other servers."""

from __future__ import annotations

import asyncio

import pytest

from fakes import ListRoute, World
from fakes import got as got_as_written
from faulty import faulty
from xmppws.core.events import AccountEnding
from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.session import Session
from xmppws.jid import Jid
from xmppws.xml.stanza import read

GET = "<iq xmlns='jabber:client' type='get' id='get'><query xmlns='jabber:iq:roster'/></iq>"


async def online(world: World, jid: str) -> Session:
    session = world.session(jid)
    await world.says(session, GET)
    await world.says(session, "<presence xmlns='jabber:client'/>")
    got(session)
    return session


def got(session: Session) -> list[str]:
    """Return what a session was sent since the last look, without the namespace that all of it has."""
    return [text.replace(' xmlns="jabber:client"', "") for text in got_as_written(session)]


def told(route: ListRoute) -> list[str]:
    """Return what another server was sent since the last look, likewise."""
    texts, route.delivered = [sent.decode().replace(' xmlns="jabber:client"', "") for sent in route.delivered], []
    return texts


def says(type: str, to: str) -> str:
    return f"<presence xmlns='jabber:client' type='{type}' to='{to}'/>"


def far(world: World) -> ListRoute:
    route = ListRoute("far.example")
    world.dispatch.routes = (*world.dispatch.routes, route)
    return route


async def comes(world: World, type: str, to: str) -> None:
    """Let something come from another server."""
    stanza = f"<presence xmlns='jabber:client' type='{type}' from='carol@far.example/x' to='{to}'/>"
    world.dispatch.post(read(world.parse(stanza))[0])
    await world.dispatch.drain()


async def item(world: World, owner: str, contact: str) -> RosterItem | None:
    return await world.host.stores.map("roster", RosterItem).get(owner, contact)


async def put(world: World, owner: str, contact: str, kept: RosterItem) -> None:
    await world.host.stores.map("roster", RosterItem).set(owner, contact, kept)


async def test_another_server_asks_and_is_answered() -> None:
    world = World()
    route = far(world)
    alice = await online(world, "alice@localhost/a")
    # A request to a resource that is not there is one to the account (sections 3.1.3 and 8.5.3.2.2).
    await comes(world, "subscribe", "alice@localhost/none")
    assert got(alice) == ['<presence to="alice@localhost" from="carol@far.example" type="subscribe"/>']
    await world.says(alice, says("subscribed", "carol@far.example/x"))
    assert told(route) == [
        '<presence to="carol@far.example" from="alice@localhost" type="subscribed"/>',
        '<presence to="carol@far.example" from="alice@localhost/a"/>',
    ]
    # Who has it and asks again is answered by the server.
    await comes(world, "subscribe", "alice@localhost")
    assert told(route) == [
        '<presence to="carol@far.example" from="alice@localhost" type="subscribed"/>',
        '<presence to="carol@far.example" from="alice@localhost/a"/>',
    ]


async def test_another_server_asks_for_nobody() -> None:
    world = World()
    route = far(world)
    await comes(world, "subscribe", "nobody@localhost")
    assert told(route) == ['<presence to="carol@far.example" from="nobody@localhost" type="unsubscribed"/>']
    for type in ("subscribed", "unsubscribe", "unsubscribed"):
        await comes(world, type, "nobody@localhost")
    assert told(route) == []


@pytest.mark.parametrize("type", ["subscribed", "unsubscribe", "unsubscribed"])
async def test_what_is_no_request_and_for_a_resource_that_is_not_there_is_ignored(type: str) -> None:
    world = World()
    far(world)
    alice = await online(world, "alice@localhost/a")
    before = RosterItem(subscription=Subscription.FROM, ask=True)
    await put(world, "alice", "carol@far.example", before)
    await comes(world, type, "alice@localhost/none")
    assert got(alice) == [] and await item(world, "alice", "carol@far.example") == before
    await comes(world, type, "alice@localhost/a")
    notice, push, *_ = got(alice)
    assert f'type="{type}"' in notice and "jabber:iq:roster" in push
    assert await item(world, "alice", "carol@far.example") != before


async def test_two_who_subscribe_to_each_other_at_once_lose_nothing() -> None:
    world = World()
    faulty(world.host.modules["roster"], "items")
    alice, bob = await online(world, "alice@localhost/a"), await online(world, "bob@localhost/b")
    async with asyncio.timeout(5):
        for type in ("subscribe", "subscribed"):
            await asyncio.gather(
                world.says(alice, says(type, "bob@localhost")), world.says(bob, says(type, "alice@localhost"))
            )
    for owner, contact in (("alice", "bob"), ("bob", "alice")):
        kept = await item(world, owner, f"{contact}@localhost")
        assert kept is not None and kept.subscription is Subscription.BOTH and not kept.ask and not kept.request


async def test_everything_said_at_once_comes_to_an_end() -> None:
    world = World()
    faulty(world.host.modules["roster"], "items")
    alice, bob = await online(world, "alice@localhost/a"), await online(world, "bob@localhost/b")
    remove = "<item jid='{}' subscription='remove'/>"
    removing = f"<iq xmlns='jabber:client' type='set' id='r'><query xmlns='jabber:iq:roster'>{remove}</query></iq>"
    stanzas = [says(type, "{}") for type in ("subscribe", "subscribed", "unsubscribe", "unsubscribed")] + [removing]
    async with asyncio.timeout(20):
        for first in stanzas:
            for second in stanzas:
                await asyncio.gather(
                    *(world.says(alice, text.format("bob@localhost")) for text in (first, second)),
                    *(world.says(bob, text.format("alice@localhost")) for text in (second, first)),
                )
    # A last word of both leaves the rosters in agreement.
    for session, other in ((alice, "bob"), (bob, "alice")):
        for type in ("subscribe", "unsubscribe", "unsubscribed"):
            await world.says(session, says(type, f"{other}@localhost"))
    for owner, contact in (("alice", "bob"), ("bob", "alice")):
        kept = await item(world, owner, f"{contact}@localhost") or RosterItem()
        assert kept.subscription is Subscription.NONE and not kept.ask and not kept.request


async def test_who_asks_is_told_when_the_request_cannot_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    alice, bob = await online(world, "alice@localhost/a"), await online(world, "bob@localhost/b")
    broken = faulty(world.host.modules["roster"], "items")
    broken.broken.add("bob")
    await world.says(alice, says("subscribe", "bob@localhost"))
    push, answer = got(alice)
    assert 'ask="subscribe"' in push and "<internal-server-error " in answer and got(bob) == []
    # The request waits on this side, and is sent again when the user asks again.
    broken.broken.clear()
    await world.says(alice, says("subscribe", "bob@localhost"))
    (request,) = got(bob)
    assert 'type="subscribe"' in request
    broken.broken.add("alice")
    await world.says(alice, says("unsubscribe", "bob@localhost"))
    assert "<internal-server-error " in got(alice)[-1] and got(bob) == []
    assert len(caplog.records) == 2


async def test_an_account_that_ends_cancels_what_it_had() -> None:
    world = World()
    route = far(world)
    bob = await online(world, "bob@localhost/b")
    await put(world, "alice", "bob@localhost", RosterItem(subscription=Subscription.BOTH))
    await put(world, "bob", "alice@localhost", RosterItem(subscription=Subscription.BOTH))
    await put(world, "alice", "carol@far.example", RosterItem(request=b' type="subscribe"/>', listed=False))
    await world.host.hooks.finish(AccountEnding(Jid.parse("alice@localhost")))
    await world.dispatch.drain()
    notices = [text for text in got(bob) if text.startswith("<presence")]
    assert ['type="unsubscribe"' in notices[0], 'type="unsubscribed"' in notices[1]] == [True, True]
    kept = await item(world, "bob", "alice@localhost")
    assert kept == RosterItem()
    assert told(route) == ['<presence to="carol@far.example" from="alice@localhost" type="unsubscribed"/>']
    world.host.hooks.remove("roster")
    await world.host.hooks.finish(AccountEnding(Jid.parse("alice@localhost")))
