"""The router `upstream` in front of Debian's Prosody and ejabberd, whose accounts are theirs alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clients import logged_in
from servers import PASSWORDS, Running, config, running
from upstreams import DOMAIN, Upstream, ejabberd, prosody
from xmppws.config import Config, Host
from xmppws.config.upstream import Upstream as Options

pytestmark = pytest.mark.e2e


@pytest.fixture(params=[prosody, ejabberd], ids=["prosody", "ejabberd"])
async def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Upstream]:
    async with request.param(tmp_path) as started:
        yield started


def relaying(upstream: Upstream, port: str = "c2s_port", **options: Any) -> Config:
    where = f"127.0.0.1:{getattr(upstream.ports, port)}"
    settings = {"address": (where,), "ca_file": str(upstream.ca)} | options
    host = Host(http_host=("127.0.0.1",), router="upstream", upstream=Options(**settings))
    return config(hosts={upstream.domain: host})


async def chat(server: Running) -> None:
    async with (
        logged_in(server.url, "alice", PASSWORDS["alice"], domain=DOMAIN, mechanism="SCRAM-SHA-1") as alice,
        logged_in(server.url, "bob", PASSWORDS["bob"], domain=DOMAIN, mechanism="PLAIN") as bob,
    ):
        await alice.message(bob.jid, "hello &lt;&amp;>")
        assert await bob.body() == "hello <&>"
        await bob.message(alice.jid, "back")
        assert await alice.body() == "back"


@pytest.mark.parametrize(("port", "tls"), [("c2s_port", "starttls"), ("tls_port", "direct")])
async def test_two_users_chat(upstream: Upstream, port: str, tls: str) -> None:
    async with running(relaying(upstream, port, tls=tls)) as server:
        await chat(server)
