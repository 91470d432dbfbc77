"""XEP-0198 on real sockets: acknowledgements, resumption, and what becomes of a session that nobody resumes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from clients import CLIENT, connected, logged_in
from resuming import FAILED, SM, acknowledge, authenticated, cut, enable, handled, resume, sessions_of
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Storage

LIMITS = "{urn:xmpp:stream-limits:0}"


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(config()) as started:
        yield started


async def test_stanzas_are_counted(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        await enable(alice)
        assert await handled(alice) == 0
        await alice.message("bob@localhost", "one")
        await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        assert await handled(alice) == 2
        # A nonza is none.
        assert await handled(alice) == 2


async def test_what_is_offered() -> None:
    async with running(config(max_stanza_size=12345, max_unauthenticated_size=4096, read_timeout=99.9)) as server:
        async with connected(server.url) as alice:
            assert f"{{{SM}}}sm" not in [feature.tag for feature in await alice.open()]
            await alice.authenticate("alice", PASSWORDS["alice"])
            features = await alice.open()
            assert features.find(f"{{{SM}}}sm") is not None
            told = {child.tag: child.text for child in features.iterfind(f"{LIMITS}limits/*")}
            assert told == {f"{LIMITS}max-bytes": "12345", f"{LIMITS}idle-seconds": "99"}


async def test_resuming_after_the_connection_was_lost(server: Running) -> None:
    async with AsyncExitStack() as stack:
        bob = await stack.enter_async_context(logged_in(server.url, "bob", PASSWORDS["bob"]))
        alice = await stack.enter_async_context(logged_in(server.url, "alice", PASSWORDS["alice"]))
        id = await enable(alice)
        for number in range(3):
            await bob.message(alice.jid, f"seen {number}")
        assert [await alice.body() for _ in range(3)] == ["seen 0", "seen 1", "seen 2"]
        await alice.message(bob.jid, "before")
        assert await bob.body() == "before"
        await cut(alice)
        await until(lambda: sessions_of(server)[0].stream.__class__.__name__ == "Hibernating")
        for number in range(3):
            await bob.message(alice.jid, f"missed {number}")
        async with connected(server.url) as again:
            # Two of three were acknowledged by the resumption itself.
            answer = await resume(again, id, 2)
            assert (answer.get("previd"), answer.get("h")) == (id, "1")
            bodies = [await again.body() for _ in range(4)]
            assert bodies == ["seen 2", "missed 0", "missed 1", "missed 2"]
            await again.message(bob.jid, "after")
            assert await bob.body() == "after"
            assert await handled(again) == 2
            assert len(sessions_of(server)) == 1 and sessions_of(server)[0].jid.text == alice.jid
            await acknowledge(again, 6)
            await bob.message(alice.jid, "live")
            assert await again.body() == "live"


async def test_resuming_while_the_old_connection_lives(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice, connected(server.url) as again:
        id = await enable(alice)
        assert (await resume(again, id, 0)).get("h") == "0"
        condition, _, _ = await alice.expect_end()
        assert condition == "conflict"
        await again.message(alice.jid, "to myself")
        assert await again.body() == "to myself"
        assert len(sessions_of(server)) == 1


@pytest.mark.parametrize("which", ["unknown", "foreign", "ended"])
async def test_what_cannot_be_resumed(server: Running, which: str) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob, connected(server.url) as alice:
        id = "unknown" if which == "unknown" else await enable(bob)
        if which == "ended":
            await bob.close()
        answer = await resume(alice, id, 0, "bob" if which == "ended" else "alice")
        assert answer.tag == FAILED and answer[0].tag.endswith("}item-not-found")
        # It may bind a resource in place of it.
        result = await alice.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        assert result.get("type") == "result"


@pytest.mark.parametrize(
    "wrong",
    [
        f"<a xmlns='{SM}' h='1'/>",
        f"<a xmlns='{SM}'/>",
        f"<a xmlns='{SM}' h='-1'/>",
        f"<a xmlns='{SM}' h='4294967296'/>",
    ],
)
async def test_what_was_never_sent_cannot_be_acknowledged(server: Running, wrong: str) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        await enable(alice)
        await alice.send(wrong)
        condition, text, code = await alice.expect_end()
        assert (condition, code) == ("undefined-condition", 1000) and text.startswith("stream-management: ")
        await until(lambda: not sessions_of(server))


async def test_enabling_twice_or_too_early(server: Running) -> None:
    async with connected(server.url) as alice:
        await authenticated(alice, "alice")
        await alice.send(f"<enable xmlns='{SM}' resume='true'/>")
        assert (await alice.receive()).tag == FAILED
        await alice.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        await enable(alice)
        await alice.send(f"<enable xmlns='{SM}'/>")
        assert (await alice.receive()).tag == FAILED
        await alice.send(f"<resume xmlns='{SM}' previd='x' h='0'/>")
        assert (await alice.receive()).tag == FAILED


async def test_a_session_that_nobody_resumes() -> None:
    async with running(config(resume_timeout=1.0)) as server:
        async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
            async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
                await alice.send(f"<enable xmlns='{SM}' resume='true'/>")
                id = (await alice.receive_until("enabled")).get("id") or ""
                await alice.message(bob.jid, "hello")
                await bob.body()
                await cut(alice)
                await until(lambda: sessions_of(server)[0].stream.__class__.__name__ == "Hibernating")
                await bob.message("alice@localhost", "to the account")
                await bob.message(alice.jid, "to the client")
                await bob.send(
                    f"<iq xmlns='jabber:client' type='get' id='q' to='{alice.jid}'><ping xmlns='urn:xmpp:ping'/></iq>"
                )
                # The request is answered when the session is over, for nobody will.
                error = await bob.receive_until("iq")
                assert (error.get("id"), error.get("type")) == ("q", "error")
            assert not sessions_of(server)
            async with connected(server.url) as late:
                assert (await resume(late, id, 0)).tag == FAILED
        async with logged_in(server.url, "alice", PASSWORDS["alice"], presence=False) as alice:
            await alice.send("<presence xmlns='jabber:client'/>")
            found = [await alice.receive_until("message") for _ in range(2)]
            assert [each.findtext(f"{CLIENT}body") for each in found] == ["to the account", "to the client"]
            assert all(each.find("{urn:xmpp:delay}delay") is not None for each in found)


async def test_a_client_that_acknowledges_nothing() -> None:
    async with running(config(max_unacked=100)) as server:
        async with (
            logged_in(server.url, "bob", PASSWORDS["bob"]) as bob,
            logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
        ):
            await enable(alice)
            for number in range(101):
                await bob.message(alice.jid, str(number))
            condition, text, _ = await alice.expect_end()
            assert condition == "resource-constraint" and text.startswith("unacknowledged: ")
            await until(lambda: not sessions_of(server))
            async with logged_in(server.url, "alice", PASSWORDS["alice"], presence=False) as again:
                await again.send("<presence xmlns='jabber:client'/>")
                # Nothing was lost: what was not acknowledged waits in its mailbox.
                assert [await again.body() for _ in range(101)] == [str(number) for number in range(101)]


async def test_acknowledged_is_durable(tmp_path: Path) -> None:
    settings = replace(config(), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}"))
    async with running(settings) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        await enable(alice)
        for number in range(20):
            await alice.message("bob@localhost", str(number))
        assert await handled(alice) == 20
        stores = server.server.hosts["localhost"].stores
        assert await stores.archive("offline").count("bob") == 20


async def test_resuming_after_a_restart(tmp_path: Path) -> None:
    settings = replace(config(), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}"))
    async with AsyncExitStack() as stack:
        async with running(settings) as server:
            bob = await stack.enter_async_context(logged_in(server.url, "bob", PASSWORDS["bob"]))
            alice = await stack.enter_async_context(logged_in(server.url, "alice", PASSWORDS["alice"]))
            await alice.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
            await alice.iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
            alice_id, bob_id = await enable(alice), await enable(bob)
            await bob.message(alice.jid, "not acknowledged")
            assert await alice.body() == "not acknowledged"
            await cut(bob)
            await until(lambda: sessions_of(server, "bob")[0].stream.__class__.__name__ == "Hibernating")
            await alice.message(bob.jid, "while bob was away")
            await handled(alice)
        error = await alice.receive_until("error")
        assert error[0].tag.endswith("}system-shutdown")
        async with running(settings, new_accounts=False) as server:
            assert len(sessions_of(server)) == len(sessions_of(server, "bob")) == 1
            async with connected(server.url) as alice, connected(server.url) as bob:
                assert (await resume(alice, alice_id, 0)).get("h") == "1"
                assert await alice.body() == "not acknowledged"
                assert (await resume(bob, bob_id, 0, "bob")).get("h") == "1"
                assert await bob.body() == "while bob was away"
                # Presence, carbons, the interest in blocking and the counters are as they were.
                (session,) = sessions_of(server)
                assert session.presence is not None
                async with logged_in(server.url, "alice", PASSWORDS["alice"]) as other:
                    await other.message("bob@localhost", "from another client")
                    assert await bob.body() == "from another client"
                    copy = await alice.receive_until("message")
                    assert copy.find("{urn:xmpp:carbons:2}sent") is not None
                    block = "<block xmlns='urn:xmpp:blocking'><item jid='eve@localhost'/></block>"
                    await other.iq("set", block)
                    assert (await alice.receive_until("iq")).find("{urn:xmpp:blocking}block") is not None
                assert await handled(alice) == 1
        # Whoever has resumed is not stored twice, and whoever has not is there after the next restart as well.
        async with running(settings, new_accounts=False) as server:
            assert len(sessions_of(server)) == 1


async def test_what_expired_while_the_server_was_away(tmp_path: Path) -> None:
    settings = replace(
        config(resume_timeout=1.0), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}")
    )
    async with AsyncExitStack() as stack:
        async with running(settings) as server:
            bob = await stack.enter_async_context(logged_in(server.url, "bob", PASSWORDS["bob"]))
            alice = await stack.enter_async_context(logged_in(server.url, "alice", PASSWORDS["alice"]))
            await alice.send(f"<enable xmlns='{SM}' resume='true'/>")
            id = (await alice.receive_until("enabled")).get("id") or ""
            await bob.message(alice.jid, "kept")
            assert await alice.body() == "kept"
        async with running(settings, new_accounts=False) as server:
            await until(lambda: not sessions_of(server))
            async with connected(server.url) as late:
                assert (await resume(late, id, 0)).tag == FAILED
            async with logged_in(server.url, "alice", PASSWORDS["alice"], presence=False) as again:
                await again.send("<presence xmlns='jabber:client'/>")
                assert await again.body() == "kept"
