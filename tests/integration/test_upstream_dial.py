"""Finding and dialling a server: real name server, real TCP and TLS."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from inspect import signature
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nameserver import NameServer, name_server
from waiting import until
from xmppws.routers.upstream.dial import Dialled, dial
from xmppws.routers.upstream.dns import Resolver
from xmppws.routers.upstream.errors import NoSuchName, TlsFileError, Unreachable, Untrusted, UpstreamError
from xmppws.routers.upstream.targets import Target
from xmppws.routers.upstream.tls import ClientTls

DOMAIN = "example.test"
STARTTLS, DIRECT = f"_xmpp-client._tcp.{DOMAIN}", f"_xmpps-client._tcp.{DOMAIN}"
ROOT = trustme.CA()
AUTHORITY = ROOT.create_child_ca()
# A name that leads to loopback.
HERE = "here.host.test"


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        server.add(HERE, "A", "127.0.0.1")
        yield server


@pytest.fixture
async def resolver(names: NameServer) -> AsyncIterator[Resolver]:
    resolver = Resolver([names.address], timeout=2.0, clock=time.monotonic)
    yield resolver
    await resolver.close()


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    ROOT.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def tls(ca_file: str) -> ClientTls:
    return ClientTls(ca_file)


# Servers


class Seen:
    """What a server saw of its clients."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.bytes = b""
        self.sni: list[str | None] = []
        self.alpn: list[str | None] = []
        self.clients: list[Any] = []


def certified(*names: str, by: trustme.CA = AUTHORITY, **options: Any) -> trustme.LeafCert:
    return by.issue_cert(*(names or [DOMAIN]), **options)


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols(["xmpp-client"])
    context.verify_mode = ssl.CERT_OPTIONAL
    ROOT.configure_trust(context)
    return context


def noting(context: ssl.SSLContext, seen: Seen) -> ssl.SSLContext:
    context.sni_callback = lambda _, name, __: seen.sni.append(name)
    return context


class Talker(asyncio.Protocol):
    """Answers "hello" to a line, and goes over to TLS after the line "starttls"; says `first` at once."""

    def __init__(self, seen: Seen, context: ssl.SSLContext | None, first: bytes) -> None:
        self._seen = seen
        self._context = context
        self._first = first
        self._transport: Any = None
        self._upgrade: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._note()
        self._transport.write(self._first)

    def data_received(self, data: bytes) -> None:
        self._seen.bytes += data
        if data == b"starttls\n":
            self._transport.write(b"proceed\n")
            self._upgrade = asyncio.create_task(self._start_tls())
        elif self._upgrade and not self._upgrade.done():
            # What comes right behind the handshake is here before the new transport.
            self._upgrade.add_done_callback(lambda _: self._transport.write(b"hello\n"))
        elif data.endswith(b"\n"):
            self._transport.write(b"hello\n")

    async def end(self) -> None:
        if self._upgrade:
            await self._upgrade
        if self._transport:
            self._transport.abort()

    async def _start_tls(self) -> None:
        assert self._context
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            upgraded = await loop.start_tls(self._transport, self, self._context, server_side=True)
            self._transport = upgraded or self._transport
            self._note()

    def _note(self) -> None:
        if tls := self._transport.get_extra_info("ssl_object"):
            self._seen.alpn.append(tls.selected_alpn_protocol())
            self._seen.clients.append(self._transport.get_extra_info("peercert"))


@asynccontextmanager
async def serving(
    certificate: trustme.LeafCert | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    direct: bool = False,
    first: bytes = b"",
    path: str = "",
) -> AsyncIterator[Seen]:
    """Serve with a `Talker` for each connection."""
    seen = Seen(port)
    context = noting(server_context(certificate), seen) if certificate else None
    talkers: list[Talker] = []

    def talk() -> Talker:
        talkers.append(Talker(seen, context, first))
        return talkers[-1]

    loop = asyncio.get_running_loop()
    if path:
        server = await loop.create_unix_server(talk, path)
    else:
        server = await loop.create_server(talk, host, port, ssl=context if direct else None)
        seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        for talker in talkers:
            await talker.end()
        server.close()
        await server.wait_closed()


@contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Hold a port where connections are neither accepted nor refused: its queue is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        waiting = [socket.socket(family) for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for each in waiting:
                each.close()


def closed_port(host: str = "127.0.0.1") -> int:
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as bound:
        bound.bind((host, 0))
        return int(bound.getsockname()[1])


# The client


class Talk(asyncio.Protocol):
    """A protocol that keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.transport: Any = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.transport is None
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    async def ask(self, transport: asyncio.Transport, line: bytes, answer: bytes = b"hello\n") -> None:
        transport.write(line + b"\n")
        await until(lambda: self.heard.endswith(answer), 5)
        self.heard = b""


Dial = Callable[..., Any]


def dialler(resolver: Resolver, tls: ClientTls) -> Dial:
    """Return how to dial the domain, or targets; `tls`, `connect_timeout` and `preface` may differ."""

    @asynccontextmanager
    async def run(*targets: Target, **options: Any) -> AsyncIterator[Dialled[Talk]]:
        found = targets or await resolver.client_targets(DOMAIN, Random(0))
        given = {"domain": DOMAIN, "resolver": resolver, "tls": tls, "connect_timeout": 8.0, **options}
        dialled = await dial(found, Talk, **given)
        try:
            assert dialled.protocol.transport is dialled.transport
            yield dialled
        finally:
            dialled.transport.abort()
            await until(lambda: dialled.protocol.lost, 5)

    return run


@pytest.fixture
def dialling(resolver: Resolver, tls: ClientTls) -> Dial:
    return dialler(resolver, tls)


async def failure(dialling: Dial, *targets: Target, **options: Any) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        async with dialling(*targets, **options):
            pass
    return caught.value


# Ways that lead there


async def test_starttls_by_srv(names: NameServer, dialling: Dial, tls: ClientTls) -> None:
    async with serving(certified()) as server:
        names.add(STARTTLS, "SRV", f"0 0 {server.port} {HERE}.")
        async with dialling() as dialled:
            assert str(dialled.target) == f"{HERE}:{server.port}"
            await dialled.protocol.ask(dialled.transport, b"plain")
            await dialled.protocol.ask(dialled.transport, b"starttls", b"proceed\n")
            secured = await tls.secure(dialled.transport, dialled.protocol, dialled.expected, direct=False)
            await dialled.protocol.ask(secured, b"secret")
            assert secured.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
            assert (server.sni, server.alpn) == ([DOMAIN], [None])


async def test_direct_tls_by_srv(names: NameServer, dialling: Dial) -> None:
    async with serving(certified(), direct=True) as server:
        names.add(DIRECT, "SRV", f"0 0 {server.port} {HERE}.")
        async with dialling() as dialled:
            assert dialled.target.direct_tls
            await dialled.protocol.ask(dialled.transport, b"secret")
            assert (server.sni, server.alpn) == ([DOMAIN], ["xmpp-client"])
            assert dialled.failures == ()


async def test_a_wildcard_covers_the_domain(names: NameServer, dialling: Dial) -> None:
    async with serving(certified("*.test"), direct=True) as server:
        # One label alone is too few for a wildcard to stand before.
        found = await failure(dialling, Target("127.0.0.1", server.port, direct_tls=True))
        assert "is for another name: not for example.test, but for *.test" in str(found)
    async with serving(certified("*.example.test"), direct=True) as server:
        async with dialling(Target("127.0.0.1", server.port, direct_tls=True), domain="a.example.test") as dialled:
            await dialled.protocol.ask(dialled.transport, b"secret")


async def test_a_dead_first_target(names: NameServer, dialling: Dial) -> None:
    dead = closed_port()
    async with serving() as server:
        names.add(
            STARTTLS, "SRV", f"0 0 {dead} {HERE}.", f"10 0 {server.port} {HERE}.", f"20 0 {dead} later.example.test."
        )
        async with dialling() as dialled:
            assert dialled.target.port == server.port
            assert list(map(str, dialled.failures)) == [f"{HERE}:{dead} at 127.0.0.1: connection refused"]
            assert dialled.others == (Target("later.example.test", dead),)


async def test_a_target_whose_name_is_missing(names: NameServer, dialling: Dial) -> None:
    async with serving() as server:
        names.add(STARTTLS, "SRV", "0 0 5222 gone.example.test.", f"10 0 {server.port} {HERE}.")
        async with dialling() as dialled:
            (failed,) = dialled.failures
            assert isinstance(failed.error, NoSuchName)


async def test_a_silent_first_target_costs_a_moment(names: NameServer, dialling: Dial) -> None:
    with black_hole() as silent:
        async with serving() as server:
            names.add(STARTTLS, "SRV", f"0 0 {silent} {HERE}.", f"10 0 {server.port} {HERE}.")
            began = time.monotonic()
            async with dialling() as dialled:
                assert dialled.target.port == server.port
                assert time.monotonic() - began < 4


async def test_a_target_that_is_the_wrong_one_is_passed_over(names: NameServer, dialling: Dial) -> None:
    async with serving(certified("other.test"), direct=True) as wrong, serving(certified(), direct=True) as right:
        names.add(DIRECT, "SRV", f"0 0 {wrong.port} {HERE}.", f"10 0 {right.port} {HERE}.")
        async with dialling() as dialled:
            await dialled.protocol.ask(dialled.transport, b"secret")
            assert dialled.target.port == right.port
            assert wrong.bytes == b""


@pytest.mark.parametrize("kind", ["refusing", "silent"])
async def test_ipv6_that_is_dead_does_not_matter(kind: str, names: NameServer, dialling: Dial) -> None:
    names.add("both.example.test", "AAAA", "::1")
    names.add("both.example.test", "A", "127.0.0.1")
    async with serving() as server:
        names.add(STARTTLS, "SRV", f"0 0 {server.port} both.example.test.")
        began = time.monotonic()
        if kind == "refusing":
            async with dialling() as dialled:
                await dialled.protocol.ask(dialled.transport, b"plain")
        else:
            with black_hole("::1", server.port):
                async with dialling() as dialled:
                    await dialled.protocol.ask(dialled.transport, b"plain")
        assert time.monotonic() - began < 3


async def test_ipv4_that_is_dead_does_not_matter(names: NameServer, dialling: Dial) -> None:
    names.add("both.example.test", "AAAA", "::1")
    names.add("both.example.test", "A", "127.0.0.1")
    async with serving(host="::1") as server:
        names.add(STARTTLS, "SRV", f"0 0 {server.port} both.example.test.")
        async with dialling() as dialled:
            assert dialled.transport.get_extra_info("peername")[0] == "::1"


async def test_a_unix_socket(tmp_path: Path, dialling: Dial) -> None:
    path = str(tmp_path / "s")
    missing = str(tmp_path / "missing")
    async with serving(path=path):
        async with dialling(Target(path=missing), Target(path=path)) as dialled:
            await dialled.protocol.ask(dialled.transport, b"plain")
            assert list(map(str, dialled.failures)) == [f"unix:{missing}: no such file or directory"]


@pytest.mark.parametrize("direct", [False, True])
async def test_a_preface_stands_before_all_else(direct: bool, dialling: Dial) -> None:
    received = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.readexactly(12))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = Target("127.0.0.1", port, direct_tls=direct)

    def preface(transport: asyncio.Transport) -> bytes:
        assert transport.get_extra_info("peername")[1] == port
        return b"PROXY\r\n"

    try:
        async with dialling(target, preface=preface) as dialled:
            dialled.transport.write(b"\x16stream")
            assert await received == b"PROXY\r\n\x16stre"
    except Unreachable:
        assert direct
    assert (await received)[:8] == b"PROXY\r\n\x16"
    server.close()
    await server.wait_closed()


async def test_a_certificate_of_our_own(tmp_path: Path, ca_file: str, dialling: Dial) -> None:
    mine = certified("client.test")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    async with serving(certified(), direct=True) as server:
        target = Target("127.0.0.1", server.port, direct_tls=True)
        async with dialling(target, tls=ClientTls(ca_file, str(tmp_path / "client.pem"))) as dialled:
            await dialled.protocol.ask(dialled.transport, b"secret")
            assert server.clients[0]["subjectAltName"] == (("DNS", "client.test"),)


# Ways that do not


async def test_no_such_domain(dialling: Dial) -> None:
    found = await failure(dialling)
    assert str(found) == (
        "no connection to the server of example.test: example.test:5222: "
        "there is no name example.test in DNS (NXDOMAIN)"
    )
    assert isinstance(found.failures[0].error, NoSuchName)


async def test_without_records_it_is_the_domain_itself(names: NameServer, dialling: Dial) -> None:
    # Nobody listens on this address of loopback.
    names.add(DOMAIN, "A", "127.91.82.73")
    found = await failure(dialling)
    assert [str(each) for each in found.failures] == ["example.test:5222 at 127.91.82.73: connection refused"]


async def test_records_are_not_fallen_back_from(names: NameServer, dialling: Dial) -> None:
    dead = closed_port()
    names.add(DOMAIN, "A", "127.0.0.1")
    names.add(STARTTLS, "SRV", f"0 0 {dead} {HERE}.")
    found = await failure(dialling)
    assert [each.where for each in found.failures] == [f"{HERE}:{dead} at 127.0.0.1"]


async def test_nobody_answers(dialling: Dial) -> None:
    with black_hole() as one, black_hole() as two:
        began = time.monotonic()
        targets = Target("127.0.0.1", one), Target("127.0.0.1", two)
        found = await failure(dialling, *targets, connect_timeout=1.3)
        assert time.monotonic() - began < 3
    assert sorted(each.where for each in found.failures) == sorted(map(str, targets))
    assert all(str(each.error).startswith("no answer within ") for each in found.failures)


async def test_a_slow_name_server_ends_in_time(names: NameServer, dialling: Dial) -> None:
    names.held = {HERE}
    found = await failure(dialling, Target(HERE, 5222), connect_timeout=0.3)
    assert str(found).startswith(f"no connection to the server of {DOMAIN}: {HERE}:5222: no answer within 0.")


async def test_a_tls_server_that_says_nothing_ends_in_time(dialling: Dial) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        target = Target("127.0.0.1", silent.getsockname()[1], direct_tls=True)
        assert "(direct TLS): no answer within" in str(await failure(dialling, target, connect_timeout=0.4))


def expired() -> trustme.LeafCert:
    past = datetime.now(UTC) - timedelta(days=9)
    return certified(not_before=past, not_after=past + timedelta(days=1))


def early() -> trustme.LeafCert:
    soon = datetime.now(UTC) + timedelta(days=1)
    return certified(not_before=soon, not_after=soon + timedelta(days=1))


BAD = [
    (lambda: certified("other.test"), "its certificate is for another name: not for example.test, but for other.test"),
    (lambda: certified(HERE), f"its certificate is for another name: not for example.test, but for {HERE}"),
    (expired, "its certificate has expired"),
    (early, "its certificate is not valid yet"),
    (lambda: certified(by=trustme.CA()), "its certificate is signed by an authority that is not trusted here"),
]


@pytest.mark.parametrize(("make", "text"), BAD)
async def test_certificates_that_are_refused(
    make: Callable[[], trustme.LeafCert], text: str, names: NameServer, dialling: Dial, tls: ClientTls
) -> None:
    certificate = make()
    async with serving(certificate, direct=True) as server:
        names.add(DIRECT, "SRV", f"0 0 {server.port} {HERE}.")
        found = await failure(dialling)
        assert text in str(found)
        assert isinstance(found.failures[0].error, Untrusted)
    async with serving(certificate) as server, dialling(Target("127.0.0.1", server.port)) as dialled:
        await dialled.protocol.ask(dialled.transport, b"starttls", b"proceed\n")
        with pytest.raises(Untrusted, match=text):
            await tls.secure(dialled.transport, dialled.protocol, dialled.expected, direct=False)
        assert dialled.protocol.heard == b""
        dialled.protocol.lost = True


async def test_a_self_signed_certificate_is_refused_unless_named(tmp_path: Path, dialling: Dial) -> None:
    pem = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    target = Target("127.0.0.1", server.sockets[0].getsockname()[1], direct_tls=True)
    assert "its certificate is self-signed; `ca_file` can name it" in str(await failure(dialling, target))
    async with dialling(target, tls=ClientTls(pem)) as dialled:
        await dialled.protocol.ask(dialled.transport, b"secret", b"secret\n")
    server.close()
    await server.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1000):
            writer.write(data)
    except OSError:
        pass
    writer.close()


def self_signed(directory: Path) -> str:
    """Write a certificate for the domain that is its own authority, with its key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, DOMAIN)])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(days=1)
    )
    made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), False).sign(key, SHA256())
    path = directory / "self-signed.pem"
    path.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return str(path)


