"""Finding and greeting the server behind: each way that it can fail ends in the right error, in bounded time."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from msgspec.structs import replace

from clients import FRAMING, Client, connected, logged_in
from fake_upstream import (
    BIND,
    DOMAIN,
    HEADER,
    PLAIN,
    SASL,
    STARTTLS,
    SUCCESS,
    TLS,
    FakePeer,
    FakeUpstream,
    fake_upstream,
    in_front_of,
    stops_reading,
)
from nameserver import NameServer, name_server
from servers import Program, Running, config, program, running
from waiting import until
from xmppws.app import StartError
from xmppws.config import Config, Host
from xmppws.config.upstream import Dns, Upstream
from xmppws.routers.upstream.router import UpstreamRouter

OPEN = f"<open xmlns='{FRAMING}' to='{DOMAIN}' version='1.0'/>"
AUTHORITY = trustme.CA()
UNREACHABLE = "upstream-unreachable: The server of this domain cannot be reached at the moment"


def context(leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (leaf or AUTHORITY.issue_cert(DOMAIN)).configure_cert(made)
    made.verify_mode = ssl.CERT_OPTIONAL
    AUTHORITY.configure_trust(made)
    return made


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def router_of(server: Running) -> UpstreamRouter:
    return server.server.routers.upstreams[DOMAIN]


@asynccontextmanager
async def opening(settings: Config, **options: Any) -> AsyncIterator[tuple[Running, Client]]:
    """Run a server, and a client that has sent its <open/>; in the end no connection and no task is left of it."""
    async with running(settings) as server:
        before = asyncio.all_tasks()
        async with connected(server.url, DOMAIN, **options) as client:
            await client.send(OPEN)
            yield server, client
        await until(lambda: router_of(server).connections.value == 0, timeout=5)
        await until(lambda: asyncio.all_tasks() <= before, timeout=5)


async def refused(client: Client, condition: str = "remote-connection-failed", text: str = UNREACHABLE) -> None:
    ended = await client.expect_end()
    assert (ended[0], ended[2]) == (condition, 1000)
    assert ended[1] == text, ended[1]


async def features(client: Client) -> str:
    """Return the features that the client gets."""
    assert (await client.receive()).tag == f"{{{FRAMING}}}open"
    return await client.receive_text()


# Servers that do not greet


LONG = "x" * 2_000_000
GREETINGS = {
    "hangs up": (None, "it closed the connection"),
    "ends the stream": (f"{HEADER}</stream:stream>", "it ended the stream at once"),
    "error": (
        f"{HEADER}<stream:error><host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        "it ended the stream with host-gone",
    ),
    "garbage": ("SSH-2.0-OpenSSH_9.2\r\n", "it broke the rules of XML streams"),
    "HTTP": ("HTTP/1.1 400 Bad Request\r\n\r\n", "it broke the rules of XML streams"),
    "half a header, then nothing": (HEADER[:60], "no greeting in "),
    "nothing": ("", "no greeting in "),
    "DTD": ("<!DOCTYPE a [<!ENTITY b 'c'>]>", "it broke the rules of XML streams"),
    "another namespace": (HEADER.replace("jabber:client", "jabber:server"), "it broke the rules of XML streams"),
    "megabytes": (f"{HEADER}<stream:features>{LONG}", "it broke the rules of XML streams"),
    "many elements": (
        f"{HEADER}<stream:features>{'<a/>' * 20_000}</stream:features>",
        "it broke the rules of XML streams",
    ),
    "too many names": (
        f"{HEADER}<stream:features>{''.join(f'<n{n:x}/>' for n in range(3000))}</stream:features>",
        "it broke the rules of XML streams",
    ),
    "a stanza": (f"{HEADER}<message/>", "it sent {jabber:client}message in place of stream features"),
    "no mechanism": (f"{HEADER}<stream:features/>", "it offers no way to log in"),
    "none that browsers can use": (
        f"{HEADER}<stream:features>{PLAIN.replace('PLAIN', 'EXTERNAL')}</stream:features>",
        "it offers only EXTERNAL, which browsers cannot use",
    ),
}


@pytest.mark.parametrize("name", GREETINGS)
async def test_a_server_that_does_not_greet(name: str, caplog: pytest.LogCaptureFixture) -> None:
    said, why = GREETINGS[name]
    began = time.monotonic()
    async with fake_upstream() as fake, opening(in_front_of(fake, connect_timeout=1.0)) as (server, client):
        peer = await fake.accept()
        await peer.hears_the_header()
        if said is None:
            peer.aborts()
        else:
            peer.says(said)
        await refused(client)
        assert f"{fake.address}: {why}" in caplog.text
        assert time.monotonic() - began < 4
        await peer.hears_the_end()
        assert router_of(server).failures.value == 1
    assert "Traceback" not in caplog.text


async def test_a_server_that_speaks_first(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(fake_upstream(first=f"{HEADER}<stream:features>"))
        _, client = await stack.enter_async_context(opening(in_front_of(fake, connect_timeout=1.0)))
        await refused(client)
        assert "it broke the rules" in caplog.text or "speaks before it is spoken to" in caplog.text


STARTTLS_GREETINGS = {
    "not offered": (PLAIN, "", "it offers no STARTTLS"),
    "refused": (STARTTLS, f"<failure xmlns='{TLS}'/>", "it refused STARTTLS"),
    "garbage": (STARTTLS, "<a></b></a>", "it broke the rules of XML streams"),
    "entities": (STARTTLS, "<a>&b;</a>", "it broke the rules of XML streams"),
    "names": (STARTTLS, "<a xml:foo='b'/>", "it broke the rules of XML streams"),
    "plaintext behind": (STARTTLS, f"<proceed xmlns='{TLS}'/><stream:features/>", "it sent more behind its consent"),
    "half an element behind": (STARTTLS, f"<proceed xmlns='{TLS}'/><stream", "it sent more behind its consent"),
    "much behind": (STARTTLS, f"<proceed xmlns='{TLS}'/>" + "<a/>" * 5000, "it sent more behind its consent"),
    "no TLS": (STARTTLS, f"<proceed xmlns='{TLS}'/>", "no greeting in "),
}


@pytest.mark.parametrize("name", STARTTLS_GREETINGS)
async def test_starttls_that_fails(name: str, ca_file: str, caplog: pytest.LogCaptureFixture) -> None:
    offered, answer, why = STARTTLS_GREETINGS[name]
    async with fake_upstream() as fake:
        settings = in_front_of(fake, connect_timeout=1.0, ca_file=ca_file, tls="starttls")
        async with opening(settings) as (_, client):
            peer = await fake.accept()
            await peer.greets(offered)
            if answer:
                await peer.hears("<starttls")
                peer.says(answer)
            await refused(client)
            assert f"{fake.address}: {why}" in caplog.text
            await peer.hears_the_end()
    assert "Traceback" not in caplog.text


async def test_starttls_and_a_login(ca_file: str) -> None:
    async with fake_upstream() as fake:
        async with opening(in_front_of(fake, tls="starttls", ca_file=ca_file)) as (_, client):
            peer = await fake.accept()
            await peer.greets(STARTTLS + PLAIN.replace("PLAIN", "PLAIN-BEFORE-TLS"))
            await peer.starts_tls(context())
            await peer.greets(PLAIN)
            offered = await features(client)
            assert "BEFORE-TLS" not in offered
            await client.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>")
            await peer.hears("</auth>")
            peer.says(SUCCESS)
            assert "success" in await client.receive_text()
            await client.send(OPEN)
            await peer.greets(BIND)
            assert "<bind" in await features(client)
            await client.close()
            assert await peer.hears_the_end() == "</stream:stream>"


# Clients that go away


PHASES = ["connected", "greets", "tls", "handshake", "greets again", "features", "auth", "success", "restart", "in"]


@pytest.mark.parametrize("phase", PHASES)
async def test_a_client_that_goes_away(phase: str, ca_file: str) -> None:
    async with fake_upstream() as fake:
        settings = in_front_of(fake, tls="starttls", ca_file=ca_file, connect_timeout=1.0)
        async with opening(settings) as (server, client):
            peer = await fake.accept()
            async with asyncio.timeout(20):
                await lead(peer, client, phase)
            (connection,) = server.server.endpoint.connections
            await client.socket.close()
            await peer.hears_the_end()
            await until(lambda: connection.ended is not None)
            await until(lambda: not server.server.endpoint.connections)


async def lead(peer: FakePeer, client: Client, phase: str) -> None:
    """Go on up to a phase."""
    steps = iter(PHASES)
    if phase == next(steps):
        return
    await peer.hears_the_header()
    if phase == next(steps):
        return
    peer.says(f"{HEADER}<stream:features>{STARTTLS}</stream:features>")
    if phase == next(steps):
        return
    if phase == next(steps):
        await peer.hears("<starttls")
        peer.says(f"<proceed xmlns='{TLS}'/>")
        return
    await peer.starts_tls(context())
    await peer.hears_the_header()
    if phase == next(steps):
        return
    peer.says(f"{HEADER}<stream:features>{PLAIN}</stream:features>")
    await features(client)
    if phase == next(steps):
        return
    await client.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>")
    await peer.hears("</auth>")
    if phase == next(steps):
        return
    peer.says(SUCCESS)
    await client.receive()
    if phase == next(steps):
        return
    await client.send(OPEN)
    await peer.hears_the_header()
    if phase == next(steps):
        return
    peer.says(f"{HEADER}<stream:features>{BIND}</stream:features>")
    await features(client)


async def test_a_server_that_stops_meanwhile() -> None:
    async with fake_upstream() as fake:
        async with opening(in_front_of(fake)) as (server, client):
            peer = await fake.accept()
            await peer.hears_the_header()
            await asyncio.wait_for(server.server.end_streams(), 10)
            assert (await client.expect_end())[0] == "system-shutdown"
            peer.says(f"{HEADER}<stream:features>{PLAIN}</stream:features>")
            assert await peer.hears_the_end() == ""


# Several


async def test_a_server_that_is_silent_leaves_time_for_the_next(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_upstream() as silent, fake_upstream() as other:
        async with opening(in_front_of(silent, other, connect_timeout=2.0)) as (_, client):
            await (await other.accept()).greets()
            assert "PLAIN" in await features(client)
            await (await silent.accept()).hears_the_end()


async def test_one_that_keeps_failing_is_tried_last(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_upstream() as bad, fake_upstream() as good, running(in_front_of(bad, good)) as server:
        for count in range(1, 5):
            async with connected(server.url, DOMAIN) as client:
                await client.send(OPEN)
                if count <= 3:
                    (await bad.accept()).aborts()
                await (await good.accept()).greets()
                await features(client)
        assert bad.accepted == 3
        assert router_of(server).ejected.value == 1
        await until(lambda: router_of(server).connections.value == 0)


async def test_all_that_fail_are_tried_still() -> None:
    async with fake_upstream() as one, fake_upstream() as other, running(in_front_of(one, other)) as server:
        for _ in range(4):
            async with connected(server.url, DOMAIN) as client:
                await client.send(OPEN)
                (await one.accept()).aborts()
                (await other.accept()).aborts()
                await refused(client)
        async with connected(server.url, DOMAIN) as client:
            await client.send(OPEN)
            await (await one.accept()).greets()
            await features(client)
        assert router_of(server).failures.value == 4


async def test_no_more_connections_than_allowed() -> None:
    async with fake_upstream() as fake, running(in_front_of(fake, max_connections=1)) as server:
        async with connected(server.url, DOMAIN) as first:
            await first.send(OPEN)
            await (await fake.accept()).greets()
            await features(first)
            async with connected(server.url, DOMAIN) as second:
                await second.send(OPEN)
                condition, text, _ = await second.expect_end()
                assert condition == "resource-constraint" and text.startswith("upstream-full: ")
        await until(lambda: router_of(server).connections.value == 0)
        async with connected(server.url, DOMAIN) as third:
            await third.send(OPEN)
            await (await fake.accept()).greets()
            await features(third)


# See-other-host


def elsewhere(where: str) -> str:
    condition = f"<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{where}</see-other-host>"
    return f"<stream:error>{condition}</stream:error></stream:stream>"


async def test_it_is_followed_before_the_login() -> None:
    async with fake_upstream() as one, fake_upstream() as other, opening(in_front_of(one)) as (_, client):
        peer = await one.accept()
        await peer.hears_the_header()
        peer.says(HEADER + elsewhere(other.address))
        await (await other.accept()).greets()
        assert "PLAIN" in await features(client)


@pytest.mark.parametrize("where", ["", "192.0.2.1", "not a host", "127.0.0.1:0", "127.0.0.1:99999", "-"])
async def test_nowhere_that_we_would_go(where: str, caplog: pytest.LogCaptureFixture) -> None:
    # 192.0.2.1 is no address of this machine, and there is no TLS.
    async with fake_upstream() as one, opening(in_front_of(one, connect_timeout=2.0)) as (_, client):
        peer = await one.accept()
        await peer.hears_the_header()
        peer.says(HEADER + elsewhere(where))
        await refused(client)
        assert "it sends its clients to" in caplog.text or "it ended the stream with see-other-host" in caplog.text
        assert one.accepted == 1


async def test_in_circles(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_upstream() as one, opening(in_front_of(one)) as (_, client):
        for _ in range(4):
            peer = await one.accept()
            await peer.hears_the_header()
            peer.says(HEADER + elsewhere(one.address))
        await refused(client)
        assert one.accepted == 4


@pytest.mark.parametrize("when", ["in place of features", "behind them"])
async def test_after_the_login_the_client_is_sent_to_us_again(when: str) -> None:
    async with fake_upstream() as one, fake_upstream() as other, running(in_front_of(one)) as server:
        async with connected(server.url, DOMAIN) as client:
            await client.send(OPEN)
            peer = await one.accept()
            await peer.greets()
            await features(client)
            await client.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>")
            await peer.hears("</auth>")
            peer.says(SUCCESS)
            await client.receive()
            await client.send(OPEN)
            if when == "behind them":
                await peer.greets(BIND)
                await features(client)
                peer.says(elsewhere(other.address))
            else:
                await peer.hears_the_header()
                peer.says(HEADER + elsewhere(other.address))
            close = await client.receive_until("close")
            assert close.tag == f"{{{FRAMING}}}close"
            assert close.get("see-other-uri") == f"wss://127.0.0.1:{server.port}/xmpp-websocket"
        for fake in (other, one):
            async with connected(server.url, DOMAIN) as client:
                await client.send(OPEN)
                await (await fake.accept()).greets()
                await features(client)
        await until(lambda: router_of(server).connections.value == 0)


# The address of the client


FORWARDED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.mark.parametrize(
    ("client", "version", "header"),
    [
        ("203.0.113.7", "v1", b"PROXY TCP4 203.0.113.7 127.0.0.1 0 %d\r\n"),
        (
            "2001:db8::7",
            "v1",
            b"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 0000:0000:0000:0000:0000:ffff:7f00:0001 0 %d\r\n",
        ),
        ("203.0.113.7", "v2", V2 + b"\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x00\x00"),
    ],
)
async def test_the_server_learns_the_address_of_the_client(client: str, version: str, header: bytes) -> None:
    async with fake_upstream() as fake:
        settings = in_front_of(fake, proxy_protocol=version)
        settings = replace(settings, http=replace(settings.http, trusted_proxies=("127.0.0.1",)))
        async with opening(settings, headers={**FORWARDED, "X-Forwarded-For": client}) as (_, client_):
            peer = await fake.accept()
            expected = header % fake.port if b"%d" in header else header + fake.port.to_bytes(2, "big")
            assert await peer.hears_bytes(len(expected)) == expected
            await peer.greets()
            await features(client_)


async def test_the_header_comes_before_tls(ca_file: str) -> None:
    # A server that reads it takes what follows for the beginning of TLS; this one sees the bytes.
    async with fake_upstream() as fake:
        settings = in_front_of(fake, proxy_protocol="v1", tls="direct", ca_file=ca_file, connect_timeout=1.0)
        async with opening(settings) as (_, client):
            peer = await fake.accept()
            assert await peer.hears("\r\n") == f"PROXY TCP4 127.0.0.1 127.0.0.1 0 {fake.port}\r\n"
            assert (await peer.hears_bytes(2)) == b"\x16\x03"
            await refused(client)


async def test_a_unix_socket(tmp_path: Path) -> None:
    async with fake_upstream(path=str(tmp_path / "s")) as fake:
        async with opening(in_front_of(fake, proxy_protocol="v1")) as (_, client):
            peer = await fake.accept()
            assert await peer.hears("\r\n") == "PROXY UNKNOWN\r\n"
            await peer.greets()
            assert "PLAIN" in await features(client)


# Certificates, of both sides


def expired() -> trustme.LeafCert:
    now = datetime.now(UTC)
    return AUTHORITY.issue_cert(DOMAIN, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))


@pytest.mark.parametrize("tls", ["starttls", "direct"])
@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        (lambda: AUTHORITY.issue_cert("other.test"), "its certificate is for another name"),
        (expired, "its certificate has expired"),
        (lambda: trustme.CA().issue_cert(DOMAIN), "its certificate is signed by an authority that is not trusted here"),
    ],
    ids=["name", "expired", "authority"],
)
async def test_a_certificate_that_is_wrong(
    leaf: Any, why: str, tls: str, ca_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    shown = context(leaf())
    async with fake_upstream(context=shown if tls == "direct" else None) as fake:
        async with opening(in_front_of(fake, tls=tls, ca_file=ca_file)) as (_, client):
            if tls == "starttls":
                peer = await fake.accept()
                await peer.greets(STARTTLS)
                with suppress(OSError):
                    await peer.starts_tls(shown)
            await refused(client)
            assert why in caplog.text


async def test_our_own_certificate_is_shown_and_external_is_not_for_browsers(tmp_path: Path, ca_file: str) -> None:
    own = AUTHORITY.issue_cert("xmppws.example.test")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    async with fake_upstream() as fake:
        settings = in_front_of(fake, tls="starttls", ca_file=ca_file, certificate=str(tmp_path / "own.pem"))
        async with opening(settings) as (_, client):
            peer = await fake.accept()
            await peer.greets(STARTTLS)
            await peer.starts_tls(context())
            assert ("xmppws.example.test" in str(peer.certificate)) and peer.certificate
            external = "<mechanism>EXTERNAL</mechanism><mechanism>PLAIN"
            await peer.greets(PLAIN.replace("<mechanism>PLAIN", external))
            offered = await features(client)
            assert "PLAIN" in offered and "EXTERNAL" not in offered
            await client.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")
            assert "invalid-mechanism" in await client.receive_text()
            await client.close()
            assert await peer.hears_the_end() == "</stream:stream>"


async def test_reload_reads_the_authorities_again(ca_file: str, caplog: pytest.LogCaptureFixture) -> None:
    other = trustme.CA()
    shown = context(other.issue_cert(DOMAIN))
    async with fake_upstream(context=shown) as fake:
        async with running(in_front_of(fake, tls="direct", ca_file=ca_file)) as server:

            async def is_let_in() -> bool:
                async with connected(server.url, DOMAIN) as client:
                    await client.send(OPEN)
                    first = asyncio.ensure_future(client.receive_until("features"))
                    ended = asyncio.ensure_future(greet_next(fake))
                    try:
                        await first
                    except Exception:
                        return False
                    finally:
                        ended.cancel()
                    return True

            assert not await is_let_in()
            Path(ca_file).write_text("nothing")
            await server.server.reload()
            assert f"hosts.{DOMAIN}.upstream: ca_file {ca_file}: there is no certificate in PEM in it" in caplog.text
            assert not await is_let_in()
            other.cert_pem.write_to_path(ca_file)
            await server.server.reload()
            assert await is_let_in()


async def greet_next(fake: FakeUpstream) -> None:
    while True:
        try:
            await (await fake.accept()).greets()
        except (EOFError, OSError):
            continue


async def test_a_ca_file_that_is_missing_is_told_at_the_start() -> None:
    with pytest.raises(StartError, match=rf"^hosts\.{DOMAIN}\.router: ca_file /nonexistent/ca cannot be read"):
        async with running(in_front_of(tls="starttls", ca_file="/nonexistent/ca")):
            pass


# DNS


SERVICE, DIRECT = f"_xmpp-client._tcp.{DOMAIN}", f"_xmpps-client._tcp.{DOMAIN}"
HERE = "here.host.test"


@asynccontextmanager
async def by_dns(ca_file: str, **options: Any) -> AsyncIterator[tuple[NameServer, Config]]:
    async with name_server() as names:
        names.add(HERE, "A", "127.0.0.1")
        names.zone.setdefault(DOMAIN, [])
        settings = in_front_of(tls="starttls", ca_file=ca_file, **{"connect_timeout": 3.0, **options})
        yield names, replace(settings, dns=Dns(nameservers=(names.address,), timeout=1.0))


async def test_srv_priorities_and_a_dead_first_target(ca_file: str) -> None:
    async with (
        by_dns(ca_file) as (names, settings),
        fake_upstream(context=context()) as direct,
        AsyncExitStack() as stack,
    ):
        gone = await stack.enter_async_context(fake_upstream())
        names.add(SERVICE, "SRV", f"5 0 {gone.port} {HERE}.", f"30 0 {direct.port} {HERE}.")
        names.add(DIRECT, "SRV", f"20 0 {direct.port} {HERE}.")
        await stack.aclose()
        async with opening(settings) as (_, client):
            await (await direct.accept()).greets()
            assert "PLAIN" in await features(client)
        assert direct.accepted == 1


def no_service(names: NameServer, port: int) -> None:
    names.add(SERVICE, "SRV", "0 0 0 .")


def no_records(names: NameServer, port: int) -> None:
    names.add(f"www.{DOMAIN}", "A", "127.0.0.1")


def no_domain(names: NameServer, port: int) -> None:
    names.zone.clear()


def no_host(names: NameServer, port: int) -> None:
    names.add(SERVICE, "SRV", f"0 0 {port} nowhere.host.test.")


def nobody_there(names: NameServer, port: int) -> None:
    names.add(SERVICE, "SRV", f"0 0 1 {HERE}.")


def no_answer(names: NameServer, port: int) -> None:
    names.dropped = {SERVICE, DIRECT, DOMAIN}


def trouble(names: NameServer, port: int) -> None:
    names.failing = {SERVICE, DIRECT}


def silence(names: NameServer, port: int) -> None:
    names.add(SERVICE, "SRV", f"0 0 {port} {HERE}.")


@pytest.mark.parametrize(
    ("zone", "why"),
    [
        (no_service, f'{DOMAIN} offers no service to XMPP clients: its SRV record has the target "."'),
        (no_records, f"{DOMAIN} has no address in DNS, neither A nor AAAA"),
        (no_domain, f"there is no name {DOMAIN} in DNS (NXDOMAIN)"),
        (no_host, "there is no name nowhere.host.test in DNS (NXDOMAIN)"),
        (nobody_there, f"{HERE}:1 at 127.0.0.1: connection refused"),
        (no_answer, f"no name server answered for {DOMAIN} within 1s"),
        (trouble, f"the name servers gave no answer for {SERVICE}"),
        (silence, "no greeting in "),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_dns_that_leads_nowhere(zone: Any, why: str, ca_file: str, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    async with by_dns(ca_file) as (names, settings), fake_upstream() as silent:
        zone(names, silent.port)
        async with opening(settings) as (_, client):
            await refused(client)
            assert why in caplog.text
    assert time.monotonic() - began < 8
    assert "Traceback" not in caplog.text


async def test_a_connection_that_nobody_takes(ca_file: str, caplog: pytest.LogCaptureFixture) -> None:
    # TEST-NET: what is sent there is lost, or refused by the next machine.
    settings = in_front_of(tls="starttls", ca_file=ca_file, address=("192.0.2.1:5222",), connect_timeout=0.5)
    async with opening(settings) as (_, client):
        await refused(client)
        why = r"(no answer within 0\.\ds|network is unreachable|no route to host|connection refused)"
        assert re.search(rf"192\.0\.2\.1:5222: {why}", caplog.text)


# Mixed


async def test_a_local_host_beside_one_behind(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_upstream() as fake:
        upstream = Upstream(address=(fake.address,), tls="none")
        hosts = {
            DOMAIN: Host(http_host=("127.0.0.1",), router="upstream", upstream=upstream),
            "localhost": Host(http_host=("localhost",)),
        }
        with caplog.at_level(logging.INFO):
            async with running(config(hosts=hosts)) as server:
                local = server.url.replace("127.0.0.1", "localhost")
                async with logged_in(local, "alice", "wonder land") as alice, connected(server.url, DOMAIN) as client:
                    assert set(server.server.hosts) == {"localhost"}
                    await client.send(OPEN)
                    peer = await fake.accept()
                    await peer.greets()
                    await features(client)
                    peer.aborts()
                    assert (await client.expect_end())[0] == "remote-connection-failed"
                    info = await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")
                    assert info.get("type") == "result"
                assert set(server.server.routers.upstreams) == {DOMAIN}
        assert f"host={DOMAIN} upstream: the connection was lost" in caplog.text
        assert "upstream-lost" in caplog.text and "by=upstream" in caplog.text


# As it is run: a process of its own, with uvloop, over TLS


FILE = """
data_dir = "{directory}"
admin_socket = ""
metrics.listen = []
http.listen = ["127.0.0.1:0"]
http.consider_websocket_secure = true
[hosts."{domain}"]
http_host = ["127.0.0.1"]
router = "upstream"
[hosts."{domain}".upstream]
address = ["{address}"]
tls = "direct"
ca_file = "{ca_file}"
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a kernel that tells memory: Linux")
async def test_pressure_both_ways_in_a_process_of_its_own(tmp_path: Path, ca_file: str) -> None:
    # The buffers of the kernel take up to 40 megabytes of it.
    count, filling = 6000, "x" * 10_000
    async with fake_upstream(context=context()) as fake:
        file = tmp_path / "xmppws.toml"
        file.write_text(FILE.format(directory=tmp_path, domain=DOMAIN, address=fake.address, ca_file=ca_file))
        async with program(file) as started, connected(started.url, DOMAIN) as client:
            await client.send(OPEN)
            peer = await fake.accept()
            await peer.greets()
            await features(client)
            await client.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>")
            await peer.hears("</auth>")
            peer.says(SUCCESS)
            await client.receive()
            await client.send(OPEN)
            await peer.greets(BIND)
            await features(client)

            response = client.socket._response
            assert response.connection is not None and response.connection.transport is not None
            stops_reading(response.connection.transport)
            before = resident(started)
            said = sent = 0

            async def flood_down() -> None:
                nonlocal said
                for number in range(count):
                    peer.says(f"<message id='{number}'><body>{filling}</body></message>")
                    await peer.is_ready()
                    said += 1

            flooding = asyncio.ensure_future(flood_down())
            assert await settled(lambda: said) < count
            assert resident(started) < before + 20_000
            response.connection.transport.resume_reading()
            for number in range(count):
                assert (await client.receive()).get("id") == str(number)

            await flooding

            peer.stops_reading()

            async def flood_up() -> None:
                nonlocal sent
                for number in range(count):
                    await client.send(f"<message xmlns='jabber:client' id='{number}'><body>{filling}</body></message>")
                    sent += 1

            flooding = asyncio.ensure_future(flood_up())
            assert await settled(lambda: sent) < count
            assert resident(started) < before + 20_000
            peer.reads_again()
            for number in range(count):
                assert f"id='{number}'" in await peer.hears("</message>")
            await flooding
            await client.socket.close()
            await peer.hears_the_end()
            assert not [line for line in started.lines if "Traceback" in line]


async def settled(number: Callable[[], int]) -> int:
    """Return a number that does not change any more."""
    found = -1
    while found != number():
        found = number()
        await asyncio.sleep(1)
    return found


def resident(started: Program) -> int:
    """Return the memory of a process in KiB."""
    status = Path(f"/proc/{started.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1])
