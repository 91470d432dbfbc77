"""XEP-0114, both sides on real sockets: components that attach to us, and links by which we attach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest
from msgspec.structs import replace
from slixmpp import JID, ComponentXMPP

from clients import CLIENT, Client, logged_in
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Component, Config, Host, Link, Metrics, Pace

SECRET = "of the gateway"
GATEWAY = "gateway.localhost"
ACCEPT = "jabber:component:accept"
STREAMS = "http://etherx.jabber.org/streams"


def accepting(pace: Pace | None = None, **options: Any) -> Config:
    host = Host(http_host=("127.0.0.1",))
    component = Component(host="localhost", **{"secret": SECRET, **options})
    settings = config(hosts={"localhost": host}, pace=pace)
    return replace(settings, components={GATEWAY: component}, component_listen=("127.0.0.1:0",))


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(accepting()) as started:
        yield started


def port(server: Running) -> int:
    return server.server.component_addresses[0].port


class Raw:
    """A component that writes what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._text = b""

    def send(self, text: str) -> None:
        self.writer.write(text.encode())

    async def until(self, text: str) -> str:
        """Return all that came up to a text."""
        async with asyncio.timeout(10):
            while text.encode() not in self._text:
                data = await self.reader.read(65536)
                assert data, f"the end, after {self._text!r}"
                self._text += data
        found, _, self._text = self._text.partition(text.encode())
        return found.decode() + text

    async def rest(self) -> str:
        async with asyncio.timeout(20):
            return (self._text + await self.reader.read(-1)).decode()

    async def attach(self, domain: str = GATEWAY, secret: str = SECRET) -> None:
        self.send(f"<stream:stream xmlns='{ACCEPT}' xmlns:stream='{STREAMS}' to='{domain}'>")
        opened = await self.until(">")
        if opened.startswith("<?xml"):
            opened = await self.until(">")
        id = ElementTree.fromstring(f"{opened}</stream:stream>").get("id") or ""
        self.send(f"<handshake>{sha1((id + secret).encode()).hexdigest()}</handshake>")


@asynccontextmanager
async def raw(server: Running) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port(server))
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


class Bot(ComponentXMPP):
    """A component of slixmpp that keeps what it gets."""

    def __init__(self, server: Running, secret: str = SECRET) -> None:
        super().__init__(GATEWAY, secret, "127.0.0.1", port(server))  # type: ignore[no-untyped-call]
        self.got: asyncio.Queue[Any] = asyncio.Queue()
        self.up: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", self._started)
        for event in ("message", "message_error"):
            self.add_event_handler(event, self.got.put_nowait)
        self.add_event_handler("presence_available", self.got.put_nowait)
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")

    def _started(self, event: object) -> None:
        if not self.up.done():
            self.up.set_result(True)

    async def __aenter__(self) -> Bot:
        self.connect()
        async with asyncio.timeout(10):
            await self.up
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.disconnect()


async def test_a_component_of_slixmpp_attaches_and_talks(server: Running) -> None:
    bot_jid = JID(f"bot@{GATEWAY}/x")
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        await alice.message(f"bot@{GATEWAY}", "anybody?")
        refused = await alice.receive_until("message")
        assert refused.get("type") == "error"
        async with Bot(server) as bot:
            await alice.message(f"bot@{GATEWAY}", "hello", id="m1")
            message = await bot.got.get()
            assert (message["body"], str(message["from"]), message["id"]) == ("hello", alice.jid, "m1")
            bot.send_message(JID(alice.jid), "hi", mfrom=bot_jid, mtype="chat")
            assert await alice.body() == "hi"
            pong = await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=GATEWAY)
            assert (pong.get("type"), pong.get("from")) == ("result", GATEWAY)
            items = await alice.iq("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", to="localhost")
            assert GATEWAY in [item.get("jid") for item in items[0]]
            info = await bot.plugin["xep_0030"].get_info(JID("localhost"), ifrom=JID(GATEWAY))
            assert ("server", "im", None, "xmppws") in info["disco_info"]["identities"]
            await alice.send(f"<presence xmlns='jabber:client' to='bot@{GATEWAY}'><status>here</status></presence>")
            assert (await bot.got.get())["status"] == "here"
            # Nobody of the host, and no host: errors that name who it was for.
            bot.send_message(JID("nobody@localhost"), "?", mfrom=bot_jid)
            assert (await bot.got.get())["type"] == "error"
            bot.send_message(JID("a@elsewhere.test"), "?", mfrom=bot_jid)
            error = await bot.got.get()
            assert any(each.tag.endswith("}remote-server-not-found") for each in error.xml.iter())


ATTACHED = f"<stream:stream xmlns='{ACCEPT}' xmlns:stream='{STREAMS}' to='{GATEWAY}'>"


