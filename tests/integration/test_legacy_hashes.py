"""Accounts brought in as hashes: the command line, a running server, and what it offers until they have logged in."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from brought_in import bring_in, configuration, xmppws
from clients import SASL, connected, logged_in
from servers import program

SUCCESS = f"{{{SASL}}}success"
WITH_PASSWORD = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return configuration(tmp_path)


def ssha(password: str) -> str:
    digest = hashlib.sha1(password.encode() + b"salt").digest()
    return "{SSHA}" + base64.b64encode(digest + b"salt").decode()


async def offered(url: str) -> list[str]:
    async with connected(url) as client:
        return [text.strip() for text in (await client.open())[0].itertext() if text.strip()]


async def test_accounts_log_in_with_plain_once_and_with_scram_from_then_on(file: Path) -> None:
    assert (await bring_in(file, {"alice": ssha("alice"), "bob": ssha("bob")})).startswith(
        "added 2 accounts to localhost\n"
    )
    assert await xmppws("user", "list", "-c", file, "localhost") == "alice@localhost\nbob@localhost\n"
    async with program(file) as server:
        await server.logged(r"host=localhost: 2 accounts have a hash of their password only")
        assert await offered(server.url) == ["PLAIN"]
        async with connected(server.url) as client:
            await client.open()
            assert (await client.authenticate("alice", "wrong", "PLAIN")).tag != SUCCESS
        async with logged_in(server.url, "alice", "alice", mechanism="PLAIN"):
            await server.logged(r"host=localhost user=alice: the account has keys for SCRAM-SHA-512, .* now")
        assert await offered(server.url) == ["PLAIN"]
        async with logged_in(server.url, "bob", "bob", mechanism="PLAIN"):
            assert await offered(server.url) == WITH_PASSWORD
        for name in ("alice", "bob"):
            async with logged_in(server.url, name, name, mechanism="SCRAM-SHA-512") as client:
                assert client.jid.startswith(f"{name}@localhost/")
    audited = [json.loads(line) for line in (file.parent / "data/audit.log").read_text().splitlines()]
    assert [line["user"] for line in audited if line["action"] == "password-upgraded"] == ["alice", "bob"]
    async with program(file) as server:
        assert await offered(server.url) == WITH_PASSWORD


async def test_a_running_server_sees_new_hashes_on_reload(file: Path) -> None:
    async with program(file) as server:
        await bring_in(file, {"alice": ssha("alice")})
        assert await offered(server.url) == WITH_PASSWORD
        await xmppws("reload", "-c", file)
        assert await offered(server.url) == ["PLAIN"]
        await xmppws("user", "delete", "-c", file, "alice@localhost")
        await xmppws("reload", "-c", file)
        assert await offered(server.url) == WITH_PASSWORD


async def test_a_scram_attempt_tells_the_admin_and_the_server(file: Path) -> None:
    async with program(file) as server:
        await bring_in(file, {"alice": ssha("alice")})
        async with connected(server.url) as client:
            await client.open()
            refused = await client.authenticate("Alice", "alice")
            assert refused.find(f"{{{SASL}}}not-authorized") is not None and len(refused) == 1
            await server.logged(r"user='Alice' has no keys for SCRAM-SHA-256 yet: it has to log in with what is")
        assert await offered(server.url) == ["PLAIN"]
        async with logged_in(server.url, "alice", "alice", mechanism="PLAIN"):
            assert await offered(server.url) == WITH_PASSWORD


async def test_other_failures_with_scram_are_not_explained(file: Path) -> None:
    async with program(file) as server:
        async with connected(server.url) as client:
            await client.open()
            for name in ("nobody", "no@body"):
                assert (await client.authenticate(name, "x")).tag != SUCCESS
        await server.logged("login=not-authorized .*no@body")
        await server.stop()
        assert not [line for line in server.lines if "has no keys" in line or "Traceback" in line]
