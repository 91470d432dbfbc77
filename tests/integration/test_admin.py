"""The admin socket of a real server, used by the real command line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from administered import MODULE, Served, administered, configure, run
from clients import connected, logged_in
from servers import PASSWORDS


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with administered(tmp_path) as served:
        yield served


async def test_status_and_sessions(served: Served) -> None:
    url = served.server.url
    async with logged_in(url, "alice", PASSWORDS["alice"], resource="x"), connected(url) as stranger:
        await stranger.open()
        (status,) = await served.rows("status")
        assert status["sessions"] == {"localhost": 1}
        assert status["connections"] == {"established": 1, "stranger": 1}
        assert status["pid"] == served.server.process.pid and status["memory_bytes"] > 10**6
        assert status["listeners"] == [f"127.0.0.1:{served.server.port}"]
        (session,) = await served.rows("sessions")
        assert (session["user"], session["resource"], session["state"]) == ("alice@localhost", "x", "available")
        assert (session["address"], session["queue_bytes"], session["secure"]) == ("127.0.0.1", 0, True)
        for whose, count in (
            ("alice@localhost", 1),
            ("alice@localhost/x", 1),
            ("alice@localhost/y", 0),
            ("localhost", 1),
            ("bob@localhost", 0),
            ("elsewhere.example", 0),
        ):
            assert len(await served.rows("sessions", whose)) == count, whose
        table = await served.run("sessions")
        assert table.startswith("jid") and "alice@localhost/x" in table and session["id"] in table
        assert ["sessions", "localhost", "1"] in [line.split() for line in (await served.run("status")).splitlines()]
        assert "not an XMPP address" in await served.refused("sessions", "a@b@c/")
    async with logged_in(url, "bob", PASSWORDS["bob"]) as bob:
        await bob.close()
    (status,) = await served.rows("status")
    assert status["recent_ends"]["client-close"] == 1
    assert await served.run("sessions") == "Nobody has logged in.\n"


async def test_kick_tells_the_user_why(served: Served) -> None:
    url = served.server.url
    async with (
        logged_in(url, "alice", PASSWORDS["alice"], resource="one") as one,
        logged_in(url, "alice", PASSWORDS["alice"], resource="two") as two,
    ):
        (row,) = await served.rows("kick", "alice@localhost/one", "--reason", "Ünkind <words>")
        assert row["user"] == "alice@localhost"
        assert await one.expect_end() == ("policy-violation", "kicked: Ünkind <words>", 1008)
        (session,) = await served.rows("sessions")
        assert session["resource"] == "two"
        assert session["id"] in await served.run("kick", session["id"])
        assert await two.expect_end() == ("policy-violation", "kicked: An admin ended the session.", 1008)
    assert "alice@localhost has no session" in await served.refused("kick", "alice@localhost")
    assert "no connection has the id nobody" in await served.refused("kick", "nobody")
    assert "one line" in await served.refused("kick", "x", "--reason", "two\nlines")
    audited = [json.loads(line) for line in (served.directory / "data" / "audit.log").read_text().splitlines()]
    kicks = [entry for entry in audited if entry["action"] == "kick"]
    assert kicks[0]["target"] == "alice@localhost/one" and kicks[0]["uid"] == os.getuid()


async def test_watch_shows_both_directions_and_no_texts(served: Served) -> None:
    url = served.server.url
    async with logged_in(url, "bob", PASSWORDS["bob"], resource="b") as bob:
        watching = await served.start("watch", "alice@localhost", "--json")
        assert watching.stdout is not None
        assert json.loads(await watching.stdout.readline()) == {
            "watching": "alice@localhost",
            "connections": 0,
            "hibernating": 0,
        }
        lines: list[str] = []
        async with logged_in(url, "alice", PASSWORDS["alice"], resource="a") as alice:
            await alice.message(bob.jid, "my s3cret", id="m1")
            assert await bob.body() == "my s3cret"
            await bob.message(alice.jid, "an answer", id="m2")
            await alice.body()
            while not lines or '"m2' not in lines[-1].replace("\\", ""):
                lines.append((await watching.stdout.readline()).decode())
        watching.terminate()
        await watching.communicate()
    events = [json.loads(line) for line in lines]
    shown = {(event["direction"], event["stanza"]) for event in events if "stanza" in event}
    message = f'<message xmlns="jabber:client" to="{bob.jid}" type="chat" id="m1"><body>…(9)</body></message>'
    assert ("in", message) in shown
    assert any(direction == "out" and 'id="m2"' in stanza and "…(9)" in stanza for direction, stanza in shown)
    text = "".join(lines)
    for absent in ("s3cret", "an answer", "xmpp-sasl", "SCRAM"):
        assert absent not in text


async def test_who_watches_without_reading_holds_up_nobody(served: Served) -> None:
    async with served.connection() as (reader, writer):
        writer.write(b'{"command": "watch", "args": {"jid": "alice@localhost"}}\n')
        assert json.loads(await reader.readline()) == {
            "rows": [{"watching": "alice@localhost", "connections": 0, "hibernating": 0}]
        }
        async with logged_in(served.server.url, "alice", PASSWORDS["alice"]) as alice:
            padding = "<x xmlns='urn:x'>" + "<a/>" * 1500 + "</x>"
            for _ in range(500):
                await alice.send(f"<message xmlns='jabber:client' to='alice@localhost/nowhere'>{padding}</message>")
            await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
            (session,) = await served.rows("sessions")
            assert session["user"] == "alice@localhost"
            dropped = 0
            while not dropped:
                # What is shown next tells what was not.
                await alice.send("<presence xmlns='jabber:client'/>")
                dropped = json.loads(await reader.readline())["event"]["dropped"]


async def test_watch_ends_with_the_server(served: Served) -> None:
    watching = await served.start("watch", "alice@localhost")
    assert watching.stdout is not None
    assert (await watching.stdout.readline()).startswith(b"watching alice@localhost")
    assert await served.server.stop() == 0
    _, err = await watching.communicate()
    assert (watching.returncode, err) == (1, b"xmppws: the server has stopped\n")
    assert not served.socket.exists()


async def test_reload_applies_what_it_can(served: Served) -> None:
    assert "Nothing has changed" in await served.run("reload")
    configure(served.directory, level="warning", origin="https://a.example")
    text = served.file.read_text()
    served.file.write_text(text.replace("[http]", 'storage.url = "memory:"\n[http]'))
    assert await served.rows("reload") == [
        {"option": "hosts.localhost.allowed_origins", "outcome": "applied"},
        {"option": "log.level", "outcome": "applied"},
        {"option": "storage.url", "outcome": "needs a restart"},
    ]
    async with connected(served.server.url, headers={"Origin": "https://a.example"}) as client:
        await client.open()
    with pytest.raises(Exception, match="403"):
        async with connected(served.server.url, headers={"Origin": "https://b.example"}):
            pass
    await served.server.logged("refused address=127.0.0.1 status=403")
    assert not any("origin=https://a.example" in line for line in served.server.lines)
    served.file.write_text('log.level = "loud"\n')
    refusal = await served.refused("reload")
    # The command line itself reads the file first.
    assert "log.level" in refusal
    answer = await served.ask(b'{"command": "reload"}\n')
    assert "stays as it was" in answer["error"] and "log.level" in answer["error"]


async def test_a_reload_changes_what_new_streams_are_told(served: Served) -> None:
    text = served.file.read_text()
    served.file.write_text(text.replace("[http]", 'c2s.read_timeout = "5m"\n[http]'))
    assert await served.rows("reload") == [{"option": "c2s.read_timeout", "outcome": "applied"}]
    async with connected(served.server.url) as client:
        await client.open()
        await client.authenticate("alice", PASSWORDS["alice"])
        assert [each.text for each in (await client.open()).iter("{urn:xmpp:stream-limits:0}idle-seconds")] == ["300"]


async def test_sighup_reads_the_configuration_again(served: Served) -> None:
    configure(served.directory, level="debug")
    served.server.process.send_signal(signal.SIGHUP)
    await served.server.logged("reload: log.level applied")
    served.file.write_text('log.level = "loud"\n')
    served.server.process.send_signal(signal.SIGHUP)
    await served.server.logged("the configuration stays as it was: .*log.level")
    assert (await served.ask(b'{"command": "status"}\n'))["rows"]


async def test_reload_of_a_module_and_its_commands(served: Served) -> None:
    assert await served.rows("admin") == [
        {"name": "tally", "host": "localhost", "module": "tally", "help": "Count the arguments."}
    ]
    assert await served.rows("admin", "tally", "a", "b") == [{"counted": 2, "by": "first"}]
    file = served.directory / "modules" / "tally.py"
    file.write_text(MODULE.replace("first", "second edition"))
    assert "read again" in await served.run("reload", "tally")
    assert await served.rows("admin", "tally") == [{"counted": 0, "by": "second edition"}]
    assert "Nothing cannot be counted" in await served.refused("admin", "tally", "nothing")
    broken = await served.refused("admin", "tally", "broken")
    assert "the server's log says more" in broken and "secret" not in broken
    await served.server.logged("secret detail")
    assert "no module has a command talley" in await served.refused("admin", "talley")
    assert "no local host x" in await served.refused("admin", "tally", "--host", "x")
    file.write_text("this is no Python")
    assert "tally" in await served.refused("reload", "tally")
    assert "no host has the module" in await served.refused("reload", "nothing")
    assert await served.rows("admin", "tally") == [{"counted": 0, "by": "second edition"}]


async def test_the_socket_stands_strangers(served: Served) -> None:
    assert stat.S_IMODE(served.socket.stat().st_mode) == 0o660
    for line, error in (
        (b"garbage\n", "a request is a line such as"),
        (b"\xff\n", "a request is a line such as"),
        (b'{"command": "x", "args": {"a": ' + b"[" * 60_000 + b"\n", "a request is a line such as"),
        (b'{"command": "fly"}\n', "there is no command 'fly'; there are: status,"),
        (b'{"command": "kick", "args": {}}\n', "kick: Object missing required field `target`"),
        (b'{"command": "status", "args": {"x": 1}}\n', "status: Object contains unknown field `x`"),
        (b'{"command": "watch", "args": {"jid": "localhost"}}\n', "not the address of an account"),
        (b"x" * 70_000 + b"\n", "one line of at most 65536 bytes"),
    ):
        assert error in (await served.ask(line))["error"]
    async with served.connection() as (reader, writer):
        # Without a line's end, and the client's side already closed.
        writer.write(b'{"command": "sessions"}\n{"command": "sessions"}')
        writer.write_eof()
        assert [json.loads(line) for line in (await reader.read()).splitlines()] == [{"rows": []}] * 2
    silent = [await asyncio.open_unix_connection(served.socket) for _ in range(31)]
    assert await served.rows("sessions") == []
    silent.append(await asyncio.open_unix_connection(served.socket))
    async with served.connection() as (reader, _):
        assert "32 clients" in json.loads(await reader.readline())["error"]
    for _, writer in silent:
        writer.close()
        await writer.wait_closed()


async def test_without_a_server(tmp_path: Path) -> None:
    file = configure(tmp_path)
    status, out, err = await run(file, "status")
    assert (status, out) == (1, "")
    assert err == f"xmppws: no server answers on {tmp_path}/admin.sock: is it running, with this configuration?\n"
    file.write_text('admin_socket = ""\n')
    assert await run(file, "sessions") == (1, "", 'xmppws: there is no admin socket: admin_socket is ""\n')


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
async def test_who_may_not_is_told_who_may(served: Served) -> None:
    # As somebody else it sees nothing but this directory, and what it has imported before.
    served.directory.chmod(0o711)
    (served.directory / "other.toml").write_text('admin_socket = "/proc/self/cwd/admin.sock"\n')
    (served.directory / "other.toml").chmod(0o644)
    command = 'main(["status", "-c", "other.toml"])'
    code = f"""import os, sys
from xmppws.cli.main import main
assert {command} == 0
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit({command})"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), cwd=served.directory, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    told = "may not be used: its mode is 0660, for user root and members of group root"
    assert err.decode() == f"xmppws: /proc/self/cwd/admin.sock {told}\n"
