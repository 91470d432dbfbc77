import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import ClientResponse, ClientSession, web
from lxml import etree

from xmppws.http import health, hostmeta
from xmppws.http.hostmeta import JSON_PATH, REL_WEBSOCKET, XRD_PATH, HostMeta, Site
from xmppws.http.proxies import Client, Trust

BEHIND = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}
SITES = [
    Site("example.com", ("chat.example.com", "example.com.internal")),
    Site("guest.example.com", ("chat.example.com",)),
    Site("bücher.example", ("bücher.example",)),
    Site("outside.example", ("outside.example",), "https://cdn.example/x/"),
]


@asynccontextmanager
async def serving(routes: list[web.RouteDef]) -> AsyncIterator["Pages"]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with ClientSession() as session:
            yield Pages(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@dataclass
class Pages:
    session: ClientSession
    base: str

    async def get(self, path: str, host: str, method: str = "GET", **headers: str) -> ClientResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.session.request(method, self.base + path, headers={"Host": host, **named})
        await answer.read()
        return answer

    async def links(self, host: str, **headers: str) -> list[str]:
        """Return the links for a host: the XML and the JSON document must agree."""
        xrd = await self.get(XRD_PATH, host, **headers)
        assert xrd.status == 200
        assert xrd.headers["Content-Type"] == "application/xrd+xml; charset=utf-8"
        root = etree.fromstring(await xrd.read())
        assert root.tag == "{http://docs.oasis-open.org/ns/xri/xrd-1.0}XRD"
        found = [str(link.get("href")) for link in root if link.get("rel") == REL_WEBSOCKET]
        document = await (await self.get(JSON_PATH, host, **headers)).json()
        assert document == {"links": [{"rel": REL_WEBSOCKET, "href": href} for href in found]}
        return found


def client_by(trust: Trust) -> Callable[[web.Request], Client]:
    return lambda request: trust.resolve(request.remote, request.headers, tls=False)


def pages_of(sites: list[Site], *, consider_secure: bool = False) -> list[web.RouteDef]:
    trust = Trust(["127.0.0.1"], consider_secure=consider_secure)
    return hostmeta.routes(HostMeta(sites, "/xmpp-websocket", client_by(trust)))


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    async with serving(pages_of(SITES)) as found:
        yield found


@pytest.mark.parametrize(
    ("host", "links"),
    [
        ("chat.example.com", ["wss://chat.example.com/xmpp-websocket"]),
        ("CHAT.example.com:443", ["wss://chat.example.com/xmpp-websocket"]),
        ("chat.example.com:8443", ["wss://chat.example.com:8443/xmpp-websocket"]),
        ("example.com", ["wss://chat.example.com/xmpp-websocket"]),
        ("example.com:5281", ["wss://chat.example.com:5281/xmpp-websocket"]),
        ("example.com.internal", ["wss://example.com.internal/xmpp-websocket"]),
        ("xn--bcher-kva.example", ["wss://xn--bcher-kva.example/xmpp-websocket"]),
        ("outside.example", ["wss://cdn.example/x/xmpp-websocket"]),
    ],
)
async def test_links_of_a_secure_request(pages: Pages, host: str, links: list[str]) -> None:
    assert await pages.links(host, **BEHIND) == links


@pytest.mark.parametrize("path", [XRD_PATH, JSON_PATH])
async def test_an_insecure_request_gets_a_reason_instead_of_links(pages: Pages, path: str) -> None:
    answer = await pages.get(path, "chat.example.com")
    assert answer.status == 404
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "not secure" in await answer.text()


async def test_an_https_external_url_is_given_to_everyone(pages: Pages) -> None:
    assert await pages.links("outside.example") == ["wss://cdn.example/x/xmpp-websocket"]


async def test_ws_links_when_declared_secure() -> None:
    sites = [*SITES, Site("plain.example", ("plain.example",), "http://plain.example:8080")]
    async with serving(pages_of(sites, consider_secure=True)) as pages:
        assert await pages.links("chat.example.com:5280") == ["ws://chat.example.com:5280/xmpp-websocket"]
        assert await pages.links("plain.example") == ["ws://plain.example:8080/xmpp-websocket"]
        assert await pages.links("chat.example.com", **BEHIND) == ["wss://chat.example.com/xmpp-websocket"]
        assert (await pages.get(XRD_PATH, "plain.example", **BEHIND)).status == 404


async def test_a_proxy_that_does_not_keep_host_gets_the_public_name() -> None:
    async with serving(pages_of(SITES[:1])) as pages:
        assert await pages.links("localhost:5280", **BEHIND) == ["wss://chat.example.com/xmpp-websocket"]


async def test_an_http_name_of_two_domains_may_have_two_links() -> None:
    sites = [Site("a.example", ("chat.example",)), Site("b.example", ("chat.example",), "https://b.chat.example")]
    async with serving(pages_of(sites)) as pages:
        both = ["wss://chat.example/xmpp-websocket", "wss://b.chat.example/xmpp-websocket"]
        assert await pages.links("chat.example", **BEHIND) == both
        assert await pages.links("b.example", **BEHIND) == both[1:]


@pytest.mark.parametrize("path", [XRD_PATH, JSON_PATH])
async def test_an_unknown_host_has_no_host_meta(pages: Pages, path: str) -> None:
    answer = await pages.get(path, "unknown.example", **BEHIND)
    assert answer.status == 404
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "unknown.example" in await answer.text()
    assert (await pages.get(path, "a b", **BEHIND)).status == 400


@pytest.mark.parametrize("path", [XRD_PATH, JSON_PATH])
async def test_scripts_of_every_origin_may_read_host_meta(pages: Pages, path: str) -> None:
    for method in ("GET", "HEAD"):
        answer = await pages.get(path, "chat.example.com", method, Origin="https://elsewhere.example", **BEHIND)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    preflight = await pages.get(path, "unknown.example", "OPTIONS", Origin="https://elsewhere.example")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
    assert (await pages.get(path, "chat.example.com", "POST")).status == 405


class Server:
    """What the health pages ask of a server."""

    version = "9.9"

    def __init__(self) -> None:
        self.reason = ""

    def uptime(self) -> float:
        return 12.34567

    def sessions(self) -> int:
        return 3

    def unready(self) -> str:
        return self.reason


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_follows_the_readiness(method: str) -> None:
    server = Server()
    async with serving(health.routes(server, server.unready)) as pages:
        for reason, status in [("", 200), ("draining", 503)]:
            server.reason = reason
            assert (await pages.get("/health/live", "any", method)).status == 200
            for path in ("/health/ready", "/health"):
                assert (await pages.get(path, "any", method)).status == status


async def test_what_health_tells() -> None:
    server = Server()
    async with serving(health.routes(server, server.unready)) as pages:
        assert await (await pages.get("/health/live", "x")).text() == "ok\n"
        facts = await (await pages.get("/health", "x")).json()
        assert facts.pop("memory") > 1_000_000
        assert facts == {"status": "ok", "version": "9.9", "uptime": 12.346, "sessions": 3}
        server.reason = "draining"
        assert await (await pages.get("/health/ready", "x")).text() == "draining\n"
        assert (await (await pages.get("/health", "x")).json())["status"] == "draining"


async def test_health_needs_no_host() -> None:
    server = Server()
    async with serving(health.routes(server, server.unready)) as pages:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(pages.base.rpartition(":")[2]))
        writer.write(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()
        await writer.wait_closed()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_is_what_proc_says() -> None:
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = [line for line in status if line.startswith("VmRSS")]
    assert health.resident_memory() == pytest.approx(int(line.split()[1]) * 1024, rel=0.1)
