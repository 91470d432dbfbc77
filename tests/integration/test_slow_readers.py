"""Clients that stop reading: what waits for them is bounded and not lost, and who writes to them waits a bit."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import aiohttp
from msgspec.structs import replace

from clients import CLIENT, Client, connected, gather_bodies, logged_in
from faulty import faulty
from raw import Raw, closing, frame
from resuming import RESUMED, SM, asleep, enable, handled, resume, sessions_of
from servers import PASSWORDS, Running, config, running
from stalling import bound
from waiting import until
from xmppws.config import Host, Metrics, Storage
from xmppws.core.session import Session
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.stanza import message, presence
from xmppws.xml.writer import element

KIB = 1024
LONG = 60.0
PING = "<ping xmlns='urn:xmpp:ping'/>"


def connection_of(server: Running, name: str) -> Any:
    (found,) = [each for each in server.server.endpoint.connections if each.name == name]
    return found


def fill(server: Running, session: Session, size: int = 100 * KIB) -> int:
    """Send a client more than it is about to take, from its own host; return how many messages that was."""
    connection = connection_of(server, session.account.text)
    connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * KIB)
    number = 0
    while connection.ended is None and connection.waiting < size:
        body = element(ns.CLIENT, "body")
        body.text = f"filler {number} {'x' * 4 * KIB}"
        session.send(message("headline", [body], to=session.jid, sender=session.host.jid))
        number += 1
    return number


@asynccontextmanager
async def stalled(server: Running) -> AsyncIterator[tuple[Raw, Session, int]]:
    """Let bob be there and not read; so many messages wait for him."""
    async with bound(server.port, "bob", small=True) as client:
        (session,) = sessions_of(server, "bob")
        filled = fill(server, session)
        assert session.caught_up is not None
        yield client, session, filled


async def stanzas(client: Raw, number: int) -> list[ElementTree.Element]:
    """Return the next stanzas that a client reads."""
    async with asyncio.timeout(20):
        return [ElementTree.fromstring((await client.frame())[1]) for _ in range(number)]


def said(stanza: ElementTree.Element) -> str:
    """Return what stands in a stanza, without what makes it large."""
    text = stanza.findtext(f"{CLIENT}body") or stanza.findtext(f"{CLIENT}status") or stanza.tag
    return text.rstrip("x").strip()


def fillers(number: int) -> list[str]:
    return [f"filler {each}" for each in range(number)]


def pauses(server: Running) -> float:
    return server.server.hosts["localhost"].traffic.pauses.value


async def send_status(client: Client, to: Session, status: str) -> None:
    await client.send(f"<presence xmlns='jabber:client' to='{to.jid}'><status>{status}</status></presence>")


async def answered(client: Client) -> None:
    """Make sure that all which a client has sent is handled."""
    assert (await client.iq("get", PING, to="localhost")).get("type") == "result"


# --- Who waits ---


async def test_a_sender_waits_and_goes_on_in_order() -> None:
    async with (
        running(config(slow_reader_wait=LONG)) as server,
        logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        stalled(server) as (bob, session, filled),
    ):
        await enable(alice)
        before = connection_of(server, "bob@localhost").waiting
        for number in range(20):
            await alice.message(session.jid.text, f"{number} {'x' * 4 * KIB}")
        await until(lambda: pauses(server) == 1)
        # One more than it was, and that one is counted at once.
        assert connection_of(server, "bob@localhost").waiting < before + 6 * KIB
        (sender,) = sessions_of(server)
        assert sender.acks is not None and sender.acks.handled == 1
        found = [said(each) for each in await stanzas(bob, filled + 20)]
        assert found == [*fillers(filled), *map(str, range(20))]
        assert await handled(alice) == 20 and session.caught_up is None


async def test_a_reader_of_a_byte_now_and_then_holds_nobody_up_for_long() -> None:
    wait, rounds = 0.1, 10
    async with (
        running(config(slow_reader_wait=wait)) as server,
        logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        logged_in(server.url, "carol", PASSWORDS["carol"]) as carol,
        stalled(server) as (bob, session, _),
    ):
        began = asyncio.get_running_loop().time()
        for number in range(rounds):
            await alice.message(session.jid.text, "to the slow one")
            await alice.message(carol.jid, str(number))
            assert await carol.body() == str(number)
            await bob.reader.readexactly(1)
        took = asyncio.get_running_loop().time() - began
        assert session.caught_up is not None and pauses(server) == rounds
        assert rounds * wait * 0.9 < took < rounds * wait + 2


async def test_a_room_with_a_slow_occupant_waits_for_nobody() -> None:
    room = "den@conference.localhost"
    async with (
        running(config(slow_reader_wait=LONG)) as server,
        logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        logged_in(server.url, "carol", PASSWORDS["carol"]) as carol,
        bound(server.port, "bob", small=True) as bob,
    ):
        enter = (
            "<presence xmlns='jabber:client' to='"
            + room
            + "/{}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await alice.send(enter.format("Alice"))
        form = "<x xmlns='jabber:x:data' type='submit'/>"
        await alice.iq("set", f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>", to=room)
        await carol.send(enter.format("Carol"))
        bob.write(frame(enter.format("Bob").encode()))
        while (await carol.receive_until("presence")).get("from") != f"{room}/Bob":
            pass
        (session,) = sessions_of(server, "bob")
        fill(server, session)
        for number in range(20):
            await alice.message(room, str(number), type="groupchat")
        assert await gather_bodies(carol, 20) == list(map(str, range(20)))
        await answered(alice)
        assert session.caught_up is not None and pauses(server) == 0


async def test_a_sender_of_another_host_waits_too() -> None:
    hosts = {name: Host(http_host=("localhost", "127.0.0.1")) for name in ("localhost", "two.example")}
    async with (
        running(config(hosts=hosts, slow_reader_wait=LONG)) as server,
        logged_in(server.url, "alice", PASSWORDS["alice"], "two.example") as alice,
        stalled(server) as (bob, session, filled),
    ):
        await alice.message(session.jid.text, "hello")
        await until(lambda: pauses(server) == 1)
        assert said((await stanzas(bob, filled + 1))[-1]) == "hello"
        await answered(alice)


async def send_many(client: Raw, to: Session, number: int) -> None:
    texts = (f"<message xmlns='jabber:client' to='{to.jid}'><body>{each}</body></message>" for each in range(number))
    client.write(b"".join(frame(text.encode()) for text in texts))
    await client.writer.drain()


async def test_what_a_sender_has_sent_arrives_though_it_goes_while_it_waits() -> None:
    async with running(config(slow_reader_wait=LONG)) as server, stalled(server) as (bob, session, filled):
        async with bound(server.port, "alice") as alice:
            await send_many(alice, session, 20)
            await until(lambda: pauses(server) == 1)
        found = [said(each) for each in await stanzas(bob, filled + 20)]
        assert found == [*fillers(filled), *map(str, range(20))]
        await until(lambda: not sessions_of(server))


async def test_a_sender_that_is_gone_already_does_not_wait() -> None:
    async with running(config(slow_reader_wait=LONG)) as server, stalled(server) as (_, session, _):
        blocking = faulty(server.server.hosts["localhost"].modules["blocking"], "lists")
        blocking.gate.clear()
        async with bound(server.port, "alice") as alice:
            await send_many(alice, session, 20)
            connection = connection_of(server, "alice@localhost")
            await until(lambda: connection._reader.buffered > 0)
        await until(lambda: connection._lost is not None)
        blocking.gate.set()
        await until(lambda: not sessions_of(server), timeout=5)
        assert session.caught_up is not None


async def test_the_server_stops_while_somebody_waits() -> None:
    settings = config(slow_reader_wait=LONG, close_timeout=0.5)
    async with running(settings) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        async with stalled(server) as (_, session, _):
            for number in range(20):
                await alice.message(session.jid.text, str(number))
            await until(lambda: pauses(server) == 1)
            async with asyncio.timeout(5):
                await server.server.end_streams()


# --- What waits ---


async def test_presence_and_chat_states_take_no_more_however_many_there_are() -> None:
    settings = replace(config(slow_reader_wait=LONG), metrics=Metrics(listen=("127.0.0.1:0",)))
    async with (
        running(settings) as server,
        logged_in(server.url, "carol", PASSWORDS["carol"]) as carol,
        stalled(server) as (bob, session, filled),
    ):
        before = connection_of(server, "bob@localhost").waiting
        for number in range(500):
            await send_status(carol, session, f"status {number}")
            state = "composing" if number % 2 else "paused"
            inside = f"<{state} xmlns='http://jabber.org/protocol/chatstates'/>"
            await carol.send(f"<message xmlns='jabber:client' type='chat' to='{session.jid}'>{inside}</message>")
        await answered(carol)
        assert connection_of(server, "bob@localhost").waiting <= before
        figures = await scrape(server)
        assert figures["xmppws_slow_readers"] == 1 and figures["xmppws_slow_readers_pauses_total"] == 0
        assert figures["xmppws_slow_readers_held_total"] == 1000
        assert figures["xmppws_slow_readers_collapsed_total"] == 998
        shown, typed = (await stanzas(bob, filled + 2))[filled:]
        assert said(shown) == "status 499" and typed[0].tag.endswith("composing")
        await answered(carol)
        assert (await scrape(server))["xmppws_slow_readers"] == 0


async def scrape(server: Running) -> dict[str, float]:
    (where,) = server.server.metrics_addresses
    async with aiohttp.ClientSession() as http, http.get(f"http://{where.host}:{where.port}/metrics") as response:
        text = await response.text()
    return {name: float(value) for name, value in re.findall(r'^(\w+)\{host="localhost"\} (\S+)$', text, re.MULTILINE)}


# --- How it ends ---


async def test_who_does_not_catch_up_is_told_why() -> None:
    settings = config(ping_interval=0.3, pong_timeout=0.3, close_timeout=1)
    async with running(settings) as server, stalled(server) as (bob, _, filled):
        connection = connection_of(server, "bob@localhost")
        await until(lambda: connection.ended is not None)
        assert not sessions_of(server, "bob")
        frames = await bob.frames()
        assert len(frames) == filled + 3
        assert b"<resource-constraint " in frames[-3][1] and b">slow-reader: " in frames[-3][1]
        code, reason = closing(frames)
        assert code == 1008 and reason.startswith("slow-reader: ")


async def manage(client: Raw) -> str:
    """Enable stream management on a raw socket; return the id to resume it by."""
    client.write(frame(f"<enable xmlns='{SM}' resume='true'/>".encode()))
    (enabled,) = await stanzas(client, 1)
    return enabled.get("id") or ""


async def the_rest(client: Client) -> list[str]:
    """Return what stands in all stanzas that a client is sent up to now."""
    await client.send(f"<iq xmlns='jabber:client' type='get' id='last' to='localhost'>{PING}</iq>")
    found = []
    while (stanza := await client.receive()).get("id") != "last":
        if stanza.tag.startswith(CLIENT):
            found.append(said(stanza))
    return found


async def test_who_is_sent_too_much_is_ended_and_goes_on_with_everything() -> None:
    async with running(config(max_send_buffer=256 * KIB, slow_reader_wait=0)) as server:
        async with bound(server.port, "bob", small=True) as bob:
            id = await manage(bob)
            (session,) = sessions_of(server, "bob")
            connection = connection_of(server, "bob@localhost")
            filled = fill(server, session, 10_000 * KIB)
            assert connection.ended is not None and connection.ended.reason.id == "slow-reader"
            # What the kernel has taken, and the one that was too much, is all there is above the limit.
            assert filled * 4 * KIB < 256 * KIB + 32 * KIB
            await asleep(server)
        async with connected(server.url) as again:
            assert (await resume(again, id, 0, "bob")).tag == RESUMED
            assert await the_rest(again) == fillers(filled)


async def test_what_waited_when_the_connection_was_lost_comes_with_the_next_one() -> None:
    async with (
        running(config(slow_reader_wait=0.01)) as server,
        logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        logged_in(server.url, "carol", PASSWORDS["carol"]) as carol,
    ):
        async with bound(server.port, "bob", small=True) as bob:
            id = await manage(bob)
            (session,) = sessions_of(server, "bob")
            filled = fill(server, session)
            for number in range(3):
                await send_status(carol, session, f"status {number}")
                await alice.message(session.jid.text, str(number))
            await answered(carol)
            await answered(alice)
        await asleep(server)
        await send_status(carol, session, "last status")
        await alice.message(session.jid.text, "last message")
        await answered(carol)
        await answered(alice)
        async with connected(server.url) as again:
            assert (await resume(again, id, 0, "bob")).tag == RESUMED
            assert await the_rest(again) == [*fillers(filled), "0", "1", "2", "last message", "last status"]
            assert session.hold is None


async def test_what_waited_when_the_server_stopped_comes_after_it_has_started(tmp_path: Path) -> None:
    settings = replace(config(close_timeout=0.5), data_dir=tmp_path, storage=Storage())
    async with running(settings) as server, bound(server.port, "bob", small=True) as bob:
        id = await manage(bob)
        (session,) = sessions_of(server, "bob")
        filled = fill(server, session)
        for number in range(3):
            status = element(ns.CLIENT, "status")
            status.text = f"status {number}"
            server.server.dispatch.post(presence("", [status], to=session.jid, sender=Jid.parse("carol@far.example/x")))
    async with running(settings, new_accounts=False) as server, connected(server.url) as again:
        assert (await resume(again, id, 0, "bob")).tag == RESUMED
        assert await the_rest(again) == [*fillers(filled), "status 2"]
