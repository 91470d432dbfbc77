"""The endpoint inside an aiohttp application of somebody else's."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSServerHandshakeError, web
from msgspec.structs import replace

import xmppws
from clients import connected, logged_in
from proxies import replaced
from servers import PASSWORDS, Program, add_accounts, config
from xmppws.app import Server, StartError
from xmppws.config import ConfigError

CONTRIB = Path(__file__).parents[2] / "contrib" / "aiohttp"


class Mounted:
    """A running application with the server in it."""

    def __init__(self, runner: web.AppRunner, server: Server) -> None:
        host, port = runner.addresses[0][:2]
        self.http = f"http://{host}:{port}"
        self.url = f"ws://{host}:{port}/xmpp-websocket"
        self.server = server
        self.runner = runner


@asynccontextmanager
async def mounted(app: web.Application, server: Server) -> AsyncIterator[Mounted]:
    """Run an application, with the accounts of `PASSWORDS`."""
    runner = web.AppRunner(app, access_log=logging.getLogger("app.access"))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await server.hosts["localhost"].providers[0].create_many(PASSWORDS)  # type: ignore[attr-defined]
        yield Mounted(runner, server)
    finally:
        await runner.cleanup()


def says(text: str) -> web.RouteDef:
    """Return a route / that says a text."""
    return web.get("/", answer(text))


def answer(text: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=text)

    return handler


async def get(mounted: Mounted, path: str) -> tuple[int, str]:
    async with ClientSession() as session, session.get(mounted.http + path) as response:
        return response.status, await response.text()


async def test_people_chat_beside_the_applications_own_routes(tmp_path: Path) -> None:
    (tmp_path / "logo.txt").write_text("a logo")
    app = web.Application()
    server = xmppws.attach(app, config(http={"console": True}))
    # Added after attach(): that makes no difference.
    app.add_routes([says("my page"), web.static("/static", tmp_path), web.get("/health", answer("my health"))])
    async with mounted(app, server) as here:
        async with (
            logged_in(here.url, "alice", PASSWORDS["alice"]) as alice,
            logged_in(here.url, "bob", PASSWORDS["bob"]) as bob,
        ):
            await bob.message(alice.jid, "Hello")
            assert await alice.body() == "Hello"
        assert await get(here, "/") == (200, "my page")
        assert await get(here, "/static/logo.txt") == (200, "a logo")
        assert await get(here, "/health") == (200, "my health")
        assert await get(here, "/health/live") == (200, "ok\n")
        status, links = await get(here, "/.well-known/host-meta.json")
        assert status == 200 and here.url in links
        status, page = await get(here, "/console/")
        assert status == 200 and 'src="console.js"' in page
        assert (await get(here, "/console/console.js"))[0] == 200
        # What nobody has is the application's to answer.
        assert await get(here, "/nothing") == (404, "404: Not Found")
        assert not server.listeners


async def test_a_route_for_everything_hides_nothing() -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", answer("single page"))
    server = xmppws.attach(app, config())
    async with mounted(app, server) as here, logged_in(here.url, "alice", PASSWORDS["alice"]):
        assert await get(here, "/some/page") == (200, "single page")
        assert await get(here, "/health/live") == (200, "ok\n")


async def test_paths_of_modules_are_served(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text(MODULE)
    settings = config()
    host = replace(settings.hosts["localhost"], modules_enabled=("greeter",))
    app = web.Application()
    server = xmppws.attach(app, replace(settings, plugin_paths=(tmp_path,), hosts={"localhost": host}))
    async with mounted(app, server) as here:
        assert await get(here, "/greet/alice") == (200, "Hello alice")


MODULE = '''
"""Greets."""
from aiohttp import web
from xmppws.core.module import Module
from xmppws.core.web import WebRequest, http_get


class Greeter(Module):
    name = "greeter"

    @http_get("/greet/{name}")
    async def greet(self, request: WebRequest) -> web.Response:
        return web.Response(text="Hello " + request.http.match_info["name"])
'''


async def test_connections_are_counted_and_limited() -> None:
    app = web.Application()
    server = xmppws.attach(app, config(max_connections=2))
    async with mounted(app, server) as here:
        admission = server.endpoint.admission
        async with connected(here.url) as one, connected(here.url) as two:
            assert admission.connections == 2
            with pytest.raises(WSServerHandshakeError, match="503"):
                async with connected(here.url):
                    pass
            # The application's own requests are not ours to refuse.
            assert (await get(here, "/health/live"))[0] == 200
            for client in (one, two):
                await client.open()
                await client.close()
        async with asyncio.timeout(10), logged_in(here.url, "alice", PASSWORDS["alice"]):
            assert admission.connections == 1
    assert admission.connections == 0


async def test_streams_end_before_the_application_does() -> None:
    app = web.Application()
    server = xmppws.attach(app, config())
    async with mounted(app, server) as here, logged_in(here.url, "alice", PASSWORDS["alice"]) as alice:
        end = asyncio.ensure_future(alice.expect_end())
        await here.runner.cleanup()
        condition, _, code = await end
        assert (condition, code) == ("system-shutdown", 1001)


async def test_what_cannot_be_mounted_says_so(tmp_path: Path) -> None:
    file = tmp_path / "xmppws.toml"
    file.write_text("[http]\nlisten = 1\n")
    with pytest.raises(ConfigError, match=r"http\.listen"):
        xmppws.attach(web.Application(), file)

    inner, outer = web.Application(), web.Application()
    xmppws.attach(inner, config())
    outer.add_subapp("/chat/", inner)
    runner = web.AppRunner(outer)
    with pytest.raises(StartError, match="add_subapp"):
        await runner.setup()
    await runner.cleanup()

    with pytest.raises(AttributeError, match="has no attribute 'detach'"):
        xmppws.detach  # noqa: B018


async def test_an_admin_socket_is_opened_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    settings = replace(config(), admin_socket=str(path))
    app = web.Application()
    async with mounted(app, xmppws.attach(app, settings)):
        assert path.is_socket()
    assert not path.exists()

    path.write_text("something else")
    app = web.Application()
    xmppws.attach(app, settings)
    runner = web.AppRunner(app)
    with pytest.raises(StartError, match="admin_socket"):
        await runner.setup()
    await runner.cleanup()
    assert path.read_text() == "something else"


def test_importing_the_package_imports_no_server() -> None:
    code = "import sys, xmppws; print('aiohttp' in sys.modules, 'attach' in xmppws.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "False True\n"


@asynccontextmanager
async def example(file: Path) -> AsyncIterator[Program]:
    """Run contrib/aiohttp/app.py as a program."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CONTRIB / "app.py"), "-c", str(file), "-p", "0"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    started = Program(process)
    try:
        yield started
    finally:
        await started.stop()


async def test_the_example_runs_as_it_is_documented(tmp_path: Path) -> None:
    file = tmp_path / "xmppws.toml"
    documented = (CONTRIB / "xmppws.toml").read_text()
    file.write_text(replaced('data_dir = "var/aiohttp"', f'data_dir = "{tmp_path}/data"')(documented))
    await add_accounts(file)
    async with example(file) as program, ClientSession() as session:
        program.port = int((await program.logged(r"Running on http://127\.0\.0\.1:(\d+)"))[1])
        base = f"http://127.0.0.1:{program.port}"
        async with (
            logged_in(program.url, "alice", PASSWORDS["alice"]) as alice,
            logged_in(program.url, "bob", PASSWORDS["bob"]) as bob,
        ):
            await alice.message(bob.jid, "over one port")
            assert await bob.body() == "over one port"
            async with session.get(f"{base}/api/status") as response:
                assert await response.json() == {"online": 2}
        for path, text in (("/", "<h1>REST"), ("/static/page.js", "/api/status"), ("/console/", "xmppws console")):
            async with session.get(base + path) as response:
                assert text in await response.text()
        assert await program.stop() == 0
    assert not [line for line in program.lines if "Traceback" in line or "ERROR" in line]
