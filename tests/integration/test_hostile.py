"""What one client could do to the server, or to others, and must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from clients import BIND, CLIENT, SASL, connected, logged_in
from raw import closing, frame, raw
from servers import PASSWORDS, Running, config, running
from xmppws.config import Host
from xmppws.core import host as core_host
from xmppws.core.events import SessionBound, SessionEnded
from xmppws.core.hooks import Phase
from xmppws.core.providers import Providers
from xmppws.errors import Reason, StreamPolicyViolation
from xmppws.routers.local import LocalRouter
from xmppws.stream.frames import PING

STANZA_ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
PING_IQ = "<ping xmlns='urn:xmpp:ping'/>"


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running() as started:
        yield started


async def test_what_follows_a_broken_frame_is_not_kept(server: Running) -> None:
    """While the closing handshake is waited for, too."""
    async with raw(server.port) as client:
        await client.upgrade(frame(b"not XML"))
        assert closing([await client.frame() for _ in range(4)]) == (
            1007,
            "not-xml: The message does not start with '<'",
        )
        (socket,) = server.server.endpoint.connections
        client.write(frame(b"a", masked=False) + bytes(1_000_000))
        async with asyncio.timeout(5):
            while not socket._reader._closed:
                await asyncio.sleep(0)
        client.write(bytes(1_000_000) + frame(b"", 8))
        await client.writer.drain()
        assert socket._reader.buffered == 0


async def test_a_prefix_that_is_bound_to_nothing_reaches_nobody(server: Running) -> None:
    """The recipient's parser would end the recipient's stream for it.

    libxml2 warns of the relative namespace, and that hides from lxml that there was an error before.
    """
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        for form in ("<body b:c=''/>", "<body b:c=''/><x xmlns='relative'/>", "<b:body><x xmlns='relative'/></b:body>"):
            async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
                await alice.send(f"<message xmlns='jabber:client' to='{bob.jid}' type='chat'>{form}</message>")
                assert await alice.expect_end() == (
                    "not-well-formed",
                    "not-well-formed: The message is not one well-formed XML element",
                    1000,
                )
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            await alice.message(bob.jid, "well-formed")
            assert await bob.body() == "well-formed"


async def test_a_flood_of_pings_leaves_others_their_turn(server: Running) -> None:
    async with raw(server.port) as flood, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        await flood.upgrade(frame(b"", PING) * 20_000)
        answer = await alice.iq("get", PING_IQ, to="localhost")
        assert answer.get("type") == "result"
        for _ in range(20_000):
            assert (await flood.frame())[0] == 0xA


class Gated:
    """A provider that takes every password, once the gate is open."""

    name = "gated"
    mechanisms = frozenset({"PLAIN"})

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()

    async def refresh(self) -> None:
        pass

    async def exists(self, username: str) -> bool:
        return True

    async def verify_password(self, username: str, password: str) -> bool:
        self.asked.set()
        await self.gate.wait()
        return True


async def test_a_login_that_is_kicked_meanwhile_changes_nothing(server: Running) -> None:
    endpoint, gated = server.server.endpoint, Gated()
    router = endpoint.routers["localhost"]
    assert isinstance(router, LocalRouter)
    router.providers = Providers((gated,))
    async with connected(server.url) as stranger, connected(server.url) as client:
        await stranger.open()
        await client.open()
        await client.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGFsaWNlAHg=</auth>")
        await gated.asked.wait()
        kicked = next(each for each in endpoint.connections if each._held)
        assert server.server.connections.end(kicked.id, StreamPolicyViolation("", Reason.KICKED))
        gated.gate.set()
        assert (await client.expect_end())[1:] == (f"kicked: {Reason.KICKED.help}", 1008)
        assert (kicked.name, kicked.stage) == ("", "ending")
        assert {each for network in endpoint._strangers.values() for each in network} == endpoint.connections


async def test_a_failing_module_keeps_no_session(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: object) -> None:
        raise RuntimeError

    host = server.server.hosts["localhost"]
    host.hooks.add(SessionBound, Phase.GUARD, fail, "failing")
    host.hooks.add(SessionEnded, Phase.GUARD, fail, "failing")
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        assert len(host.sessions) == 1
        await alice.close()
    async with asyncio.timeout(5):
        await server.server.endpoint._empty.wait()
    assert len(host.sessions) == 0
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "a handler of SessionBound failed",
        "a handler of SessionEnded failed",
    ]


async def test_an_account_has_so_many_resources(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_host, "MAX_RESOURCES", 1)
    async with logged_in(server.url, "alice", PASSWORDS["alice"], resource="a"), connected(server.url) as second:
        await second.open()
        await second.authenticate("alice", PASSWORDS["alice"])
        await second.open()
        answer = await second.iq("set", f"<bind xmlns='{BIND}'><resource>b</resource></bind>")
        assert answer.find(f"{CLIENT}error/{STANZA_ERRORS}resource-constraint") is not None
        # The same resource again replaces the older session.
        answer = await second.iq("set", f"<bind xmlns='{BIND}'><resource>a</resource></bind>")
        assert answer.get("type") == "result"


async def test_a_roster_has_its_limit(server: Running) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        groups = "".join(f"<group>{number}{'g' * 1000}</group>" for number in range(50))
        types = []
        for number in range(12):
            query = f"<query xmlns='jabber:iq:roster'><item jid='c{number}@localhost'>{groups}</item></query>"
            types.append((await alice.iq("set", query)).get("type"))
        assert types == ["result"] * 10 + ["error"] * 2
        assert len((await alice.iq("get", "<query xmlns='jabber:iq:roster'/>"))[0]) == 10


async def test_a_host_goes_by_its_other_name_in_a_restart_too() -> None:
    hosts = {"bücher.example": Host(http_host=("localhost", "127.0.0.1"))}
    async with running(config(hosts=hosts)) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"], "xn--bcher-kva.example", resource="r") as alice:
            assert alice.jid == "alice@bücher.example/r"


async def test_the_names_of_a_login_are_known_before_the_first(server: Running) -> None:
    """Else strangers, having spent what they may, would keep everybody out."""
    vocabulary = server.server.endpoint.vocabulary
    spent = vocabulary.spent
    async with logged_in(server.url, "alice", PASSWORDS["alice"], resource="a", presence=False):
        assert vocabulary.spent == spent
