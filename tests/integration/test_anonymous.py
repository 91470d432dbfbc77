"""SASL ANONYMOUS on real sockets: what is offered, and that nothing of an anonymous user stays."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from clients import CLIENT, SASL, Client, connected, logged_in
from servers import PASSWORDS, Running, config, program, running
from xmppws.config import Host
from xmppws.core.events import AccountEnding, SessionEnded
from xmppws.core.hooks import Phase
from xmppws.core.host import Host as CoreHost
from xmppws.core.module import IqDeclaration, Target
from xmppws.core.roster import RosterItem
from xmppws.core.stores import StorageError
from xmppws.errors import Reason, StreamPolicyViolation
from xmppws.storage import open_storage
from xmppws.xml.stanza import Stanza

ROSTER = "<query xmlns='jabber:iq:roster'/>"
ADD_BOB = "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query>"
NOTE = "<note xmlns='urn:x'/>"
WITH_PASSWORD = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NAMES = ("127.0.0.1", "localhost")


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    hosts = {"localhost": Host(http_host=NAMES, authentication=("internal", "anonymous"))}
    async with running(config(hosts=hosts)) as started:
        yield started


def host_of(server: Running) -> CoreHost:
    return server.server.hosts["localhost"]


async def gone(server: Running) -> None:
    """Wait until no stream is left, and what its end has begun is done."""
    async with asyncio.timeout(10):
        await server.server.endpoint._empty.wait()
        await server.server.dispatch.drain()


async def left(server: Running) -> list[str]:
    """Return whose data there is, but for the accounts."""
    stores = host_of(server).stores
    notes = await stores.keyvalue("notes", str).owners()
    return sorted({*notes, *await stores.keyvalue("guests", bool).owners()})


def mechanisms(features: ElementTree.Element) -> list[str]:
    return [text.strip() for text in features[0].itertext() if text.strip()]


def guest(server: Running, resource: str = "") -> AbstractAsyncContextManager[Client]:
    return logged_in(server.url, "", "", mechanism="ANONYMOUS", resource=resource)


def kick(server: Running) -> None:
    """End the only stream there is."""
    (connection,) = server.server.endpoint.connections
    assert server.server.connections.end(connection.id, StreamPolicyViolation("", Reason.KICKED))


async def test_a_host_of_anonymous_users_offers_nothing_else() -> None:
    hosts = {"localhost": Host(http_host=NAMES, authentication=("anonymous",))}
    async with running(config(hosts=hosts)) as server, connected(server.url) as client:
        assert mechanisms(await client.open()) == ["ANONYMOUS"]
        refused = await client.authenticate("alice", PASSWORDS["alice"], "PLAIN")
        assert refused.find(f"{{{SASL}}}invalid-mechanism") is not None
        assert (await client.authenticate("", "", "ANONYMOUS")).tag == f"{{{SASL}}}success"


async def test_accounts_with_passwords_live_beside_anonymous_ones(server: Running) -> None:
    async with connected(server.url) as client:
        assert mechanisms(await client.open()) == [*WITH_PASSWORD, "ANONYMOUS"]
    async with guest(server, resource="r") as anonymous, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        assert re.fullmatch(rf"{UUID}@localhost/r", anonymous.jid)
        await anonymous.message("alice@localhost", "Who am I?")
        message = await alice.receive_until("message")
        assert (message.get("from"), message.findtext(f"{CLIENT}body")) == (anonymous.jid, "Who am I?")
        await alice.message(anonymous.jid, "Nobody knows.")
        assert await anonymous.body() == "Nobody knows."


async def test_anonymous_users_see_nothing_of_each_other(server: Running) -> None:
    async with guest(server) as one, guest(server) as other:
        assert one.jid.partition("@")[0] != other.jid.partition("@")[0]
        assert (await one.iq("set", ADD_BOB)).get("type") == "result"
        assert len((await one.iq("get", ROSTER))[0]) == 1
        assert len((await other.iq("get", ROSTER))[0]) == 0
        refused = await other.iq("get", ROSTER, to=one.jid.partition("/")[0])
        assert refused.get("type") == "error"


async def test_nothing_of_an_anonymous_user_stays(server: Running) -> None:
    host = host_of(server)
    rosters = host.stores.map("roster", RosterItem)
    async with guest(server) as client, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        username = client.jid.partition("@")[0]
        assert (await client.iq("set", ADD_BOB)).get("type") == (await alice.iq("set", ADD_BOB)).get("type") == "result"
        assert await host.exists(username) and await left(server) == [username]
        await client.close()
        await server.server.dispatch.drain()
        assert not await host.exists(username)
        async with asyncio.timeout(10):
            while await left(server):
                await asyncio.sleep(0)
        assert await rosters.all(username) == {} and list(await rosters.all("alice")) == ["bob@localhost"]
        # Nobody keeps messages for who will never come back.
        await alice.message(f"{username}@localhost", "Are you there?")
        assert (await alice.receive_until("message")).get("type") == "error"


async def test_what_modules_write_at_the_end_goes_too(server: Running) -> None:
    host, release, order = host_of(server), asyncio.Event(), list[str]()
    notes = host.stores.keyvalue("notes", str)

    async def write_late(event: SessionEnded) -> None:
        await release.wait()
        await notes.set(event.session.jid.local, "was here")
        order.append("ended")

    async def cancel(event: AccountEnding) -> None:
        order.append(f"ending {event.account.local} with {await left(server) == [event.account.local]}")
        raise RuntimeError("a module that fails must not keep the data")

    host.hooks.add(SessionEnded, Phase.DELIVER, write_late, "late")
    host.hooks.add(AccountEnding, Phase.DELIVER, cancel, "late")
    async with guest(server) as client:
        username = client.jid.partition("@")[0]
        await client.close()
    release.set()
    await gone(server)
    assert order == ["ended", f"ending {username} with True"]
    assert await left(server) == []


async def test_what_the_last_request_writes_goes_too(server: Running) -> None:
    host, asked, release = host_of(server), asyncio.Event(), asyncio.Event()
    notes = host.stores.keyvalue("notes", str)

    async def write_slowly(iq: Stanza) -> Stanza:
        asked.set()
        await release.wait()
        assert iq.sender is not None
        await notes.set(iq.sender.local, "a note")
        return iq.result()

    host.add_iq_handler(IqDeclaration("set", "{urn:x}note", Target.SELF), write_slowly)
    async with guest(server) as client:
        await client.send(f"<iq xmlns='jabber:client' type='set' id='1'>{NOTE}</iq>")
        await asked.wait()
        kick(server)
        release.set()
        await client.expect_end()
    await gone(server)
    assert await left(server) == []


async def test_who_leaves_without_a_session_leaves_nothing(server: Running) -> None:
    async with connected(server.url) as client:
        await client.open()
        await client.authenticate("", "", "ANONYMOUS")
        assert len(await left(server)) == 1
    await gone(server)
    assert await left(server) == []


async def test_who_leaves_while_the_account_is_made_leaves_nothing(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = host_of(server).providers[1]._guests  # type: ignore[attr-defined]
    write, asked, release = guests.set, asyncio.Event(), asyncio.Event()

    async def write_slowly(owner: str, value: bool) -> None:
        asked.set()
        await release.wait()
        await write(owner, value)

    monkeypatch.setattr(guests, "set", write_slowly)
    async with connected(server.url) as client:
        await client.open()
        await client.send(f"<auth xmlns='{SASL}' mechanism='ANONYMOUS'/>")
        await asked.wait()
        kick(server)
        release.set()
        await client.expect_end()
    await gone(server)
    assert await left(server) == []
    assert host_of(server).providers[1]._present == set()  # type: ignore[attr-defined]


async def test_an_account_that_cannot_be_made_may_be_asked_for_again(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = host_of(server).providers[1]._guests  # type: ignore[attr-defined]

    async def fail(owner: str, value: bool) -> None:
        raise StorageError("the disk is full")

    endings: list[AccountEnding] = []
    host_of(server).hooks.add(AccountEnding, Phase.OBSERVE, endings.append, "test")
    async with connected(server.url) as client:
        await client.open()
        with monkeypatch.context() as patched:
            patched.setattr(guests, "set", fail)
            refused = await client.authenticate("", "", "ANONYMOUS")
            assert refused.find(f"{{{SASL}}}temporary-auth-failure") is not None
        assert (await client.authenticate("alice", PASSWORDS["alice"])).tag == f"{{{SASL}}}success"
    await gone(server)
    assert await host_of(server).exists("alice")
    assert endings == []


async def test_a_crash_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    file, database = tmp_path / "xmppws.toml", f"sqlite:{tmp_path}/db"
    file.write_text(
        f'data_dir = "{tmp_path}"\nstorage.url = "{database}"\nmetrics.listen = []\nauthentication = ["anonymous"]\n'
        '[http]\nlisten = ["127.0.0.1:0"]\nconsider_websocket_secure = true\n[hosts.localhost]\n'
    )

    async def stored() -> list[dict[str, RosterItem]]:
        storage = open_storage(database, tmp_path)
        await storage.open()
        stores = storage.for_host("localhost")
        rosters = stores.map("roster", RosterItem)
        found = [await rosters.all(name) for name in (username, *await stores.keyvalue("guests", bool).owners())]
        await storage.close()
        return found

    async with program(file) as server:
        async with logged_in(server.url, "", "", mechanism="ANONYMOUS") as client:
            username = client.jid.partition("@")[0]
            assert (await client.iq("set", ADD_BOB)).get("type") == "result"
            await server.stop(signal.SIGKILL)
    assert [list(roster) for roster in await stored()] == [["bob@localhost"], ["bob@localhost"]]
    async with program(file):
        pass
    assert await stored() == [{}]


async def test_the_log_knows_the_account_and_not_the_trace(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with connected(server.url) as client:
        await client.open()
        await client.send(f"<auth xmlns='{SASL}' mechanism='ANONYMOUS'>c2lyaGM=</auth>")
        assert (await client.receive()).tag == f"{{{SASL}}}success"
    (line,) = [record.getMessage() for record in caplog.records if record.name == "xmppws.login"]
    assert re.search(rf"login=success .*user='{UUID}' mechanism=ANONYMOUS", line)
    assert "sirhc" not in caplog.text