async def test_what_is_no_tls(dialling: Dial) -> None:
    async with serving(first=b"220 smtp.example.test ESMTP\r\n") as server:
        found = await failure(dialling, Target("127.0.0.1", server.port, direct_tls=True))
        # The greeting came before the handshake began, or after.
        assert re.search("it speaks before it is spoken to|it does not answer with TLS", str(found))


async def test_a_server_that_hangs_up(dialling: Dial) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    target = Target("127.0.0.1", server.sockets[0].getsockname()[1], direct_tls=True)
    assert "it closed the connection during the TLS handshake" in str(await failure(dialling, target))
    server.close()
    await server.wait_closed()


async def test_a_server_that_speaks_first_after_tls_is_not_listened_to(dialling: Dial) -> None:
    async with serving(certified("other.test"), direct=True, first=b"trust me") as server:
        found = await failure(dialling, Target("127.0.0.1", server.port, direct_tls=True))
        assert isinstance(found.failures[0].error, Untrusted)


# DANE


def tlsa(usage: int, certificate: x509.Certificate) -> str:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{usage} 1 1 {sha256(key).hexdigest()}"


def parsed(blob: trustme.Blob) -> x509.Certificate:
    return x509.load_pem_x509_certificate(blob.bytes())


def publish(names: NameServer, port: int, *records: str, validated: bool = True) -> None:
    names.validated = validated
    names.add(DIRECT, "SRV", f"0 0 {port} {HERE}.")
    if records:
        names.add(f"_{port}._tcp.{HERE}", "TLSA", *records)


