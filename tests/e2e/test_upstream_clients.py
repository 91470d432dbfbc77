"""The suite of client libraries, unchanged, with accounts that are on Prosody and ejabberd behind our server.

Of the pairs of library and server some are of every run, and the others of `make soak`. What a server does in its
own way, without us too, is left out: see `OF_ITS_OWN`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import e2e.test_clients as suite
from browser import Chromium
from libraries import LIBRARIES, Library, Person, bare, joined
from servers import config, running
from upstreams import Upstream, ejabberd, prosody
from xmppws.config import Host
from xmppws.config.upstream import Upstream as Options

pytestmark = pytest.mark.e2e

EVERY_TIME = {("prosody", "strophe")}

# When stanzas come in one read with <enabled/>, this library begins to count twice, and Prosody ends the stream.
LEFT_OUT = ("prosody", "xmppjs")
# Who does not pass a test of the suite on the server's own WebSocket port either.
OF_ITS_OWN: dict[str, Callable[[str, str], bool]] = {
    # Prosody sends neither push nor presence to who ends a subscription that the contact has ended.
    "test_subscriptions_are_cancelled_by_either_side": lambda server, library: server == "prosody",
    # ejabberd says nothing to who is blocked.
    "test_blocking": lambda server, library: server == "ejabberd",
    # Who asks with the version of the roster gets nothing when it is the same (RFC 6121 section 2.6).
    "test_roster_changes_are_pushed_to_every_resource": lambda *pair: pair == ("prosody", "stanza"),
}


Start: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Upstream]]


@dataclass(frozen=True)
class Pair:
    """A library, and what is behind: a server, how it is started, the port of its that is used, and the TLS there."""

    library: Library
    server: str
    start: Start
    port: str
    tls: str


def _pairs() -> list[Any]:
    behind = (("prosody", prosody, "c2s_port", "starttls"), ("ejabberd", ejabberd, "tls_port", "direct"))
    return [
        pytest.param(
            Pair(library, *server),
            id=f"{server[0]}-{library}",
            marks=() if (server[0], library.name) in EVERY_TIME else pytest.mark.soak,
        )
        for library, server in product(LIBRARIES, behind)
        if (server[0], library.name) != LEFT_OUT
    ]


@pytest.fixture(params=_pairs())
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    differs = OF_ITS_OWN.get(request.function.__name__)
    if differs is not None and differs(found.server, found.library.name):
        pytest.skip("the server or the library does this in its own way")
    return found


@pytest.fixture
def library(pair: Pair) -> Library:
    return pair.library


@pytest.fixture
async def site(pair: Pair, tmp_path: Path) -> AsyncIterator[suite.Site]:
    async with pair.start(tmp_path) as upstream:
        where = f"127.0.0.1:{getattr(upstream.ports, pair.port)}"
        options = Options(address=(where,), tls=pair.tls, ca_file=str(upstream.ca))
        host = Host(http_host=("127.0.0.1",), router="upstream", upstream=options)
        async with running(config(hosts={upstream.domain: host}, http={"console": True})) as server:

            def cut(jid: str) -> None:
                (connection,) = (one for one in server.server.endpoint.connections if one.name == bare(jid))
                connection.abort()

            passwords = {f"{name}@{upstream.domain}": password for name, password in upstream.passwords.items()}
            yield suite.Site(server.url, passwords, cut)


@pytest.fixture
async def join(site: suite.Site, chromium: Chromium) -> AsyncIterator[suite.Join]:
    """Log an account in, and wait until its server has taken its presence: each account has a connection of its own."""
    async with AsyncExitStack() as people:

        async def join(name: str, library: Library, resource: str = "") -> Person:
            jid = f"{name}@{site.domain}"
            address = f"{jid}/{resource}" if resource else jid
            person = await people.enter_async_context(joined(library, chromium, site.url, address, site.passwords[jid]))
            await person.ask("ping")
            return person

        yield join


chromium = suite.chromium
# With the fixtures of this file. Those without a site are about our own server.
globals().update(
    {
        name: test
        for name, test in vars(suite).items()
        if name.startswith("test_") and {"library"} <= (given := inspect.signature(test).parameters.keys())
        if given & {"site", "join"}
    }
)
