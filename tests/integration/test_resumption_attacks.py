"""Resumption (XEP-0198) by clients that ask for the wrong thing, at the wrong moment, or too often."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from clients import CLIENT, Client, connected, logged_in
from faulty import faulty
from jose import SECRET, hs256, token
from resuming import (
    FAILED,
    RESUMED,
    SM,
    acknowledge,
    ask_to_resume,
    asleep,
    assert_nothing_is_left,
    authenticated,
    cut,
    enable,
    handled,
    resume,
    resumptions_of,
    sessions_of,
)
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Config, Host, Jwt, Storage
from xmppws.core.events import SessionSuspended
from xmppws.core.hooks import Phase
from xmppws.errors import Reason, StreamPolicyViolation

NAMES = ("127.0.0.1", "localhost")
ROOM = "den@conference.localhost"


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(config()) as started:
        yield started


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def stored(tmp_path: Path, **limits: Any) -> Config:
    return replace(config(**limits), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}"))


async def gone(server: Running, name: str = "alice", **options: Any) -> tuple[str, str]:
    """Log in, enable and lose the connection; return the id and the full JID."""
    before = len(resumptions_of(server))
    async with connected(server.url) as client:
        await client.login(name, PASSWORDS[name], **options)
        id = await enable(client)
        await cut(client)
        await asleep(server, before + 1)
        return id, client.jid


# --- Who resumes what ---


@pytest.mark.parametrize("id", ["", "x" * 4000, "' or 1=1", "\N{PILE OF POO}", "alice@localhost/x"])
async def test_wrong_ids(server: Running, id: str) -> None:
    await gone(server)
    async with connected(server.url) as again:
        await authenticated(again, "alice")
        written = id.replace("&", "&amp;").replace("'", "&apos;")
        assert (await ask_to_resume(again, written, 0)).tag == FAILED
        assert (await ask_to_resume(again, written, 0)).tag == FAILED


async def test_one_user_does_not_go_on_for_another(server: Running) -> None:
    id, _ = await gone(server)
    async with connected(server.url) as bob, connected(server.url) as alice:
        assert (await resume(bob, id, 0, "bob")).tag == FAILED
        assert (await resume(alice, id, 0)).tag == RESUMED


async def test_the_same_user_on_another_host() -> None:
    hosts = {name: Host(http_host=NAMES) for name in ("a.test", "b.test")}
    async with running(config(hosts=hosts)) as server:
        async with connected(server.url, "a.test") as alice:
            await alice.login("alice", PASSWORDS["alice"])
            id = await enable(alice)
            await cut(alice)
            await until(lambda: len(resumptions_of(server, "a.test")) == 1)
        async with connected(server.url, "b.test") as other:
            assert (await resume(other, id, 0)).tag == FAILED


async def test_before_log_in_nothing_is_resumed(server: Running) -> None:
    id, _ = await gone(server)
    async with connected(server.url) as stranger:
        await stranger.open()
        await stranger.send(f"<resume xmlns='{SM}' previd='{id}' h='0'/>")
        assert (await stranger.expect_end())[0] == "not-authorized"
    assert len(resumptions_of(server)) == 1


async def test_an_account_that_was_deleted(tmp_path: Path) -> None:
    async with running(stored(tmp_path)) as server:
        await gone(server)
        (accounts,) = server.server.hosts["localhost"].providers
        assert await accounts.delete("alice")  # type: ignore[attr-defined]
        async with connected(server.url) as again:
            await again.open()
            assert (await again.authenticate("alice", PASSWORDS["alice"])).tag.endswith("}failure")
    # Who has the name next gets nothing of it.
    async with running(stored(tmp_path), new_accounts=False) as server:
        assert len(resumptions_of(server)) == 0


async def test_who_was_kicked_does_not_go_on(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice, connected(server.url) as again:
        id = await enable(alice)
        error = StreamPolicyViolation("Go away", Reason.KICKED)
        assert server.server.connections.end(sessions_of(server)[0].stream.id, error)
        assert (await alice.expect_end())[0] == "policy-violation"
        assert (await resume(again, id, 0)).tag == FAILED
        assert_nothing_is_left(server)


async def test_who_comes_back_is_active(server: Running) -> None:
    """XEP-0352 section 5.2."""
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob, connected(server.url) as again:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            id = await enable(alice)
            await alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
            await handled_by_ping(alice)
            for show in ("away", "dnd"):
                await bob.send(f"<presence xmlns='jabber:client' to='{alice.jid}'><show>{show}</show></presence>")
            await handled_by_ping(bob)
            assert await handled(alice) == 1
            await cut(alice)
            await asleep(server)
        assert (await resume(again, id, 1)).get("h") == "1"
        assert (await again.receive()).findtext(f"{CLIENT}show") == "dnd"
        await bob.send(f"<presence xmlns='jabber:client' to='{alice.jid}'><show>chat</show></presence>")
        assert (await again.receive()).findtext(f"{CLIENT}show") == "chat"


@pytest.mark.parametrize("h", ["1", "4294967295", "-1", "x", "4294967296", "٣"])
async def test_a_wrong_h_ends_the_new_stream_and_leaves_the_session(server: Running, h: str) -> None:
    async with (
        logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        connected(server.url) as wrong,
        connected(server.url) as again,
    ):
        id = await enable(alice)
        await authenticated(wrong, "alice")
        await wrong.send(f"<resume xmlns='{SM}' previd='{id}' h='{h}'/>")
        assert (await wrong.expect_end())[0] == "undefined-condition"
        # The connection that it was about goes on.
        await alice.message(alice.jid, "still here")
        assert await alice.body() == "still here"
        await cut(alice)
        await asleep(server)
        assert (await resume(again, id, 0)).get("h") == "1"
        assert await again.body() == "still here"


async def test_numbers_begin_anew_after_the_last_one(server: Running, stack: AsyncExitStack) -> None:
    alice = await stack.enter_async_context(logged_in(server.url, "alice", PASSWORDS["alice"]))
    id = await enable(alice)
    acks = sessions_of(server)[0].acks
    acks.handled = acks._acked = 2**32 - 2
    for number in range(3):
        await alice.message(alice.jid, str(number))
    assert [await alice.body() for _ in range(3)] == ["0", "1", "2"]
    assert await handled(alice) == 1
    await cut(alice)
    await asleep(server)
    async with connected(server.url) as again:
        assert (await resume(again, id, 2**32 - 1)).get("h") == "1"
        assert [await again.body() for _ in range(2)] == ["1", "2"]
        await acknowledge(again, 1)
        assert await handled(again) == 1
        assert len(acks) == 0


async def test_what_is_acknowledged_never_grows_less(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is done with all, and nobody has been told yet, when the next request comes."""
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        await enable(alice)
        disk: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        done = iter((disk, None))
        monkeypatch.setattr(server.server.hosts["localhost"].stores, "settled", lambda: next(done))
        await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        await alice.send(f"<r xmlns='{SM}'/>")
        await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        assert await handled(alice) == 2
        disk.set_result(True)
        assert (await alice.receive_until("a")).get("h") == "2"
        monkeypatch.undo()


