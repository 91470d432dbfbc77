"""nginx and Apache in front of the real server, with the files of contrib/ and the xmppws.toml in their comments."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from aiohttp import WSMsgType

from clients import Client
from proxies import Edit, Proxy, documented, free_port, fronting, replaced, with_plain_listener, without
from servers import PASSWORDS, Running
from servers import running as serving
from xmppws.config import Config, load

pytestmark = pytest.mark.e2e

COMPLETE = ["nginx/xmppws.conf", "nginx/xmppws-unix.conf", "apache/xmppws-wstunnel.conf", "apache/xmppws-upgrade.conf"]
MINIMAL = "apache/xmppws-minimal.conf"
ALL = [*COMPLETE, MINIMAL]

DOMAIN = "example.com"
ALICE, BOB = "127.0.0.2", "127.0.0.3"
FORGED = {
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Server": "evil.example",
    "X-Real-IP": "192.0.2.66",
    "Forwarded": "for=192.0.2.66;proto=gopher;host=evil.example",
}
SAYS_SECURE = {"X-Forwarded-Proto": "https", "Forwarded": "proto=https"}
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "xmpp",
}


class Log(logging.Handler):
    """What the server logs: `lines`, and those of them that are `warnings`."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self._grown = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())
        self._grown.set()

    async def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches."""
        async with asyncio.timeout(20):
            while True:
                for line in self.lines:
                    if match := re.search(pattern, line):
                        return match
                self._grown.clear()
                await self._grown.wait()


@pytest.fixture
def log() -> Iterator[Log]:
    logger, handler = logging.getLogger("xmppws"), Log()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def unchanged(text: str) -> str:
    return text


def added(text: str) -> Edit:
    """Return an edit that adds to the end of an xmppws.toml, which is in the table of its virtual host."""
    return lambda before: before + text


def settings(config: str, listen: str, directory: Path, edit: Edit = unchanged) -> Config:
    file = directory / "xmppws.toml"
    file.write_text(
        'storage.url = "memory:"\nmetrics.listen = []\n' + edit(documented(config, listen)), encoding="utf-8"
    )
    return load(file)


def free_address(config: str, directory: Path) -> str:
    return f"unix:{directory}/http.sock" if "unix" in config else f"127.0.0.1:{free_port()}"


@asynccontextmanager
async def behind(
    config: str, directory: Path, *, proxy: Edit = unchanged, server: Edit = unchanged
) -> AsyncIterator[tuple[Proxy, Running]]:
    """Run the server behind a proxy; `proxy` and `server` edit the configuration of each."""
    address = free_address(config, directory)
    async with serving(settings(config, address, directory, server)) as running:
        async with fronting(config, address, directory, proxy) as front:
            yield front, running


@asynccontextmanager
async def connected(
    proxy: Proxy, address: str = ALICE, *, url: str = "", headers: Mapping[str, str] = FORGED, autoping: bool = True
) -> AsyncIterator[Client]:
    url = url or proxy.url("/xmpp-websocket", scheme="wss")
    async with (
        proxy.session(address) as session,
        session.ws_connect(url, protocols=("xmpp",), headers=headers, max_msg_size=0, autoping=autoping) as socket,
    ):
        yield Client(socket, DOMAIN)


@asynccontextmanager
async def logged_in(
    proxy: Proxy, username: str, address: str = ALICE, *, autoping: bool = True
) -> AsyncIterator[Client]:
    async with connected(proxy, address, autoping=autoping) as client:
        await client.login(username, PASSWORDS[username])
        yield client


async def answered(proxy: Proxy, headers: Mapping[str, str] = HANDSHAKE) -> tuple[int, str]:
    """Return status and body of a handshake that is not taken."""
    async with proxy.session(ALICE) as session:
        async with session.get(proxy.url("/xmpp-websocket"), headers=headers) as answer:
            return answer.status, await answer.text()


async def refused_as_not_secure(client: Client) -> None:
    await client.send(f"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{DOMAIN}' version='1.0'/>")
    condition, text, code = await client.expect_end()
    assert (condition, code) == ("policy-violation", 1008)
    assert "trusted_proxies" in text and "X-Forwarded-Proto" in text


@pytest.mark.parametrize("config", ALL)
async def test_two_people_chat_and_the_server_knows_who_they_are(config: str, tmp_path: Path, log: Log) -> None:
    large = "é" * 100_000
    async with behind(config, tmp_path) as (proxy, server):
        async with logged_in(proxy, "alice", ALICE) as alice, logged_in(proxy, "bob", BOB) as bob:
            await alice.message(bob.jid, "hello")
            assert await bob.body() == "hello"
            await bob.message(alice.jid, large)
            assert await alice.body() == large
            known = {(c.name, c.address, c.secure) for c in server.server.endpoint.connections}
            assert known == {(f"alice@{DOMAIN}", ALICE, True), (f"bob@{DOMAIN}", BOB, True)}
            await bob.close()
        await log.line(rf"end=client-close by=client address={BOB} user=bob@{DOMAIN}")
    assert not any("192.0.2.66" in line for line in log.lines)
    if config != MINIMAL:
        # It is the header of the proxy that makes the stream secure, and nothing a client sends reaches the server.
        assert "X-Forwarded-Proto is https" in (await log.line(f"address={ALICE} secure=True .*"))[0]
        assert log.warnings == []


@pytest.mark.parametrize("config", COMPLETE)
async def test_without_tls_the_stream_is_not_secure_whatever_the_client_says(config: str, tmp_path: Path) -> None:
    port = free_port()
    async with behind(config, tmp_path, proxy=with_plain_listener(config, port)) as (proxy, _):
        url = f"ws://chat.example.com:{port}/xmpp-websocket"
        async with connected(proxy, url=url, headers=SAYS_SECURE) as client:
            await refused_as_not_secure(client)
        async with connected(proxy, headers=SAYS_SECURE) as client:
            assert (await client.open()).tag.endswith("features")


@pytest.mark.parametrize("config", COMPLETE)
async def test_a_proxy_that_is_not_trusted_makes_nothing_secure(config: str, tmp_path: Path, log: Log) -> None:
    distrust = replaced("trusted_proxies = [", 'trusted_proxies = ["192.0.2.1"] # [')
    peer = "unix" if "unix" in config else "127.0.0.1"
    async with behind(config, tmp_path, server=distrust) as (proxy, server):
        async with connected(proxy) as client:
            (connection,) = server.server.endpoint.connections
            assert connection.address == peer
            await refused_as_not_secure(client)
    assert [line for line in log.warnings if "trusted_proxies" in line] == [
        f"X-Forwarded-For, X-Forwarded-Proto from {peer} ignored: the address is not in trusted_proxies"
    ]


@pytest.mark.parametrize("config", COMPLETE)
async def test_host_meta_of_the_bare_domain_leads_to_the_endpoint(config: str, tmp_path: Path) -> None:
    async with behind(config, tmp_path) as (proxy, _), proxy.session() as session:
        for name in (DOMAIN, "chat.example.com"):
            async with session.get(proxy.url("/.well-known/host-meta", name=name), headers=FORGED) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
                (link,) = ElementTree.fromstring(await answer.text())
                assert_leads_to_endpoint(link.get("href", ""), proxy)
            async with session.get(proxy.url("/.well-known/host-meta.json", name=name), headers=FORGED) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
                (in_json,) = json.loads(await answer.text())["links"]
                assert_leads_to_endpoint(in_json["href"], proxy)
        # Only what the public needs is let through.
        async with session.get(proxy.url("/health")) as answer:
            assert answer.status == 404


def assert_leads_to_endpoint(link: str, proxy: Proxy) -> None:
    url = urlsplit(link)
    assert (url.scheme, url.hostname, url.path) == ("wss", "chat.example.com", "/xmpp-websocket")
    # nginx's $host is without the port, which is 443 but in tests.
    assert url.port in (None, proxy.port)


@pytest.mark.parametrize("config", ALL)
async def test_pages_of_allowed_origins_alone_connect(config: str, tmp_path: Path, log: Log) -> None:
    one_origin = added('allowed_origins = ["https://www.example.com"]\n')
    async with behind(config, tmp_path, server=one_origin) as (proxy, _):
        async with connected(proxy, headers={"Origin": "https://www.example.com"}) as client:
            assert (await client.open()).tag.endswith("features")
        status, text = await answered(proxy, {**HANDSHAKE, "Origin": "https://evil.example"})
        assert status == 403 and "'https://evil.example'" in text
        await log.line(f"refused address={ALICE} status=403 cause=origin: .*evil.example")


SECOND_HOST = '[hosts."example.org"]\n'
FAULTS: dict[str, tuple[str, Edit, str, int, str]] = {
    "nginx: HTTP/1.0": (
        COMPLETE[0],
        replaced("proxy_http_version 1.1", "proxy_http_version 1.0"),
        "",
        426,
        "HTTP/1.0 cannot",
    ),
    "nginx: no Upgrade": (COMPLETE[0], without("Upgrade "), "", 426, "'Upgrade: websocket' is missing"),
    "nginx: no Connection": (COMPLETE[0], without("Connection "), "", 400, "'Connection: Upgrade' is missing"),
    "nginx: no Host": (COMPLETE[0], without("Host "), SECOND_HOST, 404, "HTTP name 'xmppws'"),
    "wstunnel: http, not ws": (COMPLETE[2], replaced('"ws:', '"http:'), "", 426, "'Upgrade: websocket' is missing"),
    "wstunnel: no Host": (COMPLETE[2], without("ProxyPreserveHost"), SECOND_HOST, 404, "HTTP name 'localhost:"),
    "upgrade: not allowed": (
        COMPLETE[3],
        replaced("upgrade=websocket", ""),
        "",
        426,
        "'Upgrade: websocket' is missing",
    ),
    "minimal: several hosts": (MINIMAL, unchanged, SECOND_HOST, 404, "HTTP name 'localhost:"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_the_proxy_is_explained_to_the_client_and_in_the_log(
    name: str, tmp_path: Path, log: Log
) -> None:
    config, fault, more, status, told = FAULTS[name]
    async with behind(config, tmp_path, proxy=fault, server=added(more)) as (proxy, _):
        found, text = await answered(proxy)
        assert found == status and told in text
        await log.line(rf"refused address={ALICE} status={status} cause=\S+: .*{re.escape(told)}")


@pytest.mark.parametrize(("config", "fault"), [(MINIMAL, unchanged), (COMPLETE[0], without("Host "))])
async def test_a_host_that_is_not_kept_is_named_once(config: str, fault: Edit, tmp_path: Path, log: Log) -> None:
    async with behind(config, tmp_path, proxy=fault) as (proxy, _):
        for name in ("alice", "bob"):
            async with logged_in(proxy, name):
                pass
    kept = "'xmppws'" if config == COMPLETE[0] else "'localhost:"
    (told,) = [line for line in log.warnings if "http_host" in line]
    assert told.startswith(f"Host {kept}") and DOMAIN in told


async def test_the_minimal_apache_needs_to_be_declared_secure(tmp_path: Path) -> None:
    undeclared = without("consider_websocket_secure")
    async with behind(MINIMAL, tmp_path, server=undeclared) as (proxy, _), connected(proxy) as client:
        await refused_as_not_secure(client)


@pytest.mark.parametrize("config", ALL)
async def test_a_restart_behind_the_proxy(config: str, tmp_path: Path) -> None:
    at = settings(config, free_address(config, tmp_path), tmp_path)
    async with AsyncExitStack() as stack:
        async with serving(at):
            proxy = await stack.enter_async_context(fronting(config, at.http.listen[0], tmp_path))
            client = await stack.enter_async_context(logged_in(proxy, "alice"))
            end = asyncio.ensure_future(client.expect_end())
        condition, _, code = await end
        assert (condition, code) == ("system-shutdown", 1001)
        # nginx says 502, Apache says 503.
        assert (await answered(proxy))[0] in (502, 503)
        async with serving(at), logged_in(proxy, "alice") as again:
            assert again.jid.startswith(f"alice@{DOMAIN}/")


def impatient(config: str) -> Edit:
    """Return an edit by which the proxy waits for 3 s instead of 900."""
    if config.startswith("nginx/"):
        return replaced("proxy_read_timeout 900s", "proxy_read_timeout 3s")
    # Apache takes the longer of Timeout and ProxyTimeout. That the line has been there is what is tested.
    return lambda text: "Timeout 1\n" + replaced("ProxyTimeout 900", "ProxyTimeout 3")(text)


@asynccontextmanager
async def impatient_proxies(directory: Path, ping_interval: str) -> AsyncIterator[list[Proxy]]:
    """Run all proxies at once, so that their times pass together."""
    async with AsyncExitStack() as stack:
        proxies = []
        for config in ALL:
            own = directory / Path(config).stem
            own.mkdir()
            times = added(f'[c2s]\nping_interval = "{ping_interval}"\n')
            started = await stack.enter_async_context(behind(config, own, proxy=impatient(config), server=times))
            proxies.append(started[0])
        yield proxies


async def test_pings_keep_a_silent_client_connected(tmp_path: Path) -> None:
    async def stays(proxy: Proxy) -> None:
        async with logged_in(proxy, "alice", autoping=False) as client:
            started = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < started + 4:
                ping = await client.socket.receive(10)
                assert ping.type is WSMsgType.PING
                await client.socket.pong(ping.data)
            assert (await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=DOMAIN)).get("type") == "result"

    async with impatient_proxies(tmp_path, "1s") as proxies, asyncio.TaskGroup() as tasks:
        for proxy in proxies:
            tasks.create_task(stays(proxy))


async def test_without_pings_the_proxy_cuts_and_the_log_says_how_long_it_was_silent(tmp_path: Path, log: Log) -> None:
    async def is_cut(proxy: Proxy, address: str) -> None:
        async with logged_in(proxy, "alice", address) as client:
            assert await client.expect_end() == ("", "", 1006)
            idle = await log.line(rf"end=connection-lost by=network address={address} .* idle=(\d+) ")
            assert 2 <= int(idle[1]) <= 5

    async with impatient_proxies(tmp_path, "60s") as proxies, asyncio.TaskGroup() as tasks:
        for number, proxy in enumerate(proxies, start=10):
            tasks.create_task(is_cut(proxy, f"127.0.0.{number}"))
