"""The further sites of contrib/nginx, each run by nginx in front of real servers."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import WSServerHandshakeError, web

from clients import Client
from clients import logged_in as client
from proxies import Edit, Proxy, documented, free_port, fronting, replaced
from servers import PASSWORDS, Running
from servers import running as serving
from xmppws.config import Config, load

pytestmark = pytest.mark.e2e

DOMAIN = "example.com"
ALICE, BOB = "127.0.0.2", "127.0.0.3"
SHARED, TWO_NODES = "nginx/shared-domain.conf", "nginx/two-nodes.conf"
BRIDGES, ROUTED = "nginx/bridges.conf", "nginx/bridges-routed.conf"
ACME, HTTP2 = "nginx/acme.conf", "nginx/http2.conf"


def edits(*each: Edit) -> Edit:
    """Return an edit that makes several, one after the other."""

    def edit(text: str) -> str:
        for one in each:
            text = one(text)
        return text

    return edit


def documented_settings(config: str, port: int, directory: Path, edit: Edit = lambda text: text) -> Config:
    """Load the xmppws.toml in the head of a site, as it stands there but for the port."""
    file = directory / f"{port}.toml"
    head = 'storage.url = "memory:"\nmetrics.listen = []\nadmin_socket = ""\n'
    file.write_text(head + edit(documented(config, f"127.0.0.1:{port}")), encoding="utf-8")
    return load(file)


@asynccontextmanager
async def site(config: str, directory: Path, edit: Edit = lambda text: text) -> AsyncIterator[tuple[Proxy, Running]]:
    """Run a server behind nginx with a site of contrib/."""
    port = free_port()
    async with serving(documented_settings(config, port, directory)) as server:
        async with fronting(config, f"127.0.0.1:{port}", directory, edit) as proxy:
            yield proxy, server


@asynccontextmanager
async def logged_in(proxy: Proxy, username: str, address: str = ALICE, origin: str = "") -> AsyncIterator[Client]:
    async with (
        proxy.session(address) as session,
        session.ws_connect(url(proxy, "/xmpp-websocket", "wss"), protocols=("xmpp",), origin=origin or None) as socket,
    ):
        client = Client(socket, DOMAIN)
        await client.login(username, PASSWORDS[username])
        yield client


def url(proxy: Proxy, path: str, scheme: str = "https") -> str:
    return proxy.url(path, name=DOMAIN, scheme=scheme)


async def get(proxy: Proxy, path: str) -> tuple[int, str]:
    async with proxy.session(ALICE) as session, session.get(url(proxy, path)) as answer:
        return answer.status, await answer.text()


async def assert_chat(proxy: Proxy, server: Running) -> None:
    """Let two people chat; the server knows their own addresses, and that TLS protects them."""
    async with logged_in(proxy, "alice", ALICE) as alice, logged_in(proxy, "bob", BOB) as bob:
        await alice.message(bob.jid, "hello")
        assert await bob.body() == "hello"
        known = {(c.address, c.secure) for c in server.server.endpoint.connections}
        assert known == {(ALICE, True), (BOB, True)}
    status, links = await get(proxy, "/.well-known/host-meta.json")
    assert status == 200
    assert [link["href"] for link in json.loads(links)["links"]] == [f"wss://{DOMAIN}/xmpp-websocket"]


def document_root(directory: Path) -> Edit:
    """Make a directory of static files, and return the edit that has it served."""
    root = directory / "www"
    root.mkdir()
    (root / "index.html").write_text("<h1>static</h1>", encoding="utf-8")
    # Where nginx runs as another user, that user has to get there.
    root.chmod(0o755)
    return replaced(f"/var/www/{DOMAIN}", str(root))


@asynccontextmanager
async def api() -> AsyncIterator[int]:
    """Run a REST API, which tells the headers it got, and yield its port."""

    async def headers(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path, **request.headers})

    app = web.Application()
    app.router.add_get("/{path:.*}", headers)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_one_domain_for_an_api_static_files_and_chat(tmp_path: Path) -> None:
    root = document_root(tmp_path)
    async with api() as port:
        backend = replaced("server 127.0.0.1:8000;", f"server 127.0.0.1:{port};")
        async with site(SHARED, tmp_path, edits(root, backend)) as (proxy, server):
            await assert_chat(proxy, server)
            assert await get(proxy, "/") == (200, "<h1>static</h1>")
            assert (await get(proxy, "/missing"))[0] == 404
            status, text = await get(proxy, "/api/users")
            seen = json.loads(text)
            assert status == 200 and seen["path"] == "/api/users"
            assert (seen["Host"], seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == (DOMAIN, ALICE, "https")
            # What the public has no business with stays with the server.
            assert (await get(proxy, "/health"))[0] == 404
            async with logged_in(proxy, "alice", origin=f"https://{DOMAIN}"):
                pass
            with pytest.raises(WSServerHandshakeError, match="403"):
                async with logged_in(proxy, "alice", origin="https://evil.example"):
                    pass


async def test_two_nodes_behind_one_front(tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    trusted = replaced('trusted_proxies = ["10.0.0.1"]', 'trusted_proxies = ["127.0.0.1"]')
    nodes = edits(
        replaced("server 10.0.0.11:5280", "server 127.0.0.1:5280"),
        replaced("server 10.0.0.12:5280", f"server 127.0.0.1:{ports[1]}"),
        replaced("fail_timeout=5s", "fail_timeout=1s"),
    )
    first, second = (documented_settings(TWO_NODES, port, tmp_path, trusted) for port in ports)
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(serving(second))
        async with serving(first) as one:
            proxy = await stack.enter_async_context(fronting(TWO_NODES, f"127.0.0.1:{ports[0]}", tmp_path, nodes))
            # The one with fewer connections is asked, so each gets one.
            alice = await stack.enter_async_context(logged_in(proxy, "alice"))
            bob = await stack.enter_async_context(logged_in(proxy, "bob"))
            assert (one.server.sessions(), two.server.sessions()) == (1, 1)
            (moved,) = (connection.name for connection in one.server.endpoint.connections)
            moving, staying = (alice, bob) if moved.startswith("alice@") else (bob, alice)
            end = asyncio.ensure_future(moving.expect_end())
        condition, _, code = await end
        assert (condition, code) == ("system-shutdown", 1001)
        # Who was on the stopped one comes back on the other, as often as wanted; who was there noticed nothing.
        for _ in range(3):
            async with logged_in(proxy, "carol") as carol:
                await carol.message(staying.jid, "still here?")
                assert await staying.body() == "still here?"
        # And on the first again, when it is back.
        async with serving(first) as one:
            await until_served(proxy, lambda: bool(one.server.endpoint.opens.total()))


async def until_served(proxy: Proxy, served: Callable[[], bool]) -> None:
    """Log in again and again until a node has got somebody: nginx leaves a failed one in peace for a while."""
    async with asyncio.timeout(20):
        while not served():
            async with logged_in(proxy, "carol"), logged_in(proxy, "carol"):
                pass


async def colibri(proxy: Proxy, server: Running, focus: Client) -> None:
    """Let two endpoints of a conference on a bridge reach each other through the proxy."""
    content = "<endpoint id='{}' create='true'><capability name='source-names'/><transport/></endpoint>"
    urls = []
    for id, create in (("a", "true"), ("b", "false")):
        request = (
            f"<conference-modify xmlns='jitsi:colibri2' meeting-id='m' create='{create}'>{content.format(id)}"
            "</conference-modify>"
        )
        answer = await focus.iq("get", request, to=f"colibri.{DOMAIN}")
        (found,) = answer.iter("{http://jitsi.org/protocol/colibri}web-socket")
        urls.append((found.get("url") or "").replace(f"wss://{DOMAIN}/", ""))
    async with proxy.session(ALICE) as session:
        async with session.ws_connect(url(proxy, f"/{urls[0]}", "wss")) as a:
            async with session.ws_connect(url(proxy, f"/{urls[1]}", "wss")) as b:
                await a.send_json({"colibriClass": "EndpointMessage", "to": "b", "msgPayload": 1})
                assert (await b.receive_json(timeout=10))["colibriClass"] == "ServerHello"
                assert (await b.receive_json(timeout=10))["from"] == "a"
        for path in (urls[0][:-1], urls[0].replace("/jvb", "/other")):
            with pytest.raises(WSServerHandshakeError, match=r"403|404"):
                await session.ws_connect(url(proxy, f"/{path}", "wss"))


@asynccontextmanager
async def bridge(id: str, port: int, directory: Path) -> AsyncIterator[tuple[Running, Client]]:
    """Run a bridge, with its focus."""
    edit = edits(
        replaced('server_id = "jvb1"', f'server_id = "{id}"'),
        replaced('focus = ["focus@example.com"]', 'focus = ["alice@example.com"]'),
        replaced('trusted_proxies = ["10.0.0.1"]', 'trusted_proxies = ["127.0.0.1"]\nconsider_websocket_secure = true'),
    )
    async with serving(documented_settings(BRIDGES, port, directory, edit)) as server:
        async with client(server.url, "alice", PASSWORDS["alice"], DOMAIN, headers={"Host": DOMAIN}) as focus:
            yield server, focus


@pytest.mark.parametrize("config", [BRIDGES, ROUTED])
async def test_two_bridges_behind_one_front(tmp_path: Path, config: str) -> None:
    ports = (free_port(), free_port())
    async with AsyncExitStack() as stack:
        found = [
            await stack.enter_async_context(bridge(id, port, tmp_path))
            for id, port in zip(("jvb1", "jvb2"), ports, strict=True)
        ]
        if config == BRIDGES:
            upstream = ports[0]
            edit = edits(
                replaced("server 10.0.0.11:5280", "server 127.0.0.1:5280"),
                replaced("server 10.0.0.12:5280", f"server 127.0.0.1:{ports[1]}"),
            )
        else:
            upstream, edit = free_port(), edits()
            addresses = edits(
                replaced("10.0.0.21:9090", f"127.0.0.1:{ports[0]}"), replaced("10.0.0.22:9090", f"127.0.0.1:{ports[1]}")
            )
            await stack.enter_async_context(serving(documented_settings(config, upstream, tmp_path, addresses)))
        proxy = await stack.enter_async_context(fronting(config, f"127.0.0.1:{upstream}", tmp_path, edit))
        for server, focus in found:
            await colibri(proxy, server, focus)


async def test_acme_challenges_and_the_redirect_to_https(tmp_path: Path) -> None:
    root = tmp_path / "acme"
    challenges = root / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.thumbprint", encoding="utf-8")
    plain = free_port()
    edit = edits(
        replaced("listen 80;", f"listen 127.0.0.1:{plain};"),
        replaced("root /var/www/acme;", f"root {root};"),
        replaced(f"/etc/letsencrypt/live/{DOMAIN}/fullchain.pem", f"/etc/ssl/certs/{DOMAIN}.pem"),
        replaced(f"/etc/letsencrypt/live/{DOMAIN}/privkey.pem", f"/etc/ssl/private/{DOMAIN}.key"),
    )
    async with site(ACME, tmp_path, edit) as (proxy, server), proxy.session() as session:
        await assert_chat(proxy, server)
        base = f"http://{DOMAIN}:{plain}"
        async with session.get(f"{base}/.well-known/acme-challenge/token", allow_redirects=False) as answer:
            assert (answer.status, await answer.text()) == (200, "token.thumbprint")
        async with session.get(f"{base}/.well-known/acme-challenge/none", allow_redirects=False) as answer:
            assert answer.status == 404
        for path in ("/", "/.well-known/host-meta", "/xmpp-websocket?a=b"):
            async with session.get(base + path, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, f"https://{DOMAIN}{path}")


async def test_pages_come_by_http_2_and_websocket_beside_it(tmp_path: Path) -> None:
    root = document_root(tmp_path)
    async with site(HTTP2, tmp_path, root) as (proxy, server):
        await assert_chat(proxy, server)
        assert await curl(proxy, "--http2", "/") == "2 200"
        assert await curl(proxy, "--http2", "/.well-known/host-meta.json") == "2 200"
        assert await curl(proxy, "--http1.1", "/") == "1.1 200"


async def curl(proxy: Proxy, version: str, path: str) -> str:
    """Fetch a page with curl; return the version of HTTP that it came by, and its status."""
    program = shutil.which("curl")
    if program is None or "HTTP2" not in await _output(program, "--version"):
        pytest.skip("curl with HTTP/2 is missing; to run this test: apt-get install -y --no-install-recommends curl")
    return await _output(
        *(program, "--silent", "--insecure", "--max-time", "20", version, "--output", "/dev/null"),
        *("--resolve", f"{DOMAIN}:{proxy.port}:127.0.0.1", "--write-out", "%{http_version} %{http_code}"),
        url(proxy, path),
    )


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()