async def test_dane_replaces_the_authorities(names: NameServer, dialling: Dial) -> None:
    foreign = trustme.CA()
    theirs = certified("whatever.test", by=foreign)
    async with serving(theirs, direct=True) as server:
        publish(names, server.port, tlsa(3, parsed(theirs.cert_chain_pems[0])))
        async with dialling() as dialled:
            await dialled.protocol.ask(dialled.transport, b"secret")


async def test_dane_with_an_authority_of_its_own(names: NameServer, dialling: Dial) -> None:
    root = trustme.CA()
    child = root.create_child_ca()
    theirs = certified(by=child)
    async with serving(theirs, direct=True) as server:
        publish(names, server.port, tlsa(2, parsed(child.cert_pem)))
        async with dialling() as dialled:
            await dialled.protocol.ask(dialled.transport, b"secret")


@pytest.mark.parametrize("usage", [0, 1, 2, 3])
async def test_tlsa_records_that_say_otherwise(usage: int, names: NameServer, dialling: Dial) -> None:
    async with serving(certified(), direct=True) as server:
        publish(names, server.port, tlsa(usage, parsed(certified().cert_chain_pems[0])))
        found = await failure(dialling)
        assert "its certificate is none that its TLSA records in DNS accept" in str(found)
        assert server.bytes == b""


