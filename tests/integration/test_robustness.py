"""Sessions that flood, stall, nest and lie: nobody else notices, and the server holds no more than it says."""

from __future__ import annotations

import asyncio
import base64
import gc
import struct
import tracemalloc
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest

from clients import CLIENT, SASL, Client, gather_bodies, logged_in
from fakes import ListRoute
from raw import OPEN, Raw, closing, frame, head, raw
from servers import PASSWORDS, Running, config, running
from stalling import bound
from waiting import until
from xmppws.config import Host
from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.session import Session
from xmppws.jid import Jid
from xmppws.storage.memory import MemoryStorage
from xmppws.xml.stanza import presence

PING = "<ping xmlns='urn:xmpp:ping'/>"
ROSTER = "<query xmlns='jabber:iq:roster'/>"
ANONYMOUS = {
    "localhost": Host(http_host=("localhost", "127.0.0.1"), authentication=("internal", "anonymous")),
}
KIB = 1024


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running() as started:
        yield started


async def is_served(client: Client) -> bool:
    return (await client.iq("get", PING, to="localhost")).get("type") == "result"


# --- floods ---


async def flood_who_does_not_read(messages: int) -> None:
    limit = 256 * KIB
    async with running(config(max_send_buffer=limit, ping_interval=60, slow_reader_wait=0)) as server:
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
            logged_in(server.url, "carol", PASSWORDS["carol"]) as carol,
            bound(server.port, "bob", small=True),
        ):
            (slow,) = [each for each in server.server.endpoint.connections if each.name == "bob@localhost"]
            most, body = 0, "x" * 8 * KIB
            tracemalloc.start()
            try:
                for _ in range(messages):
                    await alice.message("bob@localhost", body, type="headline")
                    most = max(most, slow.waiting)
                    if slow.ended is not None:
                        break
                assert await is_served(carol) and await is_served(alice)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            await until(lambda: slow.ended is not None)
            assert slow.ended is not None and slow.ended.reason.id == "slow-reader"
            # What was asked to be kept for a slow client, and the message that was one too many.
            assert most <= limit + 10 * KIB
            assert peak < 4 * limit + 4096 * KIB


async def test_a_flood_to_who_does_not_read_is_held_within_the_limit() -> None:
    await flood_who_does_not_read(3000)


async def test_a_flood_of_strangers_leaves_users_alone() -> None:
    """They come with a whole login's worth of bytes, and none of them ends it."""
    async with running(config(max_unauthenticated_per_address=50)) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            streams = [Raw(*await asyncio.open_connection("127.0.0.1", server.port)) for _ in range(200)]
            for each in streams:
                each.write(head() + frame(OPEN) + frame(b"<auth" + b" " * 15 * KIB)[: 14 * KIB])
            statuses = [(await each.response())[0] for each in streams]
            endpoint = server.server.endpoint
            strangers = [each for each in endpoint.connections if not each.name]
            assert statuses.count(101) == len(strangers) == 50
            assert all(each._reader.buffered <= 16 * KIB for each in strangers)
            assert await is_served(alice)
            for each in streams:
                each.writer.transport.abort()
            await until(lambda: len(endpoint.connections) == 1)
            assert not endpoint._strangers and await is_served(alice)


async def test_who_asks_without_end_waits_for_the_answers(server: Running) -> None:
    """However much one stanza makes the server do, of one session it does one thing at a time."""
    rosters = server.server.hosts["localhost"].stores.map("roster", RosterItem)
    for number in range(1000):
        await rosters.set("alice", f"{number}@localhost", RosterItem(subscription=Subscription.BOTH))
    dispatch, most = server.server.dispatch, 0
    async with (
        bound(server.port, "alice") as alice,
        logged_in(server.url, "carol", PASSWORDS["carol"]) as carol,
    ):
        await until(lambda: not dispatch._tasks)
        probe = frame(b"<presence xmlns='jabber:client' type='probe' to='bob@localhost'/>")
        away = frame(b"<presence xmlns='jabber:client' type='unavailable'/>")
        alice.write(probe * 50 + (away + frame(b"<presence xmlns='jabber:client'/>")) * 3)
        alice.write(frame(b"<iq xmlns='jabber:client' type='get' id='end' to='localhost'>" + PING.encode() + b"</iq>"))

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(dispatch._tasks))
                await asyncio.sleep(0)

        watching = asyncio.ensure_future(watch())
        served = 0
        async with asyncio.timeout(30):
            reading = asyncio.ensure_future(_read_until(alice, b'id="end"'))
            while not reading.done():
                served += await is_served(carol)
        watching.cancel()
        # Of one batch of a broadcast, and its like at the other end.
        assert most <= 250 and served > 3