# --- Several at once ---


async def test_what_is_handled_when_its_client_comes_back_is_neither_lost_nor_doubled(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice, connected(server.url) as again:
        id = await enable(alice)
        mailbox = faulty(server.server.hosts["localhost"].modules["offline"], "messages")
        mailbox.gate.clear()
        await alice.message("bob@localhost", "once")
        await until(lambda: sessions_of(server)[0].handling is not None)
        await authenticated(again, "alice")
        await again.send(f"<resume xmlns='{SM}' previd='{id}' h='0'/>")
        # Its answer would not know yet whether the message came.
        assert (await alice.expect_end())[0] == "conflict"
        mailbox.gate.set()
        assert (await again.receive()).get("h") == "1"
        await again.message("bob@localhost", "twice")
        assert await handled(again) == 2
    async with logged_in(server.url, "bob", PASSWORDS["bob"], presence=False) as bob:
        await bob.send("<presence xmlns='jabber:client'/>")
        assert [await bob.body() for _ in range(2)] == ["once", "twice"]


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
async def test_many_that_resume_one_session_at_once(tmp_path: Path, storage: str) -> None:
    settings = config() if storage == "memory" else stored(tmp_path)
    async with running(settings) as server:
        id, jid = await gone(server)
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(connected(server.url)) for _ in range(5)]
            for each in sockets:
                await authenticated(each, "alice")
            bob = await stack.enter_async_context(logged_in(server.url, "bob", PASSWORDS["bob"]))
            # Writes are under way all the time, so that each has to wait.
            for number in range(20):
                await bob.message("carol@localhost", str(number))
            await asyncio.gather(*(each.send(f"<resume xmlns='{SM}' previd='{id}' h='0'/>") for each in sockets))
            await until(lambda: sum(each.name == "alice@localhost" for each in server.server.endpoint.connections) == 1)
            await bob.message(jid, "to one of them")
            bodies = [body for each in sockets if (body := await _last(each)) is not None]
            assert bodies == ["to one of them"]
            assert len(sessions_of(server)) == 1 and len(resumptions_of(server)) == 0


