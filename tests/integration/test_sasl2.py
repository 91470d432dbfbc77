"""SASL2 with Bind 2 on real sockets: one round trip to a session (XEP-0388, XEP-0386, XEP-0198)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import MappingProxyType
from xml.etree import ElementTree

import pytest

from clients import CLIENT, HASHES, connected, logged_in
from one_trip import (
    BIND2,
    CARBONS,
    ENABLE,
    PHONE,
    SASL2,
    WANTED,
    WEB,
    ask,
    bind,
    condition,
    log_in,
    outcome,
    resume,
    resumption_of,
)
from resuming import FAILED, RESUMED, SM, acknowledge, asleep, cut, handled, resumptions_of, sessions_of
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Host

BIND = "{urn:ietf:params:xml:ns:xmpp-bind}"
MAM = "{urn:xmpp:mam:2}"
CSI = "{urn:xmpp:csi:0}"
FORWARDED = "{urn:xmpp:forward:0}forwarded"


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(config()) as started:
        yield started


async def test_what_is_offered(server: Running) -> None:
    async with connected(server.url) as client:
        features = await client.open()
        inline = features.find(f"{SASL2}authentication/{SASL2}inline")
        assert inline is not None
        found = [each.get("var") for each in inline.iter(f"{BIND2}feature")]
        assert found == [SM, "urn:xmpp:carbons:2", "urn:xmpp:csi:0"]
        assert inline.find(f"{{{SM}}}sm") is not None
        assert inline.find("{urn:xmpp:fast:0}fast") is not None
        # Behind proxies a channel is bound to nobody (XEP-0440): no type of binding, and no mechanism that has one.
        assert features.find("{urn:xmpp:sasl-cb:0}sasl-channel-binding") is None
        assert "PLUS" not in ElementTree.tostring(features).decode()


@pytest.mark.parametrize("mechanism", [*HASHES, "PLAIN"])
async def test_a_session_in_one_step(server: Running, mechanism: str) -> None:
    async with connected(server.url) as alice, logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        success = await log_in(alice, bind(), mechanism=mechanism)
        bare, _, resource = alice.jid.partition("/")
        tag, _, made = resource.partition("/")
        assert (bare, tag) == ("alice@localhost", "Web") and len(made) > 8
        assert success.find(f"{BIND2}bound") is not None
        await bob.message(alice.jid, "hello")
        assert await alice.body() == "hello"
        await alice.message(bob.jid, "and back")
        assert await bob.body() == "and back"


async def test_without_a_resource_the_older_way_follows(server: Running) -> None:
    async with connected(server.url) as alice:
        success = await log_in(alice)
        assert success.findtext(f"{SASL2}authorization-identifier") == "alice@localhost"
        result = await alice.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        assert (result.findtext(f"{BIND}bind/{BIND}jid") or "").startswith("alice@localhost/")


async def test_features_that_come_with_the_resource(server: Running) -> None:
    async with connected(server.url) as alice, logged_in(server.url, "alice", PASSWORDS["alice"]) as other:
        await log_in(alice, bind(CARBONS, "<inactive xmlns='urn:xmpp:csi:0'/>", ENABLE))
        await alice.send("<presence xmlns='jabber:client'/>")
        assert await handled(alice) == 1
        (session,) = [each for each in sessions_of(server) if each.jid.text == alice.jid]
        assert session.hold is not None
        async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
            await bob.message(other.jid, "copied")
            copy = await alice.receive_until("message")
            assert copy.find(f"{{urn:xmpp:carbons:2}}received/{FORWARDED}") is not None


async def test_the_archive_is_told(server: Running) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob, connected(server.url) as first:
        success = await log_in(first, bind())
        metadata = success.find(f"{BIND2}bound/{MAM}metadata")
        assert metadata is not None and len(metadata) == 0
        for number in range(3):
            await bob.message(first.jid, f"{number}")
            await first.body()
        async with connected(server.url) as second:
            success = await log_in(second, bind())
            asked = (await second.iq("get", "<metadata xmlns='urn:xmpp:mam:2'/>")).find(f"{MAM}metadata")
            told = success.find(f"{BIND2}bound/{MAM}metadata")
            assert asked is not None and told is not None and len(told) == 2
            assert [each.attrib for each in told] == [each.attrib for each in asked]


@pytest.mark.parametrize(("features", "comes"), [((CARBONS,), False), ((), True)])
async def test_messages_that_wait_come_once(server: Running, features: tuple[str, ...], comes: bool) -> None:
    """Who asks for copies reads the archive for what it has missed; others get it as ever."""
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob, connected(server.url) as alice:
        await bob.message("alice@localhost", "while you were away")
        await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        await log_in(alice, bind(*features))
        await alice.send("<presence xmlns='jabber:client'/>")
        await bob.message(alice.jid, "now")
        assert await alice.body() == ("while you were away" if comes else "now")
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as third:
            # It waits no longer for anybody.
            await bob.message(third.jid, "third")
            assert await third.body() == "third"


async def test_nothing_comes_before_success(server: Running) -> None:
    """A client is copied from the moment on at which its resource is bound, and hears of that first."""
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as other, connected(server.url) as alice:
        await alice.open()
        writing = asyncio.gather(*[other.message("bob@localhost", f"{number}") for number in range(200)])
        password = f"\0alice\0{PASSWORDS['alice']}".encode()
        success = await outcome(alice, await ask(alice, "PLAIN", password, bind(CARBONS)))
        assert success.tag == f"{SASL2}success"
        await writing
        copied = await alice.receive_until("message")
        first = int(copied.findtext(f".//{CLIENT}body") or -1)
        rest = [int((await alice.receive()).findtext(f".//{CLIENT}body") or -1) for _ in range(199 - first)]
        assert rest == list(range(first + 1, 200))


# --- Sessions that go on ---


async def test_a_session_goes_on_in_one_step(server: Running) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        async with connected(server.url) as alice:
            id = resumption_of(await log_in(alice, bind(ENABLE)))
            jid = alice.jid
            await bob.message(jid, "seen")
            assert await alice.body() == "seen"
            await alice.message(bob.jid, "sent")
            assert await bob.body() == "sent"
            await cut(alice)
        await asleep(server)
        await bob.message(jid, "missed")
        async with connected(server.url) as again:
            success = await log_in(again, resume(id, 1) + bind(ENABLE))
            resumed = success.find(RESUMED)
            assert resumed is not None and (resumed.get("previd"), resumed.get("h")) == (id, "1")
            # XEP-0386: then the server "MUST entirely ignore the <bind/> request".
            assert success.find(f"{BIND2}bound") is None
            assert again.jid == jid and len(sessions_of(server)) == 1
            assert await again.body() == "missed"
            await acknowledge(again, 2)


async def test_a_session_that_is_gone_is_followed_by_a_new_one(server: Running) -> None:
    async with connected(server.url) as alice:
        success = await log_in(alice, resume("unknown", 0) + bind(ENABLE))
        failed = success.find(FAILED)
        assert failed is not None and failed[0].tag.endswith("}item-not-found")
        assert resumption_of(success)
    async with connected(server.url) as alice:
        success = await log_in(alice, resume("unknown", 0))
        assert success.find(FAILED) is not None and alice.jid == "alice@localhost"


async def test_the_same_client_leaves_no_session_behind(server: Running) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        for agent in (WEB, PHONE):
            async with connected(server.url) as alice:
                await log_in(alice, bind(ENABLE), agent=agent)
                if agent == WEB:
                    web = alice.jid
                await cut(alice)
        await asleep(server, 2)
        await bob.message(web, "not lost")
        async with connected(server.url) as tab, connected(server.url) as again:
            await log_in(tab, bind(ENABLE))
            # Of the two that had no connection, the phone's is left.
            await until(lambda: len(resumptions_of(server)) == 1)
            await tab.send("<presence xmlns='jabber:client'/>")
            assert await tab.body() == "not lost"
            # A tab that is connected is left alone.
            await log_in(again, bind(ENABLE))
            assert await handled(tab) == 1
            assert len(sessions_of(server)) == 3


# --- What goes wrong ---


async def test_a_wrong_password_leaves_nothing(server: Running) -> None:
    async with connected(server.url) as alice:
        assert condition(await log_in(alice, bind(ENABLE), password="wrong")) == "not-authorized"
        assert sessions_of(server) == ()
        await alice.send("<iq xmlns='jabber:client' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
        assert (await alice.expect_end())[0] == "not-authorized"


async def test_a_second_log_in_ends_the_stream(server: Running) -> None:
    async with connected(server.url) as alice:
        await log_in(alice, bind())
        await alice.send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>")
        assert (await alice.expect_end())[0] == "unsupported-stanza-type"


@pytest.mark.parametrize("tag", ["", "x" * 5000, "a/b", "\u2168 \u00ad", "&#9;"])
async def test_tags(server: Running, tag: str) -> None:
    async with connected(server.url) as alice:
        await log_in(alice, bind(tag=tag))
        assert alice.jid.startswith("alice@localhost/") and len(alice.jid) < 200


async def test_too_many_resources(server: Running) -> None:
    host = server.server.hosts["localhost"]
    async with connected(server.url) as alice, logged_in(server.url, "alice", PASSWORDS["alice"]) as other:
        (session,) = sessions_of(server)
        for number in range(99):
            host.bind(session.account, f"r{number}", session.stream)
        assert condition(await log_in(alice, bind())) == "temporary-auth-failure"
        assert other.jid


async def test_h_that_is_too_high_ends_the_stream(server: Running) -> None:
    async with connected(server.url) as alice:
        id = resumption_of(await log_in(alice, bind(ENABLE)))
        await cut(alice)
    await asleep(server)
    async with connected(server.url) as again:
        await again.open()
        error = await ask(again, "PLAIN", f"\0alice\0{PASSWORDS['alice']}".encode(), resume(id, 99))
        assert error.find(f"{{{SM}}}handled-count-too-high") is not None
    assert len(resumptions_of(server)) == 1


async def test_guests_have_sessions_that_end_with_their_stream() -> None:
    host = Host(http_host=("localhost", "127.0.0.1"), authentication=("anonymous",))
    async with running(config(hosts={"localhost": host})) as server, connected(server.url) as guest:
        await guest.open()
        success = await outcome(guest, await ask(guest, "ANONYMOUS", b"", bind(ENABLE) + WANTED))
        enabled = success.find(f"{BIND2}bound/{{{SM}}}enabled")
        assert enabled is not None and enabled.get("id") is None
        assert success.find("{urn:xmpp:fast:0}token") is None
        await cut(guest)
        await until(lambda: len(server.server.hosts["localhost"].sessions) == 0)


async def test_modules_that_are_off_are_not_offered() -> None:
    host = Host(
        http_host=("localhost", "127.0.0.1"),
        modules_disabled=("carbons", "csi", "mam"),
        modules=MappingProxyType({}),
    )
    async with running(config(hosts={"localhost": host})) as server, connected(server.url) as alice:
        features = await alice.open()
        assert [each.get("var") for each in features.iter(f"{BIND2}feature")] == [SM]
    async with running(config(hosts={"localhost": host})) as server, connected(server.url) as alice:
        success = await log_in(alice, bind(CARBONS, "<inactive xmlns='urn:xmpp:csi:0'/>"))
        bound = success.find(f"{BIND2}bound")
        assert bound is not None and len(bound) == 0
        await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
