"""The router `upstream` in front of Debian's Prosody and ejabberd, whose accounts are theirs alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from clients import FRAMING, Client, connected, logged_in
from processes import free_ports
from servers import PASSWORDS, Program, Running, config, program, running
from upstreams import DOMAIN, Upstream, ejabberd, prosody
from waiting import until
from xmppws.config import Config, Host
from xmppws.config.upstream import Upstream as Options

pytestmark = pytest.mark.e2e

SM = "urn:xmpp:sm:3"
# The port of the server, and the TLS there.
WAYS = [("c2s_port", "starttls"), ("tls_port", "direct")]
FILE = """
data_dir = "{directory}"
admin_socket = ""
metrics.listen = ["127.0.0.1:{metrics}"]
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[hosts."{domain}"]
http_host = ["127.0.0.1"]
router = "upstream"
[hosts."{domain}".upstream]
address = ["127.0.0.1:{port}"]
tls = "{tls}"
ca_file = "{ca}"
"""


@pytest.fixture(params=[prosody, ejabberd], ids=["prosody", "ejabberd"])
async def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Upstream]:
    async with request.param(tmp_path) as started:
        yield started


def relaying(upstream: Upstream, port: str = "c2s_port", **options: Any) -> Config:
    where = f"127.0.0.1:{getattr(upstream.ports, port)}"
    settings = {"address": (where,), "ca_file": str(upstream.ca)} | options
    host = Host(http_host=("127.0.0.1",), router="upstream", upstream=Options(**settings))
    return config(hosts={upstream.domain: host})


async def chat(server: Running | Program) -> None:
    async with (
        logged_in(server.url, "alice", PASSWORDS["alice"], domain=DOMAIN, mechanism="SCRAM-SHA-1") as alice,
        logged_in(server.url, "bob", PASSWORDS["bob"], domain=DOMAIN, mechanism="PLAIN") as bob,
    ):
        await alice.message(bob.jid, "hello &lt;&amp;>")
        assert await bob.body() == "hello <&>"
        await bob.message(alice.jid, "back")
        assert await alice.body() == "back"


@pytest.mark.parametrize(("port", "tls"), WAYS)
async def test_two_users_chat(upstream: Upstream, port: str, tls: str) -> None:
    async with running(relaying(upstream, port, tls=tls)) as server:
        await chat(server)


# A server that ends, as the program that users start sees it


@dataclass(frozen=True)
class Started:
    """`xmppws serve`, and where its metrics are."""

    program: Program
    metrics: int

    async def counted(self, name: str, **labels: str) -> float:
        """Return what a metric counts."""
        async with aiohttp.ClientSession() as session:
            response = await session.get(f"http://127.0.0.1:{self.metrics}/metrics")
            text = await response.text()
        shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        found = re.search(rf"^{name}{{{re.escape(shown)}}} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@asynccontextmanager
async def serving(upstream: Upstream, directory: Path, port: str, tls: str) -> AsyncIterator[Started]:
    (metrics,) = free_ports(1)
    file = directory / "xmppws.toml"
    where = getattr(upstream.ports, port)
    names = {"directory": directory, "metrics": metrics, "domain": upstream.domain, "ca": upstream.ca}
    file.write_text(FILE.format(port=where, tls=tls, **names), encoding="utf-8")
    async with program(file) as started:
        yield Started(started, metrics)


@pytest.mark.parametrize(("port", "tls"), WAYS)
async def test_a_server_that_is_killed_and_started_again(
    upstream: Upstream, port: str, tls: str, tmp_path: Path
) -> None:
    async with serving(upstream, tmp_path, port, tls) as ours:
        url = ours.program.url
        async with logged_in(url, "alice", PASSWORDS["alice"], domain=DOMAIN, mechanism="SCRAM-SHA-1") as alice:
            assert await ours.counted("xmppws_upstream_connections", host=DOMAIN) == 1
            await upstream.daemon.kill()
            condition, text, code = await alice.expect_end()
            assert (condition, code) == ("remote-connection-failed", 1000)
            assert text.startswith("upstream-lost: ")
        await ours.program.logged(r"end=upstream-lost by=upstream .*user=alice@example\.test")
        ends = {"host": DOMAIN, "reason": "upstream-lost", "by": "upstream"}
        assert await ours.counted("xmppws_streams_ended_total", **ends) == 1
        async with connected(url, DOMAIN) as client:
            await client.send(f"<open xmlns='{FRAMING}' to='{DOMAIN}' version='1.0'/>")
            condition, text, _ = await client.expect_end()
            assert condition == "remote-connection-failed" and text.startswith("upstream-unreachable: ")
        assert await ours.counted("xmppws_upstream_failures_total", host=DOMAIN) == 1
        await ours.program.logged(rf"127\.0\.0\.1:{getattr(upstream.ports, port)}.*: connection refused")
        await upstream.daemon.start()
        await chat(ours.program)
        assert await ours.counted("xmppws_upstream_connections", host=DOMAIN) == 0
        assert not [line for line in ours.program.lines if "Traceback" in line]


# Resumption (XEP-0198)


async def log_in(client: Client, username: str) -> None:
    """Log in and open the stream anew, and bind nothing."""
    await client.open()
    outcome = await client.authenticate(username, PASSWORDS[username], "SCRAM-SHA-1")
    assert outcome.tag.endswith("}success")
    assert f"{{{SM}}}sm" in {each.tag for each in await client.open()}


@pytest.mark.parametrize(("port", "tls"), WAYS)
async def test_a_stream_is_resumed_after_its_socket_was_cut(upstream: Upstream, port: str, tls: str) -> None:
    async with (
        running(relaying(upstream, port, tls=tls)) as server,
        logged_in(server.url, "bob", PASSWORDS["bob"], domain=DOMAIN, mechanism="SCRAM-SHA-1") as bob,
    ):
        async with connected(server.url, DOMAIN) as alice:
            jid = await alice.login("alice", PASSWORDS["alice"], mechanism="SCRAM-SHA-1")
            await alice.send(f"<enable xmlns='{SM}' resume='true'/>")
            id = (await alice.receive_until("enabled")).get("id")
            # Of four that are on their way, alice gets the first two, and acknowledges neither.
            for number in range(4):
                await bob.message(jid, f"before {number}")
            await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=DOMAIN)
            assert [await alice.body() for _ in range(2)] == ["before 0", "before 1"]
            await alice.message(bob.jid, "from alice")
            assert await bob.body() == "from alice"
            cut(alice)
        router = server.server.routers.upstreams[DOMAIN]
        await gone(server, "alice")
        for number in range(3):
            await bob.message(jid, f"while away {number}")
        await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=DOMAIN)
        async with connected(server.url, DOMAIN) as alice:
            await log_in(alice, "alice")
            await alice.send(f"<resume xmlns='{SM}' previd='{id}' h='2'/>")
            resumed = await alice.receive_until("resumed")
            assert (resumed.get("previd"), resumed.get("h")) == (id, "1")
            wanted = ["before 2", "before 3", "while away 0", "while away 1", "while away 2"]
            assert [await alice.body() for _ in wanted] == wanted
            # Nothing is there twice: what comes next is new.
            await bob.message(jid, "new")
            assert await alice.body() == "new"
            await alice.message(bob.jid, "resumed")
            assert await bob.body() == "resumed"
        assert router.connections.value <= 2


def cut(client: Client) -> None:
    """End a client's socket as a network would: without a close frame."""
    connection = client.socket._response.connection
    assert connection is not None and connection.transport is not None
    connection.transport.abort()


async def gone(server: Running, username: str) -> None:
    """Wait until nothing is left of somebody's socket."""
    await until(lambda: not [1 for one in server.server.endpoint.connections if one.name.startswith(username)])


# The address of the client


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
async def test_ejabberd_learns_the_address_of_the_client(version: str, address: str, tmp_path: Path) -> None:
    async with ejabberd(tmp_path) as upstream:
        settings = relaying(upstream, "proxy_port", proxy_protocol=version)
        settings = replace(settings, http=replace(settings.http, trusted_proxies=("127.0.0.1",)))
        async with running(settings) as server:
            headers = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
            async with connected(server.url, DOMAIN, headers=headers) as alice:
                await alice.login("alice", PASSWORDS["alice"], mechanism="SCRAM-SHA-1")
                await upstream.daemon.logged("Accepted c2s SCRAM-SHA-1 authentication")
                log = (upstream.directory / "log").read_text()
                (line,) = [line for line in log.splitlines() if "Accepted c2s SCRAM-SHA-1" in line]
                assert address in line
                await alice.close()
