"""How many connections a virtual host may have: who is one too many is told so, and nobody is counted for ever."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from clients import connected, logged_in
from raw import OPEN, Raw, frame, head, raw
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.app import Server
from xmppws.config import Config, Host, HostC2S
from xmppws.errors import Reason, Side

PLUGIN = Path(__file__).parent.parent / "packages" / "xmppws_hello" / "xmppws_hello.py"
FULL = "The host has all the connections it may have.\n"
HELLO = {"path": "/hello-ws?token=zoe", "Sec_WebSocket_Protocol": "hello"}


def small(limit: int, http_host: str) -> Host:
    return Host(http_host=(http_host,), c2s=HostC2S(max_host_connections=limit))


def apart(limit: int = 1) -> Config:
    """Return a host with few connections that has an HTTP name of its own, and one beside it."""
    return config(hosts={"localhost": small(limit, "localhost"), "other.example": small(0, "127.0.0.1")})


def together() -> Config:
    """Return two hosts that share the HTTP names of the test's clients; each may have one connection."""
    return config(hosts={domain: small(1, "127.0.0.1") for domain in ("a.example", "b.example")})


def occupied(server: Running) -> dict[str, int]:
    return {domain: count for domain, count in server.server.endpoint.occupancy.connections.items() if count}


async def refusal(server: Running, **changes: str) -> tuple[int, str, str]:
    """Return status, Retry-After and body of a handshake that is refused."""
    async with raw(server.port) as client:
        client.write(head(**changes))
        status, text, body = await client.refusal()
        return status, text.partition("Retry-After: ")[2].partition("\r\n")[0], body


async def test_one_too_many_is_refused_before_the_upgrade() -> None:
    async with running(apart()) as server, raw(server.port) as first:
        await first.upgrade()
        assert await refusal(server) == (503, "10", FULL)
        async with connected(server.url, "other.example") as client:
            await client.open()
        first.writer.close()
        await until(lambda: "localhost" not in occupied(server))
        async with raw(server.port) as second:
            await second.upgrade()


async def test_where_hosts_share_a_name_the_stream_ends() -> None:
    async with running(together()) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"], "a.example") as alice:
            async with connected(server.url, "a.example") as client:
                await client.send(OPEN.decode().replace("localhost", "a.example"))
                assert await client.expect_end() == ("resource-constraint", f"host-full: {FULL.strip()}", 1008)
            assert server.server.endpoint.ends["a.example", Reason.HOST_FULL, Side.SERVER] == 1
            # A restart of the stream, after the login, was no second connection.
            assert occupied(server) == {"a.example": 1}
            async with logged_in(server.url, "bob", PASSWORDS["bob"], "b.example"):
                assert occupied(server) == {"a.example": 1, "b.example": 1}
                # Now there is room on neither, which is known before `<open/>`.
                assert await refusal(server, Host="127.0.0.1") == (503, "10", FULL)
            await alice.close()


@pytest.fixture
def with_module(tmp_path: Path) -> Config:
    shutil.copy(PLUGIN, tmp_path / "hello.py")
    return replace(
        config(hosts={"localhost": replace(small(2, "localhost"), modules_enabled=("default", "hello"))}),
        plugin_paths=(tmp_path,),
    )


async def test_websockets_of_modules_count_too(with_module: Config) -> None:
    async with running(with_module) as server, raw(server.port) as first, raw(server.port) as second:
        first.write(head(**HELLO))
        assert (await first.response())[0] == 101
        await second.upgrade()
        assert occupied(server) == {"localhost": 2}
        assert await refusal(server, **HELLO) == (503, "10", FULL)
        assert await refusal(server) == (503, "10", FULL)
        assert {fact.host for fact in server.server.connections.all()} == {"localhost", ""}


async def test_a_new_limit_holds_for_those_who_come_then() -> None:
    after = [apart(2)]
    server = Server(apart(), reread=lambda: after[0])
    await server.start()
    try:
        here = Running(server)
        async with raw(here.port) as first, raw(here.port) as second:
            await first.upgrade()
            assert (await refusal(here))[0] == 503
            rows = await server.reload()
            assert rows == [{"option": "hosts.localhost.c2s.max_host_connections", "outcome": "applied"}]
            await second.upgrade()
            assert (await refusal(here))[0] == 503
            after[0] = replace(apart(), hosts={"other.example": Host(http_host=("127.0.0.1",))})
            await server.reload()
            assert (await refusal(here))[0] == 503, "a host that is gone from the file is bounded until the restart"
    finally:
        await server.stop()


Way = Callable[[Raw], Awaitable[object]]


async def silent(client: Raw) -> None:
    await client.upgrade()
    await client.frames()


async def cut(client: Raw) -> None:
    await client.upgrade(frame(OPEN))
    await client.frame()
    client.writer.transport.abort()


async def broken(client: Raw) -> None:
    await client.upgrade(frame(OPEN) + frame(b"<a/>", masked=False))
    await client.frames()


async def closing(client: Raw) -> None:
    await client.upgrade(frame(OPEN) + frame(b"\x03\xe8", opcode=8))
    await client.frames()


async def elsewhere(client: Raw) -> None:
    await client.upgrade(frame(OPEN.replace(b"localhost", b"nowhere.example")))
    await client.frames()


async def refused(client: Raw) -> None:
    client.write(head(Sec_WebSocket_Protocol=None))
    assert (await client.refusal())[0] == 400


async def module_cut(client: Raw) -> None:
    client.write(head(**HELLO))
    assert (await client.response())[0] == 101
    client.writer.transport.abort()


async def module_closing(client: Raw) -> None:
    client.write(head(**HELLO) + frame(b"bye"))
    assert (await client.response())[0] == 101
    await client.frames()


async def module_refused(client: Raw) -> None:
    client.write(head(**{**HELLO, "path": "/hello-ws"}))
    assert (await client.refusal())[0] == 401


WAYS: list[Way] = [
    silent,
    cut,
    broken,
    closing,
    elsewhere,
    refused,
    module_cut,
    module_closing,
    module_refused,
]


async def test_whatever_way_connections_end_they_are_counted_no_more(with_module: Config) -> None:
    hosts = {"localhost": replace(with_module.hosts["localhost"], c2s=HostC2S(max_host_connections=10))}
    times = replace(with_module.c2s, handshake_timeout=0.2, close_timeout=0.2)
    async with running(replace(with_module, hosts=hosts, c2s=times)) as server:

        async def take(way: Way) -> None:
            async with raw(server.port) as client:
                await way(client)

        counts = server.server.endpoint.occupancy.connections
        await asyncio.gather(*map(take, WAYS))
        await until(lambda: not server.server.endpoint.connections)
        assert counts == {"localhost": 0}
        async with full(server, 10):
            for _ in range(3):
                assert (await refusal(server))[0] == (await refusal(server, **HELLO))[0] == 503
            assert counts == {"localhost": 10}
        await until(lambda: not server.server.endpoint.connections)
        assert counts == {"localhost": 0}


@asynccontextmanager
async def full(server: Running, number: int) -> AsyncIterator[None]:
    """Have so many connections open."""
    async with AsyncExitStack() as stack:
        for _ in range(number):
            await (await stack.enter_async_context(raw(server.port))).upgrade()
        yield
