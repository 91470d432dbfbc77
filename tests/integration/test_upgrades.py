"""Accounts brought in with keys for SCRAM-SHA-1 alone: clients give the others (XEP-0480), or show the password."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from brought_in import bring_in, configuration, keys, xmppws
from clients import Client, connected, logged_in
from one_trip import SASL2, UPGRADE, bind, condition, do_task, log_in, upgrade
from servers import Program, program

ALL = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]
LACKING = ("SCRAM-SHA-512", "SCRAM-SHA-256")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return configuration(tmp_path)


async def offered(server: Program) -> tuple[list[str], list[str]]:
    """Return the mechanisms, and those for which keys are wanted."""
    async with connected(server.url) as client:
        features = await client.open()
    sasl2 = features.find(f"{SASL2}authentication")
    assert sasl2 is not None
    mechanisms = [each.text or "" for each in sasl2.findall(f"{SASL2}mechanism")]
    return mechanisms, [each.text or "" for each in sasl2.findall(UPGRADE)]


async def go_on(client: Client, name: str, *mechanisms: str) -> ElementTree.Element:
    """Log in with SCRAM-SHA-1, with keys for others to offer, to where the first ones are wanted."""
    content = upgrade(*mechanisms) + bind()
    return await log_in(client, content, name=name, password=name, mechanism="SCRAM-SHA-1")


async def test_clients_give_the_keys_and_log_in_with_them_from_then_on(file: Path) -> None:
    await bring_in(file, {"alice": keys("alice"), "bob": keys("bob")})
    async with program(file) as server:
        await server.logged(r"host=localhost: 2 accounts lack keys: .*, SCRAM-SHA-512, SCRAM-SHA-256 are not offered")
        assert await offered(server) == (["SCRAM-SHA-1", "PLAIN"], [f"UPGR-{name}" for name in LACKING])
        async with connected(server.url) as client:
            asked = await go_on(client, "alice", "SCRAM-SHA-256", "SCRAM-SHA-512")
            assert asked.tag == f"{SASL2}continue"
            asked = await do_task(client, asked, "alice")
            assert asked.tag == f"{SASL2}continue"
            assert (await do_task(client, asked, "alice")).tag == f"{SASL2}success"
            assert client.jid.startswith("alice@localhost/Web")
            assert (await client.iq("get", "<query xmlns='jabber:iq:roster'/>")).get("type") == "result"
        await server.logged(r"user=alice: the account has keys for SCRAM-SHA-256 now")
        # Bob lacks them still.
        assert (await offered(server))[0] == ["SCRAM-SHA-1", "PLAIN"]
        async with connected(server.url) as client:
            # Nothing is asked of who has given all.
            assert (await go_on(client, "alice", *LACKING)).tag == f"{SASL2}success"
        async with connected(server.url) as client:
            assert (await do_task(client, await go_on(client, "bob", *LACKING[1:]), "bob")).tag == f"{SASL2}success"
        assert await offered(server) == (["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"], ["UPGR-SCRAM-SHA-512"])
        async with logged_in(server.url, "bob", "bob", mechanism="PLAIN"):
            assert await offered(server) == (ALL, [])
        for name in ("alice", "bob"):
            for mechanism in ALL:
                async with logged_in(server.url, name, name, mechanism=mechanism):
                    pass
    audited = [json.loads(line) for line in (file.parent / "data/audit.log").read_text().splitlines()]
    assert [line["user"] for line in audited if line["action"] == "password-upgraded"] == [*["alice"] * 2, *["bob"] * 2]
    async with program(file) as server:
        assert await offered(server) == (ALL, [])


async def test_password_that_changes_meanwhile_stays_the_only_one(file: Path) -> None:
    await bring_in(file, {"alice": keys("alice"), "bob": keys("bob")})
    async with program(file) as server, connected(server.url) as client:
        asked = await go_on(client, "alice", *LACKING)
        await xmppws("user", "passwd", "-c", file, "alice@localhost", "--password-stdin", stdin="new\n")
        asked = await do_task(client, asked, "alice")
        assert (await do_task(client, asked, "alice")).tag == f"{SASL2}success"
        await xmppws("user", "delete", "-c", file, "bob@localhost")
        await xmppws("reload", "-c", file)
        assert await offered(server) == (ALL, [])
        for mechanism in ALL:
            async with logged_in(server.url, "alice", "new", mechanism=mechanism):
                pass
            async with connected(server.url) as other:
                refused = await log_in(other, name="alice", password="alice", mechanism=mechanism)
                assert condition(refused) == "not-authorized"


async def test_account_that_is_deleted_meanwhile_stays_so(file: Path) -> None:
    await bring_in(file, {"alice": keys("alice")})
    async with program(file) as server:
        async with connected(server.url) as client:
            await go_on(client, "alice", "SCRAM-SHA-256")
            await xmppws("user", "delete", "-c", file, "alice@localhost")
            assert (await client.expect_end())[1].startswith("account-deleted")
        assert await offered(server) == (ALL, [])
        async with connected(server.url) as client:
            refused = await log_in(client, name="alice", password="alice", mechanism="SCRAM-SHA-1")
            assert condition(refused) == "not-authorized"


async def test_keys_are_no_one_elses(file: Path) -> None:
    await bring_in(file, {"alice": keys("alice")})
    async with program(file) as server:
        async with connected(server.url) as client:
            refused = await log_in(client, upgrade(*LACKING), name="alice", password="x", mechanism="SCRAM-SHA-1")
            assert condition(refused) == "not-authorized"
        async with connected(server.url) as client:
            # The password itself was shown, and all keys made of it.
            ended = await log_in(client, upgrade(*LACKING) + bind(), name="alice", password="alice")
            assert ended.tag == f"{SASL2}success"
        assert await offered(server) == (ALL, [])


async def test_a_running_server_learns_of_them_from_a_failure(file: Path) -> None:
    async with program(file) as server:
        await bring_in(file, {"alice": keys("alice")})
        assert await offered(server) == (ALL, [])
        async with connected(server.url) as client:
            assert condition(await log_in(client, name="alice", password="alice", mechanism="SCRAM-SHA-256"))
            await server.logged(r"user='alice' has no keys for SCRAM-SHA-256 yet: it has to log in with what is")
        assert (await offered(server))[0] == ["SCRAM-SHA-1", "PLAIN"]