@pytest.mark.parametrize("usage", [0, 1])
async def test_records_that_add_to_the_authorities(usage: int, names: NameServer, dialling: Dial) -> None:
    theirs = certified()
    async with serving(theirs, direct=True) as server:
        # The root is not sent: it is found in the verified chain.
        publish(names, server.port, tlsa(usage, parsed([ROOT.cert_pem, theirs.cert_chain_pems[0]][usage])))
        async with dialling() as dialled:
            await dialled.protocol.ask(dialled.transport, b"secret")
    foreign = certified(by=trustme.CA())
    names.zone = {HERE: names.zone[HERE]}
    async with serving(foreign, direct=True) as server:
        names.add(f"_{server.port}._tcp.{HERE}", "TLSA", tlsa(1, parsed(foreign.cert_chain_pems[0])))
        found = await failure(dialling, Target(HERE, server.port, direct_tls=True, validated=True))
        assert "not trusted here" in str(found)


async def test_without_validation_tlsa_records_count_for_nothing(names: NameServer, dialling: Dial) -> None:
    theirs, foreign = certified(), certified(by=trustme.CA())
    async with serving(theirs, direct=True) as good, serving(foreign, direct=True) as bad:
        publish(names, good.port, tlsa(3, parsed(foreign.cert_chain_pems[0])), validated=False)
        async with dialling() as dialled:
            await dialled.protocol.ask(dialled.transport, b"secret")
        names.add(f"_{bad.port}._tcp.{HERE}", "TLSA", tlsa(3, parsed(foreign.cert_chain_pems[0])))
        assert "not trusted here" in str(await failure(dialling, Target(HERE, bad.port, direct_tls=True)))


