"""The module API as somebody else uses it: a package installed by pip, and a file in `plugin_paths`."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from clients import connected, logged_in
from raw import head, raw
from servers import PASSWORDS, Running, add_accounts, config, program, running
from xmppws.config import Config, Host
from xmppws.core.catalog import ModuleError

PACKAGE = Path(__file__).parent.parent / "packages" / "xmppws_hello"
HELLO = "<hello xmlns='urn:example:hello'/>"
FILE = """
data_dir = "{data}"
modules_enabled = ["default", "hello"]
routes = ["cave"]
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
default_host = "localhost"
[modules.hello]
greeting = "Ahoy"
[hosts."localhost"]
[hosts."other.example"]
modules_disabled = ["hello"]
[hosts."parrot.example"]
router = "parrot"
"""


@pytest.fixture
async def installed(tmp_path: Path) -> dict[str, str]:
    """Install the package with pip into a directory of the test's own, and return the environment that sees it."""
    source = shutil.copytree(PACKAGE, tmp_path / "source")
    target = tmp_path / "site"
    arguments = ("install", "--quiet", "--no-deps", "--target", str(target), str(source))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "pip", *arguments)
    assert await process.wait() == 0
    return {**os.environ, "PYTHONPATH": str(target)}


async def test_a_package_brings_a_module_a_router_and_a_route(tmp_path: Path, installed: dict[str, str]) -> None:
    file = tmp_path / "xmppws.toml"
    file.write_text(FILE.format(data=tmp_path / "data"))
    await add_accounts(file, installed)
    async with program(file, installed) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            for count in ("1", "2"):
                answer = await alice.iq("get", HELLO, to="localhost")
                assert (answer[0].text, answer[0].get("count")) == ("Ahoy alice", count)
            await alice.message("anybody@cave.example", "hello?")
            assert await alice.body() == "hello?"
            assert (await alice.iq("get", HELLO, to="cave.example")).get("type") == "error"
        async with connected(server.url, "parrot.example", headers={"Host": "parrot.example"}) as client:
            await client.open()
            await client.send("<say xmlns='urn:parrot'>hello</say>")
            assert (await client.receive()).text == "hello"

    async def shown(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "xmppws", "modules", *arguments, "-c", str(file)),
            env=installed,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode()

    listed = await shown()
    assert listed.count("hello") == 1 and "ping             XEP-0199" in listed and "other.example" in listed
    hooks = await shown("--hooks")
    assert "MessageFromUser\n    guard    blocking\n    guard    hello\n" in hooks


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    path = tmp_path / "plugins"
    path.mkdir()
    shutil.copy(PACKAGE / "xmppws_hello.py", path / "hello.py")
    return path


def with_plugin(plugins: Path, hosts: dict[str, Host] | None = None) -> Config:
    enabled = ("roster", "presence", "disco", "ping", "session", "adhoc", "hello")
    given = hosts or {"localhost": Host(http_host=("127.0.0.1", "localhost"), modules_enabled=enabled)}
    return replace(config(hosts=given), plugin_paths=(plugins,))


async def test_http_paths_have_the_servers_rules_applied(plugins: Path) -> None:
    enabled = ("hello",)
    hosts = {
        "localhost": Host(
            http_host=("127.0.0.1", "localhost"), modules_enabled=enabled, allowed_origins=("https://a.example",)
        ),
        "without.example": Host(),
    }
    async with running(with_plugin(plugins, hosts)) as server, aiohttp.ClientSession() as http:
        url = f"{server.http}/hello/Zo%C3%AB"

        async def get(method: str = "GET", data: str = "", **headers: str) -> tuple[int, str, dict[str, str]]:
            async with http.request(method, url, headers=headers, data=data) as response:
                return response.status, await response.text(), dict(response.headers)

        status, text, _ = await get(**{"X-Forwarded-For": "198.51.100.9"})
        assert (status, text) == (200, "Hello Zoë from 198.51.100.9 to localhost\n")
        status, _, headers = await get(Origin="https://a.example")
        assert status == 200 and headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert (await get(Origin="https://evil.example"))[0] == 403
        status, _, headers = await get("OPTIONS", Origin="https://a.example")
        assert status == 204 and headers["Access-Control-Allow-Methods"] == "GET, POST"
        assert (await get("HEAD"))[:2] == (200, "")
        assert (await get("POST", "0123456789"))[:2] == (200, "0123456789")
        assert (await get("POST", "0123456789+"))[0] == 413
        status, text, headers = await get("DELETE")
        assert status == 405 and headers["Allow"] == "GET, POST"
        assert (await get(Host="without.example"))[0] == 404
        assert (await get(Host="unknown.example"))[0] == 404


