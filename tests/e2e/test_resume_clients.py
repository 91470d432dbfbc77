"""Other people's client libraries come back to their session: after a lost connection, and after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from browser import Chromium
from clients import Client, logged_in
from flaky import Flaky, flaky
from libraries import LIBRARIES, Library, Person, joined
from lines import Script
from node import script
from resuming import resumptions_of, sessions_of
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Storage

pytestmark = pytest.mark.e2e


def _strophe(*args: str) -> AbstractAsyncContextManager[Script]:
    return script("strophe.mjs", *args, "resume")


RESUMING = (
    Library("strophe", _strophe),
    *(library for library in LIBRARIES if library.name in ("stanza", "xmppjs")),
)


@pytest.fixture(params=RESUMING, ids=str)
def library(request: pytest.FixtureRequest) -> Library:
    found: Library = request.param
    return found


@pytest.fixture
async def proxy() -> AsyncIterator[Flaky]:
    async with flaky(Random(0)) as started:
        yield started


def alice_of(library: Library, proxy: Flaky, tmp_path: Path) -> AbstractAsyncContextManager[Person]:
    url = f"ws://127.0.0.1:{proxy.port}/xmpp-websocket"
    return joined(library, Chromium(tmp_path), url, "alice@localhost/here", PASSWORDS["alice"])


async def enabled(server: Running) -> Any:
    """Wait until the client can be resumed; return its session."""
    await until(lambda: len(resumptions_of(server)._digests) == 1)
    return sessions_of(server)[0]


async def back(server: Running) -> None:
    await until(lambda: len(sessions_of(server)) == 1 and len(resumptions_of(server)) == 0)


async def both_ways(alice: Person, bob: Client) -> None:
    """Make sure that messages go both ways, each of them once."""
    await bob.message(alice.jid, "at last")
    await alice.sees("message", body="at last")
    await alice.sees_no("message")
    await alice.ask("message", to=bob.jid, body="here I am", kind="chat")
    assert await bob.body() == "here I am"


async def test_a_connection_is_cut(library: Library, proxy: Flaky, tmp_path: Path) -> None:
    async with (
        running(config()) as server,
        logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
    ):
        proxy.target = server.port
        async with alice_of(library, proxy, tmp_path) as alice:
            session = await enabled(server)
            await bob.message(alice.jid, "before")
            await alice.sees("message", body="before")
            for number in range(3):
                proxy.cut_all()
                await until(lambda: len(resumptions_of(server)) == 1)
                await bob.message(alice.jid, f"missed {number}")
                await back(server)
                await alice.sees("message", body=f"missed {number}")
            assert sessions_of(server) == (session,) and session.jid.text == alice.jid
            if library.name == "xmppjs":
                # It does not count the answers to its own requests, and is sent that much again.
                await alice.forget()
            await both_ways(alice, bob)


@pytest.mark.parametrize("is_resumed", [True, False])
async def test_one_round_trip_by_a_token(is_resumed: bool, proxy: Flaky, tmp_path: Path) -> None:
    """xmpp.js comes back with FAST, and with its session or a new one in the same step."""
    xmppjs = Library("xmppjs", lambda *args: script("xmppjs.mjs", *args))
    async with (
        running(config()) as server,
        logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
    ):
        proxy.target = server.port
        async with alice_of(xmppjs, proxy, tmp_path) as alice:
            session = await enabled(server)
            logins = server.server.hosts["localhost"].traffic.logins
            passwords = sum(logins.values())
            for number in (1, 2):
                proxy.target = 0
                proxy.cut_all()
                await until(lambda: len(resumptions_of(server)) == 1)
                await bob.message(alice.bare, f"missed {number}")
                if not is_resumed:
                    sessions_of(server)[0].stream.end()
                proxy.target = server.port
                await back(server)
                await alice.sees("message", body=f"missed {number}")
                assert logins["HT-SHA-256-NONE", "success"] == number
            assert sum(logins.values()) == passwords + 2
            assert (sessions_of(server) == (session,)) is is_resumed


async def test_the_server_is_restarted(library: Library, proxy: Flaky, tmp_path: Path) -> None:
    settings = replace(config(), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}"))
    async with AsyncExitStack() as stack:
        async with running(settings) as server:
            proxy.target = server.port
            alice = await stack.enter_async_context(alice_of(library, proxy, tmp_path))
            digests = dict(resumptions_of(server)._by_digest) if await enabled(server) else {}
            proxy.target = 0
            proxy.cut_all()
            await until(lambda: len(resumptions_of(server)) == 1)
            async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
                await bob.message(alice.jid, "before the restart")
                await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
                await bob.close()
        async with running(settings, new_accounts=False) as server:
            assert resumptions_of(server)._by_digest.keys() == digests.keys()
            proxy.target = server.port
            await back(server)
            assert resumptions_of(server)._by_digest.keys() == digests.keys()
            await alice.sees("message", body="before the restart")
            async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
                await both_ways(alice, bob)


async def test_the_server_says_that_it_stops(library: Library, proxy: Flaky, tmp_path: Path) -> None:
    """Whatever a library makes of system-shutdown, it is there again, once, and misses nothing."""
    settings = replace(config(), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}"))
    async with AsyncExitStack() as stack:
        async with running(settings) as server:
            proxy.target = server.port
            alice = await stack.enter_async_context(alice_of(library, proxy, tmp_path))
            digests = dict(resumptions_of(server)._by_digest) if await enabled(server) else {}
            proxy.target = 0
        async with running(settings, new_accounts=False) as server:
            async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
                await bob.message(alice.jid, "while away")
                proxy.target = server.port
                await back(server)
                print(library, "resumed", resumptions_of(server)._by_digest.keys() == digests.keys())
                await alice.sees("message", body="while away")
                await both_ways(alice, bob)