async def test_tlsa_records_that_cannot_be_had_keep_us_away(names: NameServer, dialling: Dial) -> None:
    async with serving(certified(), direct=True) as server:
        publish(names, server.port)
        names.failing = {f"_{server.port}._tcp.{HERE}"}
        assert "the name servers gave no answer for _" in str(await failure(dialling))
        assert server.sni == []


@pytest.mark.parametrize("validated", [False, True])
async def test_the_name_of_the_machine_counts_when_dnssec_leads_there(
    validated: bool, names: NameServer, dialling: Dial
) -> None:
    async with serving(certified(HERE), direct=True) as server:
        publish(names, server.port, validated=validated)
        if validated:
            async with dialling() as dialled:
                await dialled.protocol.ask(dialled.transport, b"secret")
        else:
            assert "is for another name" in str(await failure(dialling))


async def test_dane_for_starttls(names: NameServer, dialling: Dial, tls: ClientTls) -> None:
    theirs = certified("whatever.test", by=trustme.CA())
    names.validated = True
    async with serving(theirs) as server:
        names.add(STARTTLS, "SRV", f"0 0 {server.port} {HERE}.")
        names.add(f"_{server.port}._tcp.{HERE}", "TLSA", tlsa(3, parsed(theirs.cert_chain_pems[0])))
        async with dialling() as dialled:
            await dialled.protocol.ask(dialled.transport, b"starttls", b"proceed\n")
            secured = await tls.secure(dialled.transport, dialled.protocol, dialled.expected, direct=False)
            await dialled.protocol.ask(secured, b"secret")


# Files


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    missing, empty, locked = (str(tmp_path / name) for name in ("missing", "empty", "locked"))
    Path(empty).write_text("nothing\n")
    mine = certified()
    chain = b"".join(blob.bytes() for blob in mine.cert_chain_pems)
    Path(locked).write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    (tmp_path / "chain").write_bytes(chain)
    own = str(tmp_path / "chain")
    other = tmp_path / "other"
    certified().private_key_pem.write_to_path(other)
    for arguments, text in (
        ((missing,), f"ca_file {missing} cannot be read: No such file or directory"),
        ((empty,), f"ca_file {empty}: there is no certificate in PEM in it"),
        (("", missing), f"certificate {missing} cannot be read: No such file or directory"),
        (("", empty), f"certificate {empty}: it is no certificate with its key in PEM"),
        (("", own, str(other)), f"certificate {own} with {other}: key values mismatch"),
    ):
        with pytest.raises(TlsFileError) as caught:
            ClientTls(*arguments)
        assert str(caught.value) == text


def test_an_encrypted_key_is_not_asked_for(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    mine = certified()
    key = load_pem_private_key(mine.private_key_pem.bytes(), None)
    locked, own = tmp_path / "locked", tmp_path / "chain"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    own.write_bytes(mine.cert_chain_pems[0].bytes())
    with pytest.raises(TlsFileError, match=f"key {locked}: it is encrypted"):
        ClientTls("", str(own), str(locked))


def test_errors_are_of_one_family() -> None:
    assert issubclass(Unreachable, UpstreamError)
    many = Unreachable("a.example", [])
    assert str(many) == "no connection to the server of a.example: there is none to try"


# On uvloop


@pytest.mark.parametrize(
    "journey",
    [
        test_starttls_by_srv,
        test_direct_tls_by_srv,
        test_a_dead_first_target,
        test_a_silent_first_target_costs_a_moment,
        test_a_target_that_is_the_wrong_one_is_passed_over,
        test_nobody_answers,
        test_a_server_that_hangs_up,
        test_dane_with_an_authority_of_its_own,
        test_dane_for_starttls,
    ],
)
def test_journeys_on_uvloop(journey: Callable[..., Any], ca_file: str) -> None:
    async def travel() -> None:
        async with name_server() as names:
            names.add(HERE, "A", "127.0.0.1")
            resolver, tls = Resolver([names.address], timeout=2.0, clock=time.monotonic), ClientTls(ca_file)
            given = {"names": names, "dialling": dialler(resolver, tls), "tls": tls}
            await journey(**{name: given[name] for name in signature(journey).parameters})
            await resolver.close()

    uvloop.run(travel())