@pytest.mark.parametrize(
    ("sent", "condition"),
    [
        (ATTACHED.replace(GATEWAY, "other.localhost"), "host-unknown"),
        (ATTACHED.replace(GATEWAY, "localhost"), "host-unknown"),
        (ATTACHED.replace(f" to='{GATEWAY}'", ""), "host-unknown"),
        (ATTACHED.replace(ACCEPT, "jabber:client"), "invalid-namespace"),
        (f"{ATTACHED}<handshake>0</handshake>", "not-authorized"),
        (f"{ATTACHED}<handshake/>", "not-authorized"),
        (f"{ATTACHED}<message from='{GATEWAY}' to='alice@localhost'/>", "not-authorized"),
        (f"{ATTACHED}<handshake>{'0' * 5000}</handshake>", "policy-violation"),
        ("GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
        ("<!DOCTYPE a><a/>", "restricted-xml"),
    ],
)
async def test_strangers_are_refused(server: Running, sent: str, condition: str) -> None:
    async with raw(server) as stranger:
        stranger.send(sent)
        answer = await stranger.rest()
        assert f"<{condition} " in answer and answer.endswith("</stream:stream>")
    gateways = server.server.routes.gateways
    assert not gateways.strangers and not gateways.connected


@pytest.mark.parametrize(
    ("sent", "condition"),
    [
        ("<message from='alice@localhost' to='bob@localhost'/>", "invalid-from"),
        (f"<message from='x.{GATEWAY}' to='bob@localhost'/>", "invalid-from"),
        (f"<message from='{GATEWAY}'/>", "improper-addressing"),
        ("<message to='bob@localhost'/>", "improper-addressing"),
        ("<other/>", "bad-format"),
        ("<handshake/>", "bad-format"),
        (f"<message from='{GATEWAY}' to='b@localhost'><body>{'x' * 300_000}</body></message>", "policy-violation"),
        ("</wrong>", "not-well-formed"),
        ("<message from='a b@c' to='b@localhost'/>", "invalid-from"),
    ],
)
async def test_components_keep_the_rules(server: Running, sent: str, condition: str) -> None:
    async with raw(server) as component:
        await component.attach()
        await component.until("<handshake")
        component.send(sent)
        assert f"<{condition} " in await component.rest()
    assert not server.server.routes.gateways.connected
    assert not server.server.hosts["localhost"].gateways


async def test_the_newer_connection_takes_over(server: Running) -> None:
    async with raw(server) as older, raw(server) as newer:
        await older.attach()
        await older.until("<handshake")
        await newer.attach()
        await newer.until("<handshake")
        assert "<conflict " in await older.rest()
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            await alice.message(f"x@{GATEWAY}", "to the newer one")
            assert "to the newer one" in await newer.until("</message>")


async def test_namespaces_are_changed_both_ways(server: Running) -> None:
    async with raw(server) as component, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        await component.attach()
        await component.until("<handshake")
        forwarded = (
            "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>in</body></message></forwarded>"
        )
        component.send(
            f"<message from='a@{GATEWAY}' to='{alice.jid}' type='chat'><body>out</body>{forwarded}</message>"
        )
        message = await alice.receive_until("message")
        assert message.findtext(f"{CLIENT}body") == "out"
        assert message.findtext(f"{{urn:xmpp:forward:0}}forwarded/{CLIENT}message/{CLIENT}body") == "in"
        await alice.send(
            f"<message xmlns='jabber:client' to='a@{GATEWAY}' type='chat'><body>back</body>{forwarded}</message>"
        )
        opening = f"<stream:stream xmlns='{ACCEPT}' xmlns:stream='{STREAMS}'>"
        found = (await component.until("</forwarded></message>")).partition("<message")[2]
        back = ElementTree.fromstring(f"{opening}<message{found}</stream:stream>")[0]
        assert back.tag == f"{{{ACCEPT}}}message" and back.findtext(f"{{{ACCEPT}}}body") == "back"
        assert back.findtext(f"{{urn:xmpp:forward:0}}forwarded/{CLIENT}message/{CLIENT}body") == "in"


async def test_a_flood_waits_and_nothing_is_lost() -> None:
    async with running(accepting(stanzas_per_second=200)) as server:
        async with raw(server) as component, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            await component.attach()
            await component.until("<handshake")
            began = asyncio.get_running_loop().time()
            for number in range(500):
                component.send(
                    f"<message from='a@{GATEWAY}' to='{alice.jid}' type='chat'><body>{number}</body></message>"
                )
            assert [await alice.body() for _ in range(500)] == [str(number) for number in range(500)]
            # 200 at once, and 200 more in each second after that.
            assert asyncio.get_running_loop().time() - began > 1


async def test_attempts_are_counted() -> None:
    pace = Pace(logins_per_second=1, burst=2.0)
    async with running(accepting(pace)) as server:
        for condition in ("not-authorized", "not-authorized", "policy-violation"):
            async with raw(server) as stranger:
                await stranger.attach(secret="wrong")
                assert f"<{condition} " in await stranger.rest()


async def test_further_domains_on_one_connection() -> None:
    async with running(accepting(domains=("media.localhost",))) as server:
        async with raw(server) as component, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            await component.attach()
            await component.until("<handshake")
            await alice.message("x@media.localhost", "one")
            assert 'to="x@media.localhost"' in await component.until("</message>")
            component.send(f"<message from='y@media.localhost' to='{alice.jid}' type='chat'><body>two</body></message>")
            assert await alice.body() == "two"


# --- Links: one of our servers is linked to another of ours ---


def linked(address: str, secret: str = SECRET, **options: Any) -> Config:
    settings = config(hosts={GATEWAY: Host(http_host=("127.0.0.1",))})
    links = {GATEWAY: Link(address=address, secret=secret, **options)}
    return replace(settings, links=links, metrics=Metrics(listen=("127.0.0.1:0",)))


async def up(server: Running) -> None:
    link = server.server.routes.links.by_domain[GATEWAY]
    await until(lambda: link.phase.value == "up")


async def test_users_of_two_linked_servers(server: Running) -> None:
    async with running(linked(f"127.0.0.1:{port(server)}")) as other:
        await up(other)
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
            logged_in(other.url, "bob", PASSWORDS["bob"], domain=GATEWAY) as bob,
        ):
            await befriend(alice, bob)
            await bob.message("alice@localhost", "up the link")
            assert await alice.body() == "up the link"
            await alice.message(bob.jid, "down the link")
            assert await bob.body() == "down the link"
            version = await bob.iq("get", "<query xmlns='jabber:iq:version'/>", to="localhost")
            assert version.get("type") == "result"
            nowhere = await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="nowhere.test")
            assert nowhere.get("type") == "error"
            link = other.server.routes.links.by_domain[GATEWAY]
            gateway = server.server.routes.gateways.known[GATEWAY]
            assert (link.up.value, gateway.attached.value, link.waiting.value) == (1, 1, 0)
            assert link.sent.value == gateway.received.value > 3 and link.received.value == gateway.sent.value > 3
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{other.server.metrics_addresses[0].port}/metrics") as answer:
                assert f'xmppws_link_up{{host="{GATEWAY}"}} 1.0' in await answer.text()