async def _read_until(client: Raw, text: bytes) -> None:
    while text not in (await client.frame(30))[1]:
        pass


async def test_an_offline_flood_is_refused_and_what_was_taken_comes_in_order(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        for number in range(520):
            await alice.message("bob@localhost", str(number), id=f"m{number}")
        refused = [await alice.receive_until("message") for _ in range(20)]
        assert [each.get("id") for each in refused] == [f"m{number}" for number in range(500, 520)]
        assert all(each.find(f"{CLIENT}error") is not None for each in refused)
        assert await is_served(alice)
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        assert await gather_bodies(bob, 500) == [str(number) for number in range(500)]
    assert await server.server.hosts["localhost"].stores.archive("offline").count("bob") == 0


async def ask_by_the_thousand(requests: int) -> None:
    async with running() as server:
        far = ListRoute("far.example")
        dispatch, rosters = server.server.dispatch, server.server.hosts["localhost"].stores.map("roster", RosterItem)
        dispatch.routes = (*dispatch.routes, far)
        bob = Jid.parse("bob@localhost")
        for number in range(requests):
            sent = dispatch.send(presence("subscribe", to=bob, sender=Jid.parse(f"{number}@far.example")))
            if sent is not None:
                await sent
        await dispatch.drain()
        assert len(await rosters.all("bob")) == 1000
        assert sum(b"resource-constraint" in each for each in far.delivered) == requests - 1000
        async with logged_in(server.url, "bob", PASSWORDS["bob"], presence=False) as client:
            await client.send("<presence xmlns='jabber:client'/>")
            asked = {(await client.receive_until("presence")).get("from") for _ in range(1001)}
            assert len(asked) == 1001
            assert len((await client.iq("get", ROSTER))[0]) == 0
            add = "<query xmlns='jabber:iq:roster'><item jid='alice@localhost' name='Alice'/></query>"
            assert (await client.iq("set", add)).get("type") == "result"
            await client.send("<presence xmlns='jabber:client' type='subscribed' to='7@far.example'/>")
            items = (await client.iq("get", ROSTER))[0]
            assert {each.get("jid"): each.get("subscription") for each in items} == {
                "7@far.example": "from",
                "alice@localhost": "none",
            }
            # That made room.
            sent = dispatch.send(presence("subscribe", to=bob, sender=Jid.parse("new@far.example")))
            if sent is not None:
                await sent
            assert (await client.receive_until("presence")).get("from") == "new@far.example"


async def test_requests_by_the_thousand_leave_the_roster_in_use() -> None:
    await ask_by_the_thousand(1200)


async def test_presence_goes_to_and_fro_no_more_than_it_is_sent(server: Running) -> None:
    """Probes, requests and refusals are answered by servers themselves: no two of these answer each other."""
    host, rounds = server.server.hosts["localhost"], 30
    async with (
        logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
    ):
        before = host.traffic.sent["presence"]
        types = ("probe", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "unavailable", "error", "probe")
        for _ in range(rounds):
            for type in types:
                await alice.send(f"<presence xmlns='jabber:client' type='{type}' to='bob@localhost'/>")
                await bob.send(f"<presence xmlns='jabber:client' type='{type}' to='alice@localhost'/>")
        assert await is_served(alice) and await is_served(bob)
        async with asyncio.timeout(10):
            await server.server.dispatch.drain()
        assert host.traffic.sent["presence"] - before <= rounds * len(types) * 2 * 3


# --- stalls ---


async def test_who_stalls_in_a_frame_or_a_login_is_ended_and_holds_little() -> None:
    settings = config(auth_timeout=1, ping_interval=0.5, pong_timeout=0.5, close_timeout=0.5)
    async with running(settings) as server, raw(server.port) as stranger, raw(server.port) as half:
        endpoint = server.server.endpoint
        await stranger.upgrade(frame(OPEN) + frame(b"<auth" + b" " * 15 * KIB)[: 12 * KIB])
        await half.upgrade(frame(OPEN))
        half.write(frame(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{_scram_first()}</auth>".encode()))
        async with bound(server.port, "alice") as alice:
            alice.write(frame(b"<message" + b" " * 250 * KIB)[: 240 * KIB])
            await until(lambda: max(each._reader.buffered for each in endpoint.connections) > 200 * KIB)
            assert all(each._reader.buffered <= 256 * KIB + 14 for each in endpoint.connections)
            for client, reason in ((stranger, "auth-timeout"), (half, "auth-timeout"), (alice, "pong-timeout")):
                assert any(reason.encode() in payload for _, payload in await client.frames()), reason
        await until(lambda: not endpoint.connections)


def _scram_first() -> str:
    return base64.b64encode(b"n,,n=alice,r=nonce").decode()


@pytest.mark.parametrize("cut", [1, 2, 5, 131, 132, 133, 134, 1000])
@pytest.mark.parametrize("size", [100, 300, 70 * KIB])
async def test_a_frame_may_come_in_any_two_parts(server: Running, size: int, cut: int) -> None:
    async with bound(server.port, "alice") as alice:
        (connection,) = server.server.endpoint.connections
        body = f"<body>{'x' * size}</body>"
        data = frame(f"<message xmlns='jabber:client' to='alice@localhost' id='m'>{body}</message>".encode())
        alice.write(data[:cut])
        if cut < len(data):
            await until(lambda: connection._reader.buffered == cut)
        alice.write(data[cut:])
        assert (await alice.frame())[1].startswith(b"<message ")


# --- nesting ---


async def test_what_is_as_deep_and_as_wide_as_may_be_arrives_whole(server: Running) -> None:
    async with (
        logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
    ):
        deep = "<x xmlns='urn:x'>" * 99 + "</x>" * 99
        wide = "<x xmlns='urn:x'>" + "<y/>" * 9998 + "</x>"
        attributes = "<x xmlns='urn:x' " + " ".join(f"a{number}='{'v' * 2000}'" for number in range(100)) + "/>"
        large = f"<body>{'&lt;' * 60_000}</body>"
        for number, content in enumerate((deep, wide, attributes, large)):
            await alice.send(f"<message xmlns='jabber:client' id='n{number}' to='{bob.jid}'>{content}</message>")
            message = await bob.receive_until("message")
            assert message.get("id") == f"n{number}"
            expected = ElementTree.fromstring(f"<m xmlns='jabber:client'>{content}</m>")
            came = [each.tag for each in message.iter() if each.tag != "{urn:xmpp:sid:0}stanza-id"]
            assert came[1:] == [each.tag for each in expected.iter()][1:]
        assert await is_served(alice)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<x>" * 100 + "</x>" * 100, "too-deep"),
        ("<x>" + "<y/>" * 9999 + "</x>", "too-many-elements"),
        ("<x>" * 60_000, "too-many-elements"),
        ("<x>" * 9_000, "not-well-formed"),
        (f"<body>{'x' * 270 * KIB}</body>", "stanza-too-large"),
        ("".join(f"<n{number}/>" for number in range(3000)), "too-many-names"),
    ],
)
async def test_what_is_over_a_limit_ends_its_session_alone(server: Running, content: str, reason: str) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            await alice.send(f"<message xmlns='jabber:client' to='{bob.jid}'>{content}</message>")
            assert (await alice.expect_end())[1].startswith(reason)
        assert await is_served(bob)


# --- lies ---


@pytest.mark.parametrize("name", ["bob@localhost", "localhost", "alice@localhost/other", "bob@localhost/b", "no jid @"])
async def test_nobody_speaks_for_others(server: Running, name: str) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"], resource="b") as bob:
        for kind in ("message", "presence", "iq"):
            async with logged_in(server.url, "alice", PASSWORDS["alice"], resource="a") as alice:
                stanza = f"<{kind} xmlns='jabber:client' from='{name}' to='{bob.jid}' type='error' id='1'/>"
                await alice.send(stanza)
                assert (await alice.expect_end())[0] == "invalid-from"
        # Nothing of it came.
        assert await is_served(bob) and len(server.server.hosts["localhost"].sessions) == 1


async def test_what_looks_like_the_servers_word_has_its_author(server: Running) -> None:
    """Roster pushes, answers to what somebody else was asked, and subscriptions."""
    lies = (
        "<iq xmlns='jabber:client' type='set' id='push' to='{}'>" + ROSTER + "</iq>",
        "<iq xmlns='jabber:client' type='result' id='t1' to='{}'/>",
        "<iq xmlns='jabber:client' type='error' id='t1' to='{}'/>",
        "<presence xmlns='jabber:client' type='error' from='alice@localhost' to='{}'/>",
        "<message xmlns='jabber:client' type='error' to='{}'/>",
    )
    async with (
        logged_in(server.url, "alice", PASSWORDS["alice"], resource="a") as alice,
        logged_in(server.url, "bob", PASSWORDS["bob"], resource="b") as bob,
    ):
        for lie in lies:
            await alice.send(lie.format(bob.jid))
            assert (await bob.receive()).get("from") == "alice@localhost/a"
        for type in ("subscribed", "unsubscribed", "unsubscribe"):
            # There is nothing that these could answer.
            await alice.send(f"<presence xmlns='jabber:client' type='{type}' to='bob@localhost'/>")
        assert await is_served(alice)
        assert len((await bob.iq("get", ROSTER))[0]) == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\xff" + struct.pack(">Q", 1 << 63) + bytes(8), 1002),
        (b"\x81\xff" + struct.pack(">Q", 1 << 40) + bytes(8), 1009),
        (b"\x81\xfe" + struct.pack(">H", 5) + bytes(9), 1002),
        (b"\x81\xff" + struct.pack(">Q", 300) + bytes(304), 1002),
        (b"\x01\xff" + struct.pack(">Q", 200 * KIB) + bytes(200 * KIB + 4) + frame(bytes(200 * KIB), 0), 1009),
    ],
)
async def test_lengths_that_lie_cost_nothing(server: Running, data: bytes, code: int) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob, bound(server.port, "alice") as alice:
        alice.write(data)
        frames = [await alice.frame() for _ in range(1 if code == 1002 else 3)]
        assert closing(frames)[0] == code
        assert all(each._reader.buffered == 0 for each in server.server.endpoint.connections)
        assert await is_served(bob)


