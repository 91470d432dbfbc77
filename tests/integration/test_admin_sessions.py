"""What a sysadmin sees of sessions that come, hibernate, go on and end, and what ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from administered import Served, administered, configure, run
from clients import Client, connected, logged_in
from resuming import FAILED, RESUMED, ask_to_resume, authenticated, cut, enable, handled, resume
from servers import PASSWORDS, add_accounts, program

ALICE = "alice@localhost"
ROSTER = "<query xmlns='jabber:iq:roster'>{}</query>"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with administered(tmp_path) as served:
        yield served


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def gone(served: Served, name: str = "alice", resource: str = "phone") -> str:
    """Log in, and lose the connection; return the id to resume by."""
    async with connected(served.server.url) as client:
        await client.login(name, PASSWORDS[name], resource=resource)
        id = await enable(client)
        (row,) = await served.rows("sessions", client.jid)
        await cut(client)
        await served.server.logged(f"id={row['id']} end=connection-lost")
        return id


async def talks(stack: AsyncExitStack, served: Served, name: str, **options: Any) -> Client:
    return await stack.enter_async_context(logged_in(served.server.url, name, PASSWORDS[name], **options))


@asynccontextmanager
async def watching(served: Served, jid: str = ALICE) -> AsyncIterator[asyncio.StreamReader]:
    process = await served.start("watch", jid, "--json")
    assert process.stdout is not None
    yield process.stdout
    process.terminate()
    await process.communicate()


async def next_event(events: asyncio.StreamReader, what: str) -> dict[str, Any]:
    """Return the next thing that happens, which is this, dropping stanzas."""
    async with asyncio.timeout(20):
        while "what" not in (event := json.loads(await events.readline())):
            pass
    assert event["what"] == what, event
    assert isinstance(event, dict)
    return event


async def test_who_hibernates_and_why(served: Served, stack: AsyncExitStack) -> None:
    bob = await talks(stack, served, "bob")
    id = await gone(served)
    for text in ("one", "two"):
        await bob.message("alice@localhost/phone", text)
    await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    (row,) = await served.rows("sessions", ALICE)
    assert (row["user"], row["resource"], row["host"], row["state"]) == (ALICE, "phone", "localhost", "hibernating")
    assert (row["last_end"], row["last_end_by"], row["resumed"]) == ("connection-lost", "network", 0)
    assert row["unacked"] == 2 and row["unacked_bytes"] > 20 and row["queue_bytes"] == 0
    assert 0 <= row["last_end_seconds"] <= row["idle_seconds"] + 1
    # Just when it was cut, it had ten minutes.
    assert row["last_end_seconds"] + row["resumable_seconds"] == pytest.approx(600, abs=1)
    (status,) = await served.rows("status")
    assert (status["sessions"], status["hibernating"]) == ({"localhost": 2}, {"localhost": 1})
    table = await served.run("sessions")
    assert "connection-lost (network)" in table and "2 (" in table and "resumable" in table
    again = await stack.enter_async_context(connected(served.server.url))
    assert (await resume(again, id, 0)).tag == RESUMED
    (row,) = await served.rows("sessions", ALICE)
    assert (row["state"], row["resumable_seconds"], row["resumed"]) == ("available", None, 1)
    assert (row["last_end"], row["last_end_by"], row["unacked"]) == ("connection-lost", "network", 2)
    assert (await served.rows("status"))[0]["hibernating"] == {"localhost": 0}


async def test_who_resumes_elsewhere_replaces_its_own_connection(served: Served, stack: AsyncExitStack) -> None:
    alice = await talks(stack, served, "alice")
    again = await stack.enter_async_context(connected(served.server.url))
    assert (await resume(again, await enable(alice), 0)).tag == RESUMED
    rows = await served.rows("sessions", alice.jid)
    assert [(row["last_end"], row["last_end_by"], row["resumed"]) for row in rows] == [("replaced", "server", 1)]


async def test_a_restart_keeps_what_there_is_to_say(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with administered(tmp_path) as served:
        await gone(served, resource="cut before")
        await enable(await talks(stack, served, "alice", resource="there"))
        before = {row["resource"]: row for row in await served.rows("sessions")}
        assert await served.server.stop() == 0
    async with program(served.file) as server:
        served.server = server
        after = {row["resource"]: row for row in await served.rows("sessions")}
    assert {row["state"] for row in after.values()} == {"hibernating"}
    ends = {resource: (row["last_end"], row["last_end_by"]) for resource, row in after.items()}
    assert ends == {"cut before": ("connection-lost", "network"), "there": ("shutdown", "server")}
    for resource, row in after.items():
        for same in ("user", "host", "address", "secure", "id", "round_trip_seconds"):
            assert row[same] == before[resource][same], same
    assert after["cut before"]["last_end_seconds"] > before["cut before"]["last_end_seconds"]


@pytest.mark.parametrize("by", ["account", "full JID", "id"])
async def test_who_hibernates_can_be_kicked(served: Served, stack: AsyncExitStack, by: str) -> None:
    bob = await talks(stack, served, "bob")
    id = await gone(served)
    await bob.message("alice@localhost/phone", "late")
    await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    (row,) = await served.rows("sessions", ALICE)
    targets = {"account": ALICE, "full JID": "alice@localhost/phone", "id": row["id"]}
    (kicked,) = await served.rows("kick", targets[by])
    assert kicked == {"user": ALICE, "state": "hibernating", "address": "127.0.0.1", "id": row["id"]}
    assert await served.rows("sessions", ALICE) == []
    alice = await stack.enter_async_context(connected(served.server.url))
    await authenticated(alice, "alice")
    assert (await ask_to_resume(alice, id, 0)).tag == FAILED
    await alice.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", to="")
    await alice.send("<presence xmlns='jabber:client'/>")
    # As after its expiry.
    assert await alice.body() == "late"
    audited = [json.loads(line) for line in (served.directory / "data" / "audit.log").read_text().splitlines()]
    assert [entry["target"] for entry in audited if entry["action"] == "kick"] == [targets[by]]


async def test_deleting_an_account_ends_its_sessions(served: Served, stack: AsyncExitStack) -> None:
    bob = await talks(stack, served, "bob")
    id = await gone(served, resource="asleep")
    alice = await talks(stack, served, "alice", resource="awake")
    await alice.iq("set", ROSTER.format("<item jid='bob@localhost' name='Bob'/>"), to="")
    await bob.send(f"<presence xmlns='jabber:client' type='subscribe' to='{ALICE}'/>")
    await alice.receive_until("presence")
    await alice.send("<presence xmlns='jabber:client' type='subscribed' to='bob@localhost'/>")
    while (await bob.receive_until("presence")).get("from") != "alice@localhost/awake":
        pass
    assert await served.run("user", "delete", ALICE) == f"deleted {ALICE}; 2 of its sessions ended\n"
    assert await alice.expect_end() == ("not-authorized", "account-deleted: The account was deleted", 1000)
    assert await served.rows("sessions", ALICE) == []
    told = [(await bob.receive_until("presence")).get("type") for _ in range(2)]
    assert "unavailable" in told and set(told) <= {"unavailable", "unsubscribed"}
    assert f"there is no account {ALICE}" in await served.refused("user", "delete", ALICE)
    # Who gets the name next has nothing of it.
    await add_again(served)
    heir = await stack.enter_async_context(connected(served.server.url))
    await authenticated(heir, "alice")
    assert (await ask_to_resume(heir, id, 0)).tag == FAILED
    await heir.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", to="")
    assert len((await heir.iq("get", ROSTER.format(""), to=""))[0]) == 0


async def add_again(served: Served) -> None:
    (served.directory / "again.txt").write_text(f"{ALICE} {PASSWORDS['alice']}\n")
    await served.run("user", "add", "--file", str(served.directory / "again.txt"))


async def test_a_new_password_ends_nothing(served: Served, stack: AsyncExitStack) -> None:
    alice = await talks(stack, served, "alice")
    id = await gone(served)
    process = await served.start("user", "passwd", ALICE, "--password-stdin", stdin=asyncio.subprocess.PIPE)
    await process.communicate(b"something new\n")
    assert process.returncode == 0 and len(await served.rows("sessions", ALICE)) == 2
    assert await handled_after_enabling(alice) == 0
    again = await stack.enter_async_context(connected(served.server.url))
    await authenticated(again, "alice", "something new")
    assert (await ask_to_resume(again, id, 0)).tag == RESUMED


async def handled_after_enabling(client: Client) -> int:
    await enable(client)
    return await handled(client)


async def test_an_account_of_other_data_is_not_meant(served: Served, tmp_path: Path, stack: AsyncExitStack) -> None:
    alice = await talks(stack, served, "alice")
    other = tmp_path / "other"
    other.mkdir()
    file = configure(other)
    file.write_text(file.read_text().replace(str(other / "admin.sock"), str(served.socket)))
    await add_accounts(file)
    assert await run(file, "user", "delete", ALICE) == (0, f"deleted {ALICE}\n", "")
    await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    assert ALICE in await served.run("user", "list", "localhost")
    refused = await served.ask(b'{"command": "delete-account", "args": {"jid": "localhost", "data": ""}}\n')
    assert "not the address of an account" in refused["error"]


async def test_watch_tells_what_becomes_of_a_session(served: Served, stack: AsyncExitStack) -> None:
    async with watching(served) as events:
        watched = json.loads(await events.readline())
        assert watched == {"watching": ALICE, "connections": 0, "hibernating": 0}
        id = await gone(served)
        first = await next_event(events, "logged-in")
        assert first["address"] == "127.0.0.1"
        bound = await next_event(events, "bound")
        assert (bound["jid"], bound["id"]) == ("alice@localhost/phone", first["id"])
        lost = await next_event(events, "disconnected")
        assert (lost["reason"], lost["by"], lost["round_trip_seconds"]) == ("connection-lost", "network", None)
        assert lost["lasted_seconds"] >= lost["idle_seconds"] >= 0
        hibernates = await next_event(events, "hibernates")
        assert (hibernates["jid"], hibernates["unacked"]) == ("alice@localhost/phone", 0)
        assert hibernates["resumable_seconds"] == pytest.approx(600, abs=1)
        async with watching(served) as late:
            assert json.loads(await late.readline())["hibernating"] == 1
        again = await stack.enter_async_context(connected(served.server.url))
        await resume(again, id, 0)
        second = await next_event(events, "logged-in")
        resumed = await next_event(events, "resumed")
        assert (resumed["id"], resumed["reason"], resumed["sent_again"]) == (second["id"], "connection-lost", 0)
        await served.run("kick", ALICE, "--reason", "Enough")
        assert (await next_event(events, "disconnected"))["reason"] == "kicked"
        ended = await next_event(events, "ended")
        assert (ended["reason"], ended["by"], ended["text"]) == ("kicked", "server", "kicked: Enough")


async def test_watch_tells_who_is_not_awaited_any_more(tmp_path: Path) -> None:
    async with administered(tmp_path, resume_timeout="1s") as served:
        watching = await served.start("watch", ALICE)
        assert watching.stdout is not None
        await watching.stdout.readline()
        async with connected(served.server.url) as client:
            await client.login("alice", PASSWORDS["alice"], resource="my phone")
            await enable(client)
            await cut(client)
            lines = [""]
            async with asyncio.timeout(20):
                while " • expired: " not in lines[-1]:
                    lines.append((await watching.stdout.readline()).decode())
        told = "jid alice@localhost/my phone, reason connection-lost, by network, after "
        assert told in lines[-1]
        assert any(" • disconnected: reason connection-lost, by network, lasted " in line for line in lines)
        assert any(" • hibernates: " in line for line in lines)
        watching.terminate()
        await watching.communicate()