async def befriend(alice: Client, bob: Client) -> None:
    """Let both see each other's presence."""
    await alice.send(f"<presence xmlns='jabber:client' type='subscribe' to='bob@{GATEWAY}'/>")
    while (await bob.receive_until("presence")).get("type") != "subscribe":
        pass
    await bob.send("<presence xmlns='jabber:client' type='subscribed' to='alice@localhost'/>")
    while (await alice.receive_until("presence")).get("from") != bob.jid:
        pass


async def test_what_waits_while_a_link_is_down(server: Running) -> None:
    address = f"127.0.0.1:{port(server)}"
    async with running(linked(address, secret="wrong", max_queue=2, queue_timeout=1.0)) as other:
        async with logged_in(other.url, "bob", PASSWORDS["bob"], domain=GATEWAY) as bob:
            for number in range(3):
                await bob.message("alice@localhost", "x", id=f"m{number}")
            # The third is one too many; the others are given up in time.
            errors = [await bob.receive_until("message") for _ in range(3)]
            assert [error.get("id") for error in errors] == ["m2", "m0", "m1"]
            conditions = [error[-1][0].tag.rpartition("}")[2] for error in errors]
            assert conditions == ["remote-server-timeout"] * 3


async def test_a_link_that_is_cut_comes_back(server: Running) -> None:
    async with running(linked(f"127.0.0.1:{port(server)}")) as other:
        await up(other)
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"]) as alice,
            logged_in(other.url, "bob", PASSWORDS["bob"], domain=GATEWAY) as bob,
        ):
            await befriend(alice, bob)
            await bob.send("<presence xmlns='jabber:client' type='subscribe' to='alice@localhost'/>")
            while (await alice.receive_until("presence")).get("type") != "subscribe":
                pass
            await alice.send(f"<presence xmlns='jabber:client' type='subscribed' to='bob@{GATEWAY}'/>")
            while (await bob.receive_until("presence")).get("from") != alice.jid:
                pass
            (stream,) = server.server.routes.gateways._attached.values()
            stream._transport.abort()  # type: ignore[union-attr]
            link = other.server.routes.links.by_domain[GATEWAY]
            await until(lambda: link.phase.value == "down")
            await bob.message("alice@localhost", "meanwhile")
            await up(other)
            assert await alice.body() == "meanwhile"
            # Both hear of each other again, though nobody has changed anything.
            while (await bob.receive_until("presence")).get("from") != alice.jid:
                pass


async def test_a_link_brings_stanzas_for_its_domain_alone(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    async with running(linked(f"127.0.0.1:{port(server)}")) as other:
        await up(other)
        async with logged_in(other.url, "bob", PASSWORDS["bob"], domain=GATEWAY) as bob:
            (stream,) = server.server.routes.gateways._attached.values()
            send = "<message to='{}' from='{}' type='chat'><body>{}</body></message>"
            for to, sender in (
                ("x@elsewhere.test", "a@localhost"),
                (bob.jid, f"alice@{GATEWAY}"),
                (bob.jid, "a@b.test"),
            ):
                stream.write(send.format(to, sender, sender).encode())
            assert await bob.body() == "a@b.test"
    assert caplog.text.count("is not for it to bring") == 2
