"""TLS of our own: certificates by name, exchanged while connections go on, and mistakes in words."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from msgspec.structs import replace

from clients import gather_bodies, logged_in
from raw import OPEN, Raw, closing, frame, head, raw
from servers import PASSWORDS, Running, add_accounts, config, program, running
from xmppws.app import Server, StartError
from xmppws.config import Config, Host, Listener
from xmppws.http.listeners import Bound, plan

AUTHORITY = trustme.CA()


def issue(directory: Path, *names: str, **options: Any) -> tuple[str, str]:
    """Write a certificate for names and its key; return the files."""
    found = AUTHORITY.issue_cert(*names, **options)
    certificate, key = directory / f"{names[0]}.pem", directory / f"{names[0]}.key"
    found.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(blob.bytes() for blob in found.cert_chain_pems))
    return str(certificate), str(key)


def host(directory: Path, *names: str, **options: Any) -> Host:
    certificate, key = issue(directory, *names, **options)
    return Host(http_host=names, certificate=certificate, key=key)


def client_context(**options: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in options.items():
        setattr(context, name, value)
    return context


def settings(hosts: dict[str, Host], **http: Any) -> Config:
    return config(hosts=hosts, http={"consider_websocket_secure": False, **http})


@pytest.fixture
def localhost(tmp_path: Path) -> Host:
    return host(tmp_path, "localhost", "127.0.0.1")


def tls_port(server: Running) -> int:
    (port,) = (bound.address.port for bound in server.server.listening if bound.tls)
    return port


@asynccontextmanager
async def secured(port: int, name: str | None = "localhost", before: bytes = b"", **options: Any) -> AsyncIterator[Raw]:
    """Connect with TLS, asking for a server name; `before` goes ahead of the handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(before)
        context = client_context(**({} if name else {"check_hostname": False}), **options)
        await writer.start_tls(context, server_hostname=name)
        yield Raw(reader, writer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def subject(connection: Raw) -> str:
    """Return the first name in the server's certificate."""
    certificate = connection.writer.get_extra_info("peercert")
    return str(certificate["subjectAltName"][0][1])


def serial(connection: Raw) -> str:
    return str(connection.writer.get_extra_info("peercert")["serialNumber"])


async def test_a_certificate_opens_a_second_port_that_is_secure(localhost: Host) -> None:
    async with running(settings({"localhost": localhost})) as server:
        assert [bound.tls for bound in server.server.listening] == [False, True]
        url = f"wss://localhost:{tls_port(server)}/xmpp-websocket"
        async with logged_in(url, "alice", PASSWORDS["alice"], ssl=client_context(), mechanism="PLAIN") as alice:
            (connection,) = server.server.endpoint.connections
            assert (connection.address, connection.secure) == ("127.0.0.1", True)
            await alice.message(alice.jid, "ä" * 100_000)
            assert await alice.body() == "ä" * 100_000
        async with raw(server.port) as plain:
            await plain.upgrade(frame(OPEN))
            await plain.frame()
            assert b"policy-violation" in (await plain.frame())[1]


@pytest.mark.parametrize(
    ("listen", "ports"),
    [
        (("127.0.0.1:5280", "[::1]:5280"), ["127.0.0.1:5281 (TLS)", "[::1]:5281 (TLS)"]),
        (("127.0.0.1:5280", "127.0.0.1:80"), ["127.0.0.1:5281 (TLS)"]),
        (("127.0.0.1:5281",), []),
        (("unix:/run/x.sock", "systemd:web"), []),
    ],
)
def test_which_addresses_get_tls(listen: tuple[str, ...], ports: list[str], caplog: pytest.LogCaptureFixture) -> None:
    planned = plan(config(http={"listen": listen}).http, {"localhost": Host(certificate="c")})
    assert [str(Bound(each.address, each.tls)) for each in planned if each.tls] == ports
    assert ("without TLS" in caplog.text) == ("127.0.0.1:5281" in listen)


async def test_names_choose_certificates(tmp_path: Path, localhost: Host) -> None:
    hosts = {
        "localhost": localhost,
        "example.com": host(tmp_path, "example.com", "Chat.example.com"),
        "bücher.example": host(tmp_path, "xn--bcher-kva.example"),
        "plain.example": Host(http_host=("plain.example",)),
    }
    async with running(settings(hosts)) as server:
        for name, expected in (
            ("localhost", "localhost"),
            ("example.com", "example.com"),
            ("chat.example.com", "example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            (None, "localhost"),
        ):
            async with secured(tls_port(server), name) as connection:
                assert subject(connection) == expected
                assert connection.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        with pytest.raises(ssl.SSLCertVerificationError, match=r"plain\.example"):
            async with secured(tls_port(server), "plain.example"):
                pass


async def test_a_listener_has_its_own_certificate_for_other_names(tmp_path: Path, localhost: Host) -> None:
    certificate, key = issue(tmp_path, "fallback.example")
    listener = Listener(address="127.0.0.1:0", tls=True, certificate=certificate, key=key)
    async with running(settings({"localhost": localhost}, listeners=(listener,))) as server:
        assert [bound.tls for bound in server.server.listening] == [False, True]
        for name, expected in (("localhost", "localhost"), ("fallback.example", "fallback.example")):
            async with secured(tls_port(server), name) as connection:
                assert subject(connection) == expected


async def test_old_tls_is_refused(localhost: Host) -> None:
    async with running(settings({"localhost": localhost})) as server:
        async with secured(tls_port(server), maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
            assert connection.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        with pytest.raises((ssl.SSLError, ConnectionError)), pytest.warns(DeprecationWarning):
            version = ssl.TLSVersion.TLSv1_1
            async with secured(tls_port(server), minimum_version=version, maximum_version=version):
                pass


async def test_ends_over_tls_are_those_of_tcp(localhost: Host) -> None:
    """A broken frame closes without half-closing, which TLS does not have."""
    async with running(settings({"localhost": localhost})) as server, secured(tls_port(server)) as connection:
        await connection.upgrade(frame(OPEN))
        connection.write(frame(b"unmasked", masked=False))
        assert closing(await connection.frames())[0] == 1002


async def test_what_is_no_tls_is_closed_without_a_traceback(localhost: Host, caplog: pytest.LogCaptureFixture) -> None:
    async with running(settings({"localhost": localhost})) as server, raw(tls_port(server)) as connection:
        connection.write(head())
        while await connection.reader.read(100):
            pass
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_proxy_header_stands_before_tls(localhost: Host) -> None:
    await read_proxy_header_and_tls(localhost)


def test_a_proxy_header_stands_before_tls_on_uvloop(localhost: Host) -> None:
    uvloop.run(read_proxy_header_and_tls(localhost))


async def read_proxy_header_and_tls(localhost: Host) -> None:
    listener = Listener(address="127.0.0.1:0", tls=True, proxy_protocol=True)
    header = b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 443\r\n"
    async with running(settings({"localhost": localhost}, listen=(), listeners=(listener,))) as server:
        async with secured(server.port, before=header) as connection:
            await connection.upgrade(frame(OPEN))
            (found,) = server.server.endpoint.connections
            assert (found.address, found.secure) == ("198.51.100.7", True)
        async with raw(server.port) as connection:
            connection.write(header + b"no TLS at all, but long enough to be a record")
            while await connection.reader.read(100):
                pass
        async with raw(server.port) as connection:
            connection.write(header)
            connection.writer.write_eof()
            assert await connection.is_closed()
        async with raw(server.port) as connection:
            connection.write(header)
            answer = await ask_with_the_handshake(connection, head(path="/health/live", Upgrade=None))
            assert answer.startswith(b"HTTP/1.1 200")


async def ask_with_the_handshake(connection: Raw, request: bytes) -> bytes:
    """Send a request in one segment with the end of the TLS handshake, and return what is answered."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(received, sent, server_hostname="localhost")

    async def turn() -> None:
        connection.write(sent.read())
        received.write(await connection.reader.read(65536))

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await turn()
    tls.write(request)
    while True:
        try:
            return tls.read()
        except ssl.SSLWantReadError:
            await turn()


async def test_a_client_that_says_nothing_is_closed(localhost: Host) -> None:
    hosts = {"localhost": localhost}
    listener = Listener(address="127.0.0.1:0", tls=True, proxy_protocol=True)
    slow = config(hosts=hosts, http={"listen": ()}, handshake_timeout=0.5)
    plain_tls = Listener(address="127.0.0.1:0", tls=True)
    async with running(replace(slow, http=replace(slow.http, listeners=(plain_tls, listener)))) as server:
        first, second = (where.port for where in server.server.addresses)
        async with raw(first) as silent, raw(second) as half:
            half.write(b"PROXY UNKNOWN\r\n\x16\x03")
            assert await silent.is_closed()
            assert await half.is_closed()
        assert server.server.endpoint.admission.connections == 0


# Certificates that change


def renew(server_host: Host) -> None:
    """Put another certificate in the place of a host's."""
    found = AUTHORITY.issue_cert("localhost", "127.0.0.1")
    found.private_key_pem.write_to_path(server_host.key)
    found.cert_chain_pems[0].write_to_path(server_host.certificate)


async def test_a_reload_changes_the_certificate_and_drops_nobody(
    localhost: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(settings({"localhost": localhost})) as server:
        port = tls_port(server)
        async with secured(port) as old:
            await old.upgrade(frame(OPEN))
            renew(localhost)
            await server.server.reload()
            async with secured(port) as new, secured(port, None) as nameless:
                assert serial(new) == serial(nameless) != serial(old)
            Path(localhost.key).write_text("broken")
            await server.server.reload()
            assert f"TLS file {localhost.key} has no PEM block" in caplog.text
            assert "the certificates loaded before stay in use" in caplog.text
            async with secured(port) as kept:
                assert serial(kept) == serial(new)
            old.write(frame(b"ping", 9))
            while (received := await old.frame())[0] != 10:
                pass
            assert received == (10, b"ping")


FILE = """
data_dir = "{data}"
[http]
listen = ["127.0.0.1:0"]
[metrics]
listen = []
[hosts."localhost"]
http_host = ["127.0.0.1", "localhost"]
certificate = "{host.certificate}"
key = "{host.key}"
"""


async def test_the_program_chats_over_wss_and_reloads_on_sighup(tmp_path: Path, localhost: Host) -> None:
    file = tmp_path / "xmppws.toml"
    file.write_text(FILE.format(data=tmp_path / "data", host=localhost))
    await add_accounts(file)
    async with program(file) as server:
        port = int((await server.logged(r"127\.0\.0\.1:(\d+) \(TLS\)"))[1])
        url, trust = f"wss://localhost:{port}/xmpp-websocket", client_context()
        async with logged_in(url, "alice", PASSWORDS["alice"], ssl=trust) as alice:
            async with logged_in(url, "bob", PASSWORDS["bob"], ssl=trust) as bob, secured(port) as old:
                await alice.message("bob@localhost", "before")
                renew(localhost)
                server.process.send_signal(signal.SIGHUP)
                await server.logged("certificates loaded again")
                async with secured(port) as new:
                    assert serial(new) != serial(old)
                for number in range(100):
                    await alice.message("bob@localhost", f"{number} " + "x" * 1000)
                bodies = await gather_bodies(bob, 101)
                assert [body.split()[0] for body in bodies] == ["before", *map(str, range(100))]
        async with secured(port) as connection:
            await connection.upgrade(frame(OPEN) + frame(b"unmasked", masked=False))
            assert closing(await connection.frames())[0] == 1002
    assert not [line for line in server.lines if "Traceback" in line]


# Mistakes


ENCRYPTED = """\
-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF

AAAAAAAAAAAAAAAAAAAAAA==
-----END RSA PRIVATE KEY-----
"""


async def refusal(server_host: Host) -> str:
    with pytest.raises(StartError) as caught:
        await Server(settings({"localhost": server_host})).start()
    return str(caught.value)


async def test_mistakes_are_told_in_words(tmp_path: Path, localhost: Host) -> None:
    missing = tmp_path / "missing.pem"
    text = await refusal(replace(localhost, certificate=str(missing)))
    assert text == f"http.listen: TLS file {missing} cannot be read: No such file or directory"
    text = await refusal(replace(localhost, key=""))
    assert re.fullmatch(r"http\.listen: TLS file .*localhost\.pem has no PEM block .* PRIVATE KEY-----\"", text)
    text = await refusal(replace(localhost, key=issue(tmp_path, "other.example")[1]))
    assert text.endswith("other.example.key: the key does not belong to the certificate")
    Path(localhost.certificate).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert re.fullmatch(r"http\.listen: TLS certificate .*localhost\.pem with .*: .+", await refusal(localhost))


async def test_an_encrypted_key_is_not_asked_for(localhost: Host) -> None:
    Path(localhost.key).write_text(ENCRYPTED)
    assert f"{localhost.key}: the private key is encrypted" in await refusal(localhost)


async def test_a_key_in_the_file_of_its_certificate(localhost: Host) -> None:
    both = Path(localhost.certificate)
    both.write_bytes(Path(localhost.key).read_bytes() + both.read_bytes())
    async with running(settings({"localhost": replace(localhost, key="")})) as server:
        async with secured(tls_port(server)) as connection:
            assert subject(connection) == "localhost"


async def test_an_expired_certificate_is_used_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    expired = host(tmp_path, "localhost", not_before=past, not_after=past + timedelta(days=1))
    async with running(settings({"localhost": expired})):
        pass
    assert f"TLS certificate {expired.certificate}: clients will refuse it: certificate has expired" in caplog.text


async def test_a_good_certificate_brings_no_warning(localhost: Host, caplog: pytest.LogCaptureFixture) -> None:
    async with running(settings({"localhost": localhost})):
        pass
    assert "refuse" not in caplog.text


async def test_a_listener_without_any_certificate_is_named() -> None:
    listener = Listener(address="127.0.0.1:0", tls=True)
    with pytest.raises(StartError, match=r"http\.listeners\[0\]: TLS needs a certificate"):
        await Server(config(http={"listen": (), "listeners": (listener,)})).start()
