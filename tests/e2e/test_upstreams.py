"""The servers that others run behind us are what the tests of the router and of component links take them for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from slixmpp import ClientXMPP, ComponentXMPP

from clients import logged_in
from servers import PASSWORDS
from upstreams import Upstream, ejabberd, prosody

pytestmark = pytest.mark.e2e

SECONDS = 20
INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
STREAM = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='{}'>"
PORTS = {"starttls": "c2s_port", "direct": "tls_port"}


@pytest.fixture(params=[prosody, ejabberd], ids=["prosody", "ejabberd"])
async def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Upstream]:
    async with request.param(tmp_path) as started:
        yield started


class Account(ClientXMPP):
    """A client of slixmpp that tells how its first try went: "in", "refused", "untrusted", or the error."""

    def __init__(self, upstream: Upstream, username: str, way: str = "starttls", ca: Path | None = None) -> None:
        super().__init__(f"{username}@{upstream.domain}", PASSWORDS[username])
        self.ca_certs = ca or upstream.ca
        self.enable_direct_tls, self.enable_starttls = way == "direct", way == "starttls"
        self.register_plugin("xep_0198")
        self.port = getattr(upstream.ports, PORTS[way])
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.managed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.add_event_handler("sm_enabled", self.managed.set_result)
        self.add_event_handler("session_start", lambda event: self._came("in"))
        self.add_event_handler("failed_all_auth", lambda event: self._came("refused"))
        for event in ("ssl_invalid_chain", "connection_failed"):
            self.add_event_handler(event, self._failed)

    async def __aenter__(self) -> Account:
        self.connect("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cancel_connection_attempt()
        await self.disconnect()

    async def first(self) -> str:
        async with asyncio.timeout(SECONDS):
            return await self.outcome

    def _came(self, what: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(what)

    def _failed(self, error: Any) -> None:
        self._came("untrusted" if isinstance(error, ssl.SSLCertVerificationError) else repr(error))


@pytest.mark.parametrize("way", PORTS)
async def test_log_in_over_tls_that_the_authority_vouches_for(upstream: Upstream, way: str) -> None:
    async with Account(upstream, "alice", way) as alice, Account(upstream, "bob", way) as bob:
        assert (await alice.first(), await bob.first()) == ("in", "in")
        got: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        bob.add_event_handler("message", lambda message: got.set_result(message["body"]))
        alice.send_message(mto=bob.boundjid, mbody="hello", mtype="chat")
        async with asyncio.timeout(SECONDS):
            assert await got == "hello"
            await alice.managed
        # Only who may resume the stream has an id of it.
        assert alice.plugin["xep_0198"].sm_id


@pytest.mark.parametrize("way", PORTS)
async def test_another_authority_is_not_trusted(upstream: Upstream, way: str, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with Account(upstream, "alice", way, ca=other) as alice:
        assert await alice.first() == "untrusted"


async def test_it_comes_back_after_a_crash_and_after_a_stop(upstream: Upstream) -> None:
    for end in (upstream.daemon.kill, upstream.daemon.stop):
        pid = upstream.daemon.pid
        async with Account(upstream, "alice") as alice:
            assert await alice.first() == "in"
            request = alice.make_iq_set()
            request["roster"]["items"] = {"carol@example.org": {"name": "Carol"}}
            await request.send()  # type: ignore[no-untyped-call]
            gone = asyncio.Event()
            alice.add_event_handler("disconnected", lambda event, gone=gone: gone.set())
            await end()
            async with asyncio.timeout(SECONDS):
                await gone.wait()
        await upstream.daemon.start()
        assert upstream.daemon.pid != pid
    async with Account(upstream, "alice") as alice:
        assert await alice.first() == "in"
        roster = await alice.make_iq_get(queryxmlns="jabber:iq:roster").send()  # type: ignore[no-untyped-call]
        assert roster["roster"]["items"].keys() == {"carol@example.org"}


async def test_it_serves_a_websocket_a_component_rooms_carbons_and_archives(upstream: Upstream) -> None:
    component = ComponentXMPP(  # type: ignore[no-untyped-call]
        upstream.component, upstream.secret, "127.0.0.1", upstream.ports.component_port
    )
    attached: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    got: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    component.add_event_handler("session_start", attached.set_result)
    component.add_event_handler("message", lambda message: got.set_result(message["body"]))
    component.connect()
    try:
        async with (
            asyncio.timeout(SECONDS),
            logged_in(upstream.websocket_url, "bob", PASSWORDS["bob"], upstream.domain, mechanism="SCRAM-SHA-1") as bob,
        ):
            await attached
            await bob.message(upstream.component, "to the gateway")
            assert await got == "to the gateway"
            for address, feature in (
                (upstream.rooms, "http://jabber.org/protocol/muc"),
                (upstream.domain, "urn:xmpp:carbons:2"),
                (f"bob@{upstream.domain}", "urn:xmpp:mam:2"),
            ):
                info = await bob.iq("get", INFO, to=address)
                assert feature in {each.get("var") for each in info[0]}
    finally:
        await component.disconnect()


async def test_ejabberd_believes_a_proxy_header(tmp_path: Path) -> None:
    async with ejabberd(tmp_path) as upstream:
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.ports.proxy_port)
        writer.write(b"PROXY TCP4 203.0.113.7 127.0.0.1 50123 5222\r\n" + STREAM.format(upstream.domain).encode())
        async with asyncio.timeout(SECONDS):
            features = await reader.readuntil(b"</stream:features>")
        assert b"<required/>" in features and b"PLAIN" not in features
        writer.close()
        await writer.wait_closed()
        await upstream.daemon.logged("203.0.113.7:50123")
