"""The log of the real program: fields, what must never stand in it, and its files after a kill."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clients import Client, connected
from raw import OPEN, frame, head, raw
from servers import PASSWORDS, Program, add_accounts, program

FILE = """
data_dir = "{data}"
metrics.listen = ["127.0.0.1:0"]
metrics.token = "metrics-secret"
c2s.close_timeout = "200ms"
[log]
level = "debug"
format = "{format}"
error_file = "logs/errors.log"
error_max_entries = 5
audit_file = "logs/audit.log"
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[hosts."localhost"]
http_host = ["127.0.0.1", "localhost"]
"""
MECHANISMS = ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Listening(Client):
    """A client that remembers all SASL data, both ways."""

    def __init__(self, plain: Client, secrets: set[str]) -> None:
        super().__init__(plain.socket, plain.domain)
        self.secrets = secrets

    async def send(self, text: str) -> None:
        self._remember(text)
        await super().send(text)

    async def receive_text(self, timeout: float = 10) -> str:
        text = await super().receive_text(timeout)
        self._remember(text)
        return text

    def _remember(self, text: str) -> None:
        for data in re.findall(r"<(?:auth|challenge|response|success)\b[^>]*>([^<]+)<", text):
            self.secrets.add(data)
            plain = base64.b64decode(data).decode()
            self.secrets.update(value for value in re.findall(r"\b[prsv]=([^,]+)", plain))


@pytest.fixture(params=["text", "json"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "xmppws.toml"
    path.write_text(FILE.format(data=tmp_path / "data", format=request.param))
    return path


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def refuse(server: Program) -> None:
    async with raw(server.port) as page:
        page.write(head(Sec_WebSocket_Protocol=None, path="/xmpp-websocket?token=query-secret"))
        await page.refusal()


async def misbehave(server: Program) -> None:
    """Send what ends in warnings, with secrets where a careless line would repeat them."""
    await refuse(server)
    bad = (
        b"GET /?token=query-secret\x01 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer header-secret\x00\r\n\r\n",
    )
    for request in bad:
        async with raw(server.port) as page:
            page.write(request)
            await page.refusal()
    async with raw(server.port) as client:
        await client.upgrade(frame(OPEN))
        client.write(frame(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>body-secret"))
        await client.frames()


async def log_in_and_fail(server: Program, secrets: set[str]) -> None:
    for mechanism in MECHANISMS:
        for password in (PASSWORDS["alice"], "wrong-secret"):
            async with connected(server.url + "?token=query-secret") as plain:
                client = Listening(plain, secrets)
                await client.open()
                await client.authenticate("alice", password, mechanism)
                await client.close()


async def test_no_secret_stands_in_any_log(file: Path) -> None:
    await add_accounts(file)
    secrets = {*PASSWORDS.values(), "wrong-secret", "query-secret", "header-secret", "body-secret", "metrics-secret"}
    secrets -= {PASSWORDS["carol"]}  # One letter stands everywhere.
    async with program(file) as server:
        await log_in_and_fail(server, secrets)
        await misbehave(server)
        assert await server.stop() == 0
    logs = [path.read_text() for path in sorted((file.parent / "data" / "logs").iterdir())]
    everything = "\n".join([*server.lines, *logs])
    assert len(logs) == 2 and len(secrets) > 4 * len(MECHANISMS)
    encoded = {base64.b64encode(secret.encode()).decode().rstrip("=") for secret in secrets}
    assert [secret for secret in secrets | encoded if secret in everything] == []
    assert "Traceback" not in everything


async def test_the_audit_log_tells_logins_failures_and_replaced_sessions(file: Path) -> None:
    await add_accounts(file)
    async with program(file) as server:
        await log_in_and_fail(server, set())
        async with connected(server.url) as first, connected(server.url) as second:
            for client in (first, second):
                await client.login("bob", PASSWORDS["bob"], resource="desk")
            await first.expect_end()
    audit = entries(file.parent / "data" / "logs" / "audit.log")
    assert all(entry["address"] == "127.0.0.1" for entry in audit)
    logins = [(entry["action"], entry["user"], entry["mechanism"]) for entry in audit if "mechanism" in entry]
    for mechanism in MECHANISMS:
        assert logins.count(("login", "alice", mechanism)) == 1
        assert logins.count(("login-failed", "alice", mechanism)) == 1
    assert [entry["user"] for entry in audit if entry["action"] == "session-replaced"] == ["bob@localhost/desk"]


@pytest.mark.parametrize("file", ["json"], indirect=True)
async def test_every_line_about_a_connection_has_its_id(file: Path) -> None:
    await add_accounts(file)
    async with program(file) as server:
        async with connected(server.url) as client:
            await client.login("alice", PASSWORDS["alice"])
            await client.close()
        await server.logged("end=client-close")
        await server.stop()
    lines = [json.loads(line) for line in server.lines]
    loggers = ("xmppws.handshake", "xmppws.login", "xmppws.connection")
    about = [line for line in lines if line["logger"] in loggers]
    assert [line["logger"] for line in about] == list(loggers)
    assert len({line["id"] for line in about}) == 1 and {line["address"] for line in about} == {"127.0.0.1"}
    end = about[-1]
    assert (end["reason"], end["by"], end["user"]) == ("client-close", "client", "alice@localhost")


@pytest.mark.parametrize("file", ["text"], indirect=True)
async def test_the_newest_errors_survive_kill_9(file: Path) -> None:
    path = file.parent / "data" / "logs" / "errors.log"
    for round in range(1, 4):
        async with program(file) as server:
            for _ in range(4):
                await refuse(server)
            assert await server.stop(signal.SIGKILL) == -signal.SIGKILL
        found = entries(path)
        assert min(5, 4 * round) <= len(found) < 10
        assert {(entry["level"], entry["cause"]) for entry in found} == {("warning", "subprotocol")}


@pytest.mark.parametrize("file", ["text"], indirect=True)
def test_an_error_file_that_cannot_be_is_named(file: Path) -> None:
    (file.parent / "data").mkdir()
    (file.parent / "data" / "logs").write_text("a file")
    command = (sys.executable, "-m", "xmppws", "serve", "-c", str(file))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert re.fullmatch(r"xmppws: log\.error_file: \S+/errors\.log cannot be used: .+\n", done.stderr)
