"""The server as a whole: started, stopped, refused a start, with other routers, and the command line beside it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from clients import FRAMING, connected, gather_bodies, logged_in
from fakes import EchoRouter
from servers import PASSWORDS, add_accounts, config, program, running
from xmppws.app import Server, StartError
from xmppws.config import Host

FILE = """
data_dir = "{data}"
metrics.listen = []
[http]
listen = ["{listen}"]
trusted_proxies = ["unix"]
consider_websocket_secure = true
[hosts."localhost"]
http_host = ["127.0.0.1", "localhost"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "xmppws.toml"
    path.write_text(FILE.format(data=tmp_path / "data", listen="127.0.0.1:0"))
    return path


async def test_a_router_of_somebody_else_serves_its_host() -> None:
    hosts = {"localhost": Host(http_host=("127.0.0.1",)), "echo.example": Host(router="fakes:EchoRouter")}
    async with running(config(hosts=hosts)) as server:
        headers = {"Host": "echo.example"}
        async with connected(server.url + "?a=b", "echo.example", headers=headers) as client:
            await client.open()
            await client.send("<anything xmlns='urn:x'/>")
            echo = await client.receive()
            assert echo.get("of") == "{urn:x}anything" and echo.get("path") == "/xmpp-websocket?a=b"
            await client.close()
        router = server.server.endpoint.routers["echo.example"]
        assert isinstance(router, EchoRouter)
        (handler,) = router.handlers
        assert [end.reason.id for end in handler.ends] == ["client-close"]
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            assert alice.jid


async def test_an_open_is_answered_to_whom_it_is_from() -> None:
    """RFC 6120 section 4.7.2: to the bare JID, and to nobody when there is none."""
    async with running() as server:
        for sender, to in (("from='Alice@localhost/r'", "alice@localhost"), ("from='@'", None), ("", None)):
            async with connected(server.url) as client:
                await client.send(f"<open xmlns='{FRAMING}' {sender} to='localhost' version='1.0'/>")
                assert (await client.receive()).get("to") == to


async def test_a_router_that_cannot_be_imported_is_named() -> None:
    for router in ("fakes:NoRouter", "no_such_package:Router"):
        server = Server(config(hosts={"localhost": Host(router=router)}))
        with pytest.raises(StartError, match=router):
            await server.start()


async def test_a_port_in_use_is_named_and_nothing_is_left_behind() -> None:
    async with running() as server:
        second = Server(config(http={"listen": ("127.0.0.1:0", f"127.0.0.1:{server.port}")}))
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{server.port}: another program"):
            await second.start()


async def test_the_program_serves_and_stops_on_sigterm(file: Path) -> None:
    await add_accounts(file)
    async with program(file) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            async with logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob:
                for number in range(300):
                    await alice.message("bob@localhost", f"{number}")
                assert await gather_bodies(bob, 300) == [str(number) for number in range(300)]
                server.process.send_signal(signal.SIGTERM)
                condition, text, code = await bob.expect_end()
                assert (condition, code) == ("system-shutdown", 1001) and text.startswith("shutdown: ")
        assert await server.stop() == 0
    assert not [line for line in server.lines if "Traceback" in line]
    await server.logged(r"id=\S+ end=shutdown by=server address=127.0.0.1 user=bob@localhost lasted=\d+ idle=\d+")


async def test_accounts_made_while_the_server_runs_can_log_in_at_once(file: Path) -> None:
    async with program(file) as server:
        await add_accounts(file)
        async with logged_in(server.url, "carol", PASSWORDS["carol"]) as carol:
            assert carol.jid.startswith("carol@localhost/")


async def test_accounts_survive_kill_9(file: Path) -> None:
    await add_accounts(file)
    item = "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query>"
    async with program(file) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            assert (await alice.iq("set", item)).get("type") == "result"
            assert await server.stop(signal.SIGKILL) == -signal.SIGKILL
    async with program(file) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        roster = await alice.iq("get", "<query xmlns='jabber:iq:roster'/>")
        assert [item.get("jid") for item in roster[0]] == ["bob@localhost"]


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    settings = config(
        http={"listen": (f"unix:{path}",), "consider_websocket_secure": False, "trusted_proxies": ("unix",)}
    )
    forwarded = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}
    async with running(settings) as server:
        url = "ws://localhost/xmpp-websocket"
        async with logged_in(url, "alice", PASSWORDS["alice"], path=str(path), headers=forwarded):
            (connection,) = server.server.endpoint.connections
            assert (connection.address, connection.secure) == ("198.51.100.7", True)
    assert not path.exists()


async def test_the_demo_makes_its_accounts_once(tmp_path: Path) -> None:
    file = tmp_path / "demo.toml"
    file.write_text(FILE.format(data=tmp_path / "var", listen="127.0.0.1:0"))

    async def run() -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "xmppws", "serve", "--demo", "-c", str(file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        said = ""
        async with asyncio.timeout(20):
            while "Ctrl-C" not in said:
                said += (await process.stdout.readline()).decode()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        return said

    first, second = await run(), await run()
    assert first.count("password ") == 2 and "http://localhost:" in first
    assert second.count("keeps its password") == 2 and "user passwd" in second