# --- those who come and go ---


async def come_and_go(server: Running, guests: int) -> None:
    for _ in range(guests // 20):
        await asyncio.gather(*(visit(server, number) for number in range(20)))


async def visit(server: Running, number: int) -> None:
    """Do what leaves something behind in as many places as there are, and go in one of several ways."""
    async with logged_in(server.url, "", "", mechanism="ANONYMOUS") as guest:
        me = guest.jid.partition("/")[0]
        await guest.send("<presence xmlns='jabber:client' type='subscribe' to='alice@localhost'/>")
        await guest.send("<presence xmlns='jabber:client' to='alice@localhost'/>")
        for payload in (
            "<query xmlns='jabber:iq:roster'><item jid='alice@localhost' name='A'/></query>",
            "<query xmlns='jabber:iq:private'><x xmlns='urn:x'>y</x></query>",
            "<vCard xmlns='vcard-temp'><FN>Guest</FN></vCard>",
            "<block xmlns='urn:xmpp:blocking'><item jid='carol@localhost'/></block>",
        ):
            assert (await guest.iq("set", payload)).get("type") == "result"
        await guest.iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
        await guest.send("<presence xmlns='jabber:client' type='unavailable'><status>Bye</status></presence>")
        await guest.message(me, "for later")
        if number % 3 == 0:
            await guest.close()
        elif number % 3 == 1:
            guest.socket._response.connection.transport.abort()  # type: ignore[union-attr]


async def left_of(server: Running) -> set[str]:
    """Return whose data there is."""
    storage = server.server.storage
    assert isinstance(storage, MemoryStorage)
    return {owner for table in storage._hosts["localhost"].values() for owner, data in table.items() if data}


def held_by_modules(server: Running) -> dict[str, int]:
    """Return what modules hold by themselves, beside constants."""
    found = {}
    for name, module in server.server.hosts["localhost"].modules.items():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") and hasattr(value, "__len__") and len(value):
                found[f"{name}.{attribute}"] = len(value)
    return found


async def guests_leave_nothing(guests: int) -> None:
    async with running(config(hosts=ANONYMOUS, max_unauthenticated_per_address=1000)) as server:
        host = server.server.hosts["localhost"]
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            owners, held = await left_of(server), held_by_modules(server)
            await come_and_go(server, guests)
            await until(lambda: len(server.server.endpoint.connections) == 1)
            async with asyncio.timeout(10):
                await server.server.dispatch.drain()
            reading = asyncio.ensure_future(_drop(alice))
            # Of alice, since she was asked for her presence.
            assert await left_of(server) - owners <= {"alice"}
            assert await host.stores.map("roster", RosterItem).all("alice") == {}
            assert {name: size for name, size in held_by_modules(server).items() if size > held.get(name, 1)} == {}
            reading.cancel()
            gc.collect()
            # Of this server: those of others in this process may wait for a restart that never comes.
            assert sum(isinstance(each, Session) and each.host is host for each in gc.get_objects()) == 1
            assert len(host.sessions) == 1 and not server.server.endpoint._strangers


async def _drop(client: Client) -> None:
    while True:
        await client.receive()


async def test_anonymous_users_by_the_hundred_leave_nothing() -> None:
    await guests_leave_nothing(100)


# --- the same for long ---


@pytest.mark.soak
async def test_floods_for_long() -> None:
    for _ in range(20):
        await flood_who_does_not_read(20_000)
    await ask_by_the_thousand(10_000)


@pytest.mark.soak
async def test_anonymous_users_by_the_thousand_leave_nothing() -> None:
    await guests_leave_nothing(10_000)
