"""The proxy configurations in contrib/, as they stand: what reaches the server behind them."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import HttpVersion10, HttpVersion11, WSMsgType, web

from proxies import Proxy, running
from xmppws.http.proxies import Client, Trust

pytestmark = pytest.mark.e2e

COMPLETE = ["nginx/xmppws.conf", "nginx/xmppws-unix.conf", "apache/xmppws-wstunnel.conf", "apache/xmppws-upgrade.conf"]
MINIMAL = "apache/xmppws-minimal.conf"

CLIENT = "127.0.0.2"
FORGED = {
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Server": "evil.example",
    "X-Real-IP": "192.0.2.66",
    "Forwarded": "for=192.0.2.66;proto=gopher",
}
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "xmpp",
}


@dataclass
class Upstream:
    """A server that echoes WebSocket messages and keeps the requests that reached it."""

    address: str
    requests: list[web.Request] = field(default_factory=list)

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        socket = web.WebSocketResponse(protocols=("xmpp",))
        if not socket.can_prepare(request):
            return web.Response(status=426, text="The request asks for no WebSocket.", headers={"Upgrade": "websocket"})
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket

    async def page(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        return web.json_response({"path": request.path, "host": request.headers["Host"]})

    def client(self, *, consider_secure: bool = False) -> Client:
        """Return who sent the last request, as the server sees it."""
        request = self.requests[-1]
        trust = Trust(["127.0.0.1", "::1", "unix"], consider_secure=consider_secure)
        return trust.resolve(request.remote or None, request.headers, tls=False)


@asynccontextmanager
async def echoing(address: str) -> AsyncIterator[Upstream]:
    upstream = Upstream(address)
    app = web.Application()
    app.router.add_get("/xmpp-websocket", upstream.websocket)
    app.router.add_get("/{path:.*}", upstream.page)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        if address.startswith("unix:"):
            await web.UnixSite(runner, address.removeprefix("unix:")).start()
        else:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            upstream.address = f"127.0.0.1:{runner.addresses[0][1]}"
        yield upstream
    finally:
        await runner.cleanup()


@asynccontextmanager
async def behind(config: str, tmp_path: Path, **options: Callable[[str], str]) -> AsyncIterator[tuple[Proxy, Upstream]]:
    address = f"unix:{tmp_path}/http.sock" if "unix" in config else "127.0.0.1"
    async with echoing(address) as upstream:
        started: AbstractContextManager[Proxy] = running(config, upstream.address, tmp_path, **options)
        with started as proxy:
            yield proxy, upstream


async def echo(proxy: Proxy, *messages: str) -> list[str]:
    url = proxy.url("/xmpp-websocket", scheme="wss")
    async with (
        proxy.session(CLIENT) as session,
        session.ws_connect(url, protocols=("xmpp",), headers=FORGED) as socket,
    ):
        assert socket.protocol == "xmpp"
        answers = []
        for message in messages:
            await socket.send_str(message)
            answers.append(await socket.receive_str())
        return answers


@pytest.mark.parametrize("config", COMPLETE)
async def test_a_complete_configuration(config: str, tmp_path: Path) -> None:
    async with behind(config, tmp_path) as (proxy, upstream):
        messages = ["<open/>", "é" * 100_000]
        assert await echo(proxy, *messages) == messages
        assert_nothing_is_forged(upstream, "chat.example.com")

        # A request that asks for no upgrade gets the server's own answer.
        async with proxy.session(CLIENT) as session:
            async with session.get(proxy.url("/xmpp-websocket"), headers=FORGED) as answer:
                assert (answer.status, await answer.text()) == (426, "The request asks for no WebSocket.")
            assert_nothing_is_forged(upstream, "chat.example.com")

            for path in ("/.well-known/host-meta", "/.well-known/host-meta.json"):
                for name in ("example.com", "chat.example.com"):
                    async with session.get(proxy.url(path, name=name), headers=FORGED) as answer:
                        assert answer.status == 200
                        assert json.loads(await answer.text())["path"] == path
                    assert_nothing_is_forged(upstream, name)

            reached = len(upstream.requests)
            async with session.get(proxy.url("/health")) as answer:
                assert answer.status == 404
            assert len(upstream.requests) == reached


def assert_nothing_is_forged(upstream: Upstream, host: str) -> None:
    headers = upstream.requests[-1].headers
    assert headers.getall("X-Forwarded-For") == [CLIENT]
    assert headers.getall("X-Forwarded-Proto") == ["https"]
    assert headers["Host"].partition(":")[0] == host
    values = [value for name in FORGED for value in headers.getall(name, [])]
    assert not [value for value in values if "192.0.2.66" in value or "evil" in value or value == "1"]
    assert "Forwarded" not in headers and "X-Real-IP" not in headers
    client = upstream.client()
    assert (client.address, client.secure, client.uncertain, client.notes) == (CLIENT, True, False, ())


async def test_the_minimal_apache_configuration(tmp_path: Path) -> None:
    async with behind(MINIMAL, tmp_path) as (proxy, upstream):
        assert await echo(proxy, "<open/>") == ["<open/>"]
        headers = upstream.requests[-1].headers
        assert headers["Host"] == f"localhost:{upstream.address.rpartition(':')[2]}"
        # Apache appends to what the client sent and leaves the rest alone; the walk from the right finds the client.
        assert headers["X-Forwarded-For"] == f"192.0.2.66, {CLIENT}"
        assert headers["X-Forwarded-Proto"] == "gopher"
        assert upstream.client().address == CLIENT
        assert not upstream.client().secure
        assert upstream.client(consider_secure=True).declared


@pytest.mark.parametrize(
    ("config", "line", "default"),
    [
        ("nginx/xmppws.conf", "proxy_read_timeout 900s", ""),
        ("apache/xmppws-wstunnel.conf", "ProxyTimeout 900", "Timeout 1"),
        ("apache/xmppws-upgrade.conf", "ProxyTimeout 900", "Timeout 1"),
        (MINIMAL, "ProxyTimeout 900", "Timeout 1"),
    ],
)
async def test_a_silent_socket_lives_as_long_as_the_timeout_line_says(
    config: str, line: str, default: str, tmp_path: Path
) -> None:
    # The default is made shorter still: it is the line that must count.
    def impatient(text: str) -> str:
        assert line in text
        return f"{default}\n{text.replace(line, line.replace('900', '2'))}"

    async with behind(config, tmp_path, edit=impatient) as (proxy, _), proxy.session() as session:
        url = proxy.url("/xmpp-websocket", scheme="wss")
        async with session.ws_connect(url, protocols=("xmpp",)) as socket:
            started = time.monotonic()
            await socket.send_str("<open/>")
            assert await socket.receive_str() == "<open/>"
            assert (await socket.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
            assert 2 <= time.monotonic() - started < 20


def without(*directives: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        kept = [line for line in text.splitlines() if not any(directive in line for directive in directives)]
        assert len(kept) < len(text.splitlines())
        return "\n".join(kept)

    return edit


@pytest.mark.parametrize(
    ("directives", "version", "headers"),
    [
        (["proxy_http_version", "Upgrade ", "Connection ", "Host "], HttpVersion10, {"Host": "xmppws"}),
        (["proxy_http_version"], HttpVersion10, {"Upgrade": "websocket"}),
        (["Upgrade "], HttpVersion11, {}),
        (["Connection "], HttpVersion11, {"Upgrade": "websocket", "Connection": "close"}),
    ],
)
async def test_a_proxy_with_lines_missing_still_reaches_the_server(
    directives: list[str], version: object, headers: dict[str, str], tmp_path: Path
) -> None:
    edit = without(*directives)
    async with behind("nginx/xmppws.conf", tmp_path, edit=edit) as (proxy, upstream), proxy.session() as session:
        async with session.get(proxy.url("/xmpp-websocket"), headers=HANDSHAKE) as answer:
            text = await answer.text()
        (request,) = upstream.requests
        assert request.version == version
        assert ("Upgrade" in request.headers) == ("Upgrade" in headers)
        assert headers.items() <= dict(request.headers).items()
        if "Upgrade" not in headers:
            assert (answer.status, text) == (426, "The request asks for no WebSocket.")
