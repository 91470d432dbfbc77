"""Strophe.js and xmpp.js, as they are published, against the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from itertools import combinations_with_replacement

import pytest

from node import Script, script
from servers import PASSWORDS, Running, running
from xmppws.core.roster import RosterItem, Subscription

pytestmark = pytest.mark.e2e

LIBRARIES = ("strophe.mjs", "xmppjs.mjs")
TEXT = 'Grüße <b>&amp;</b> "quoted" 👋'


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running() as started:
        yield started


def client(
    library: str, server: Running, username: str, password: str | None = None
) -> AbstractAsyncContextManager[Script]:
    return script(library, server.url, f"{username}@localhost", password or PASSWORDS[username])


@pytest.mark.parametrize(("one", "other"), list(combinations_with_replacement(LIBRARIES, 2)))
async def test_messages_go_both_ways(one: str, other: str, server: Running) -> None:
    async with client(one, server, "alice") as alice, client(other, server, "bob") as bob:
        addresses = [(await user.event("online"))["jid"] for user in (alice, bob)]
        await alice.do("message", to="bob@localhost", body=TEXT)
        assert await bob.event("message") == {"event": "message", "from": addresses[0], "body": TEXT}
        await bob.do("message", to=addresses[0], body="And back")
        assert await alice.event("message") == {"event": "message", "from": addresses[1], "body": "And back"}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_wrong_password_is_told(library: str, server: Running) -> None:
    async with client(library, server, "alice", "wrong") as alice:
        assert (await alice.event("refused", "online")) == {"event": "refused", "condition": "not-authorized"}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_roster_ping_and_logout(library: str, server: Running) -> None:
    roster = server.server.hosts["localhost"].stores.map("roster", RosterItem)
    await roster.set("alice", "bob@localhost", RosterItem("Bob", ("Friends",), Subscription.BOTH))
    async with client(library, server, "alice") as alice:
        await alice.event("online")
        await alice.do("roster")
        assert (await alice.event("roster", "error"))["items"] == {"bob@localhost": "both"}
        await alice.do("ping")
        await alice.event("pong")
        (connection,) = server.server.endpoint.connections
        await alice.do("leave")
        await alice.event("offline")
        assert await alice.end() == 0
        assert connection.ended is not None
        assert connection.ended.reason.id == "client-close"
        assert server.server.sessions() == 0


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_client_comes_back_after_its_socket_is_cut(library: str, server: Running) -> None:
    async with client(library, server, "alice") as alice, client(library, server, "bob") as bob:
        await asyncio.gather(alice.event("online"), bob.event("online"))
        (connection,) = (one for one in server.server.endpoint.connections if one.name.startswith("alice@"))
        connection.abort()
        await alice.event("offline")
        await alice.event("online")
        await bob.do("message", to="alice@localhost", body="Welcome back")
        assert (await alice.event("message"))["body"] == "Welcome back"