async def _last(client: Client) -> str | None:
    """Return the body of the first message, None for a stream that has ended."""
    while True:
        element = await client.receive()
        if element.tag == f"{CLIENT}message":
            return element.findtext(f"{CLIENT}body")
        if element.tag == "{http://etherx.jabber.org/streams}error":
            assert element[0].tag.endswith("}conflict")
            return None


async def test_the_socket_is_lost_while_the_resumption_waits(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        id = await enable(alice)
        mailbox = faulty(server.server.hosts["localhost"].modules["offline"], "messages")
        mailbox.gate.clear()
        await alice.message("bob@localhost", "x")
        await until(lambda: sessions_of(server)[0].handling is not None)
        async with connected(server.url) as lost:
            await authenticated(lost, "alice")
            await lost.send(f"<resume xmlns='{SM}' previd='{id}' h='0'/>")
            await alice.expect_end()
            await cut(lost)
        mailbox.gate.set()
        await until(lambda: not server.server.endpoint.connections)
        await asleep(server)
        async with connected(server.url) as again:
            assert (await resume(again, id, 0)).get("h") == "1"
            await again.close()
    assert_nothing_is_left(server)


async def test_the_server_stops_while_a_resumption_waits(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with running(stored(tmp_path)) as server:
            alice = await stack.enter_async_context(connected(server.url))
            await alice.login("alice", PASSWORDS["alice"])
            id = await enable(alice)
            mailbox = faulty(server.server.hosts["localhost"].modules["offline"], "messages")
            mailbox.gate.clear()
            await alice.message("bob@localhost", "x")
            await until(lambda: sessions_of(server)[0].handling is not None)
            again = await stack.enter_async_context(connected(server.url))
            await authenticated(again, "alice")
            await again.send(f"<resume xmlns='{SM}' previd='{id}' h='0'/>")
            await alice.expect_end()
            stopping = asyncio.ensure_future(server.server.end_streams())
            assert (await again.expect_end())[0] == "system-shutdown"
            mailbox.gate.set()
            await stopping
            await asleep(server)
        async with running(stored(tmp_path), new_accounts=False) as server, connected(server.url) as again:
            # It was handled before the server stopped, and that was waited for.
            assert (await resume(again, id, 0)).get("h") == "1"


async def test_what_is_handled_when_the_server_stops_is_counted(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with running(stored(tmp_path)) as server:
            alice = await stack.enter_async_context(connected(server.url))
            await alice.login("alice", PASSWORDS["alice"])
            id = await enable(alice)
            bob_id, bob_jid = await gone(server, "bob")
            blocking = faulty(server.server.hosts["localhost"].modules["blocking"], "lists")
            blocking.gate.clear()
            await alice.message(bob_jid, "on its way")
            await until(lambda: sessions_of(server)[0].handling is not None)
            asyncio.get_running_loop().call_later(0.2, blocking.gate.set)
        async with running(stored(tmp_path), new_accounts=False) as server:
            async with connected(server.url) as again, connected(server.url) as bob:
                assert (await resume(again, id, 0)).get("h") == "1"
                await resume(bob, bob_id, 0, "bob")
                assert await bob.body() == "on its way"
                await again.message(bob_jid, "next")
                assert await bob.body() == "next"


async def test_a_slow_reader_that_comes_back_is_written_to_again(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice, connected(server.url) as again:
        id = await enable(alice)
        (session,) = sessions_of(server)
        session.reads(False)
        assert (await resume(again, id, 0)).tag == RESUMED
        async with asyncio.timeout(5):
            await session.writable()


# --- What a session is worth ---


async def test_a_newer_session_of_the_same_resource_ends_the_hibernating_one(server: Running) -> None:
    id, jid = await gone(server, resource="here")
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        await bob.message(jid, "to the older one")
        await handled_by_ping(bob)
        async with logged_in(server.url, "alice", PASSWORDS["alice"], resource="here") as newer:
            assert newer.jid == jid and await newer.body() == "to the older one"
            async with connected(server.url) as late:
                assert (await resume(late, id, 0)).tag == FAILED
    await until(lambda: not sessions_of(server))
    assert_nothing_is_left(server)


async def handled_by_ping(client: Client) -> None:
    await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>")


async def test_a_queue_that_overflows_while_nobody_is_there() -> None:
    async with running(config(max_unacked=100)) as server:
        id, jid = await gone(server)
        async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
            for number in range(120):
                await bob.message(jid, str(number))
            await handled_by_ping(bob)
            assert_nothing_is_left_of(server, "alice")
        async with connected(server.url) as late:
            assert (await resume(late, id, 0)).tag == FAILED
        async with logged_in(server.url, "alice", PASSWORDS["alice"], presence=False) as again:
            await again.send("<presence xmlns='jabber:client'/>")
            assert [await again.body() for _ in range(120)] == [str(number) for number in range(120)]


def assert_nothing_is_left_of(server: Running, name: str) -> None:
    assert not sessions_of(server, name)
    assert len(resumptions_of(server)._by_digest) == 0


async def test_so_many_sessions_of_one_account_hibernate(server: Running) -> None:
    ids = []
    for _ in range(12):
        before = len(resumptions_of(server)._digests)
        async with connected(server.url) as client:
            await client.login("alice", PASSWORDS["alice"])
            ids.append(await enable(client))
            assert len(resumptions_of(server)._digests) == before + 1
            await cut(client)
            await until(lambda: not server.server.endpoint.connections)
    assert len(resumptions_of(server)) == len(sessions_of(server)) == 10
    async with connected(server.url) as oldest, connected(server.url) as next_one:
        assert (await resume(oldest, ids[0], 0)).tag == FAILED
        assert (await resume(next_one, ids[2], 0)).tag == RESUMED


async def test_what_has_ended_may_be_ended_again(server: Running) -> None:
    await gone(server)
    (session,) = sessions_of(server)
    for _ in range(2):
        session.stream.end()
    session.stream.check(0.0)
    assert_nothing_is_left(server)


async def test_a_room_keeps_who_hibernates_and_learns_the_end() -> None:
    async with running(config(resume_timeout=3.0)) as server:
        async with (
            logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
            logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        ):
            id = await enable(alice)
            for each, nick in ((alice, "Alice"), (bob, "Bob")):
                await each.send(
                    f"<presence xmlns='jabber:client' to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/>"
                    "</presence>"
                )
                await each.receive_until("message")
                if nick == "Alice":
                    await alice.iq(
                        "set",
                        "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/>"
                        "</query>",
                        ROOM,
                    )
            await cut(alice)
            await asleep(server)
            for number in range(3):
                await bob.message(ROOM, str(number), "groupchat")
                assert await bob.body() == str(number)
            async with connected(server.url) as again:
                await resume(again, id, 0)
                # What came before is shown again, for nothing was acknowledged.
                bodies = [await again.body() for _ in range(4)]
                assert bodies[-3:] == ["0", "1", "2"]
                await again.message(ROOM, "here I am", "groupchat")
                assert await bob.body() == "here I am"
                await cut(again)
            await asleep(server)
            left = await bob.receive_until("presence")
            assert (left.get("from"), left.get("type")) == (f"{ROOM}/Alice", "unavailable")
        await until(lambda: not sessions_of(server, "bob"))
        assert_nothing_is_left(server)


# --- Tokens ---


def shown(**claims: Any) -> str:
    return token({"sub": "alice", "exp": time.time() + 60, **claims}, hs256())


def of_tokens(**limits: Any) -> Config:
    host = Host(http_host=NAMES, authentication=("jwt", "internal"), jwt=Jwt(secret=SECRET, leeway=0.0))
    return config(hosts={"localhost": host}, **limits)


async def gone_with(server: Running, password: str) -> str:
    async with connected(server.url) as client:
        await client.login("alice", password, mechanism="PLAIN")
        id = await enable(client)
        await cut(client)
        await asleep(server)
        return id


@pytest.mark.parametrize(
    ("before", "after", "tag"),
    [
        ({"room": "a"}, {"room": "a"}, RESUMED),
        ({"room": "a"}, {"room": "b"}, FAILED),
        ({"room": "a"}, {}, FAILED),
        ({}, {"room": "a"}, FAILED),
        ({"device": "phone"}, {"device": "phone"}, RESUMED),
        ({"device": "phone"}, {"device": "desk"}, FAILED),
        (None, {"room": "a"}, FAILED),
        ({"room": "a"}, None, FAILED),
        ({}, None, RESUMED),
    ],
)
async def test_a_token_resumes_what_it_lets_in_to(
    before: dict[str, str] | None, after: dict[str, str] | None, tag: str
) -> None:
    async with running(of_tokens()) as server:
        id = await gone_with(server, PASSWORDS["alice"] if before is None else shown(**before))
        async with connected(server.url) as again:
            password = PASSWORDS["alice"] if after is None else shown(**after)
            await authenticated(again, "alice", password, "PLAIN")
            assert (await ask_to_resume(again, id, 0)).tag == tag
            identity = sessions_of(server)[0].identity
            if tag == RESUMED:
                assert (identity is None) is (after is None)


async def test_a_session_ends_with_its_token_connected_or_not() -> None:
    async with running(of_tokens()) as server:
        await gone_with(server, shown(exp=time.time() + 2))
        await until(lambda: not sessions_of(server), 10)
        assert_nothing_is_left(server)


async def test_what_a_token_says_outlives_the_server(tmp_path: Path) -> None:
    settings = replace(of_tokens(), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}"))
    async with running(settings) as server:
        id = await gone_with(server, shown(room="a"))
    async with running(settings, new_accounts=False) as server:
        assert sessions_of(server)[0].identity.room == "a"
        async with connected(server.url) as wrong, connected(server.url) as right:
            await authenticated(wrong, "alice", shown(room="b"), "PLAIN")
            assert (await ask_to_resume(wrong, id, 0)).tag == FAILED
            await authenticated(right, "alice", shown(room="a"), "PLAIN")
            assert (await ask_to_resume(right, id, 0)).tag == RESUMED


# --- What is stored ---


def broken(data: str, how: str) -> str:
    kept = json.loads(data)
    if how == "no JSON":
        return data[:-2]
    if how == "another kind":
        kept[0]["queue"] = [["iqq", "get", "", "", "", 0.0]]
    elif how == "no XML":
        kept[0]["presence"] = "eA=="
    elif how == "no resource":
        kept[0]["resource"] = ""
    elif how == "twice":
        kept *= 2
    return json.dumps(kept)


@pytest.mark.parametrize("how", ["no JSON", "another kind", "no XML", "no resource", "twice"])
async def test_a_record_that_somebody_has_changed(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    async with running(stored(tmp_path)) as server:
        await gone(server)
        bob_id, _ = await gone(server, "bob")
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        ((data,),) = connection.execute("SELECT value FROM keyvalue WHERE store = 'suspended' AND owner = 'alice'")
        text = data if isinstance(data, str) else data.decode()
        connection.execute(
            "UPDATE keyvalue SET value = ? WHERE store = 'suspended' AND owner = 'alice'", (broken(text, how).encode(),)
        )
    connection.close()
    caplog.set_level(logging.ERROR)
    async with running(stored(tmp_path), new_accounts=False) as server:
        assert len(sessions_of(server)) == (1 if how == "twice" else 0)
        assert ["alice" in record.getMessage() for record in caplog.records] == [True]
        async with connected(server.url) as bob:
            assert (await resume(bob, bob_id, 0, "bob")).tag == RESUMED


async def test_a_clock_that_was_set_back_while_the_server_was_away(tmp_path: Path, monkeypatch: Any) -> None:
    async with running(stored(tmp_path)) as server:
        await gone(server)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 1e6)
    async with running(stored(tmp_path), new_accounts=False) as server:
        (session,) = sessions_of(server)
        assert session.stream.until <= asyncio.get_running_loop().time() + 600


async def test_a_module_that_fails_to_say_what_it_knows(tmp_path: Path) -> None:
    async with running(stored(tmp_path)) as server:
        id, _ = await gone(server)

        def fails(event: SessionSuspended) -> None:
            raise RuntimeError("a module's mistake")

        hooks = server.server.hosts["localhost"].hooks
        hooks.add(SessionSuspended, Phase.OBSERVE, fails, "tests")
    async with running(stored(tmp_path), new_accounts=False) as server, connected(server.url) as again:
        assert (await resume(again, id, 0)).tag == RESUMED