async def test_a_body_without_a_length_is_bounded_too(plugins: Path) -> None:
    async with running(with_plugin(plugins)) as server, raw(server.port) as client:
        request = b"POST /hello/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.write(request + b"14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n")
        assert (await client.response())[0] == 413


async def test_websocket_paths(plugins: Path) -> None:
    async with running(with_plugin(plugins)) as server, aiohttp.ClientSession() as http:
        url = server.url.replace("xmpp-websocket", "hello-ws")
        async with http.ws_connect(url + "?token=zoe", protocols=("hello",)) as socket:
            assert socket.protocol == "hello"
            for number in range(100):
                await socket.send_str(f"{number} ä")
            assert [(await socket.receive()).data for _ in range(100)] == [f"you said {n} ä" for n in range(100)]
            (connection,) = server.server.endpoint.connections
            assert connection.name == "zoe"
            assert not server.server.endpoint._strangers
            await socket.send_str("bye")
            message = await socket.receive()
            assert (message.type.name, message.data, message.extra) == ("CLOSE", 1000, "bye")
        async with http.ws_connect(url + "?token=zoe", protocols=("hello",)) as socket:
            await socket.send_str("x" * 1001)
            assert (await socket.receive()).data == 1009
        for changes, status in (({}, 401), ({"Sec_WebSocket_Protocol": "other"}, 400), ({"Upgrade": "h2c"}, 426)):
            async with raw(server.port) as client:
                client.write(head(path="/hello-ws", **{"Sec_WebSocket_Protocol": "hello", **changes}))
                assert (await client.refusal())[0] == status


async def test_a_failing_module_harms_nobody(plugins: Path) -> None:
    async with running(with_plugin(plugins)) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            await alice.message(alice.jid, "swear")
            error = await alice.receive_until("message")
            assert error.get("type") == "error" and "Mind your language" in "".join(error.itertext())


async def test_a_module_is_read_again_while_the_server_runs(plugins: Path) -> None:
    async with running(with_plugin(plugins)) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        assert (await alice.iq("get", HELLO, to="localhost"))[0].text == "Hello alice"
        file = plugins / "hello.py"
        code = file.read_text()
        file.write_text(
            code.replace('f"{self.options.greeting} {iq', 'f"Bye {iq').replace("/hello/{name}", "/bye/{name}")
        )
        old = server.server.hosts["localhost"].modules["hello"]
        await server.server.reload_module("hello")
        assert (await alice.iq("get", HELLO, to="localhost"))[0].text == "Bye alice"
        assert old.started is False  # type: ignore[attr-defined]
        assert await status(server, "/bye/x") == 200 and await status(server, "/hello/x") == 404
        order = server.server.hosts["localhost"].hooks.order()

        file.write_text("this is no Python")
        with pytest.raises(ModuleError, match="hello"):
            await server.server.reload_module("hello")
        assert (await alice.iq("get", HELLO, to="localhost"))[0].text == "Bye alice"
        assert server.server.hosts["localhost"].hooks.order() == order


async def status(server: Running, path: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(server.http + path) as response:
        return response.status
