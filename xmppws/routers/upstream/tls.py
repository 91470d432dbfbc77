"""TLS to an upstream server, and who it has to be (RFC 6120 section 13.7, RFC 7590, XEP-0368, RFC 7673)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cryptography import x509

from xmppws.routers.upstream import dane
from xmppws.routers.upstream.errors import TlsFileError, Untrusted, UpstreamError
from xmppws.routers.upstream.names import presented

ALPN: Final = "xmpp-client"

# OpenSSL's X509_V_ERR_ numbers.
_REFUSED: Final[Mapping[int, str]] = MappingProxyType(
    {
        2: "is signed by an authority that is not trusted here; `ca_file` can name it",
        9: "is not valid yet",
        10: "has expired",
        18: "is self-signed; `ca_file` can name it",
        19: "is signed by an authority that is not trusted here; `ca_file` can name it",
        20: "is signed by an authority that is not trusted here; `ca_file` can name it",
        21: "is signed by an authority that is not trusted here; `ca_file` can name it",
        23: "has been revoked",
    }
)
_BROKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": "it does not answer with TLS",
        "UNSUPPORTED_PROTOCOL": "it speaks no TLS that is new enough (1.2)",
        "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS that is new enough (1.2)",
        "UNEXPECTED_EOF_WHILE_READING": "it closed the connection during the TLS handshake",
    }
)
_NOT_IN_TLSA: Final = "its certificate is none that its TLSA records in DNS accept"


class Expected(NamedTuple):
    """Who a server has to be, in A-labels: the XMPP domain.

    `host` is its own name, "" unless DNSSEC vouches for the way from the domain to it; `tlsa` are the records of its
    port that DNSSEC vouches for.
    """

    domain: str
    host: str = ""
    tlsa: tuple[dane.Tlsa, ...] = ()


class Gate(asyncio.Protocol):
    """Stands for the protocol until the server is known to be the right one; nobody reads what it says until then."""

    def __init__(self) -> None:
        self._spoke = False
        self._lost = False

    def data_received(self, data: bytes) -> None:
        """Take note: XMPP clients open the stream, servers answer."""
        self._spoke = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note."""
        self._lost = True

    def check(self) -> None:
        """Raise `UpstreamError` if the server does not wait for us."""
        if self._spoke:
            raise UpstreamError("it speaks before it is spoken to, as no XMPP server does")
        if self._lost:
            raise UpstreamError("it closed the connection")

    def pass_on(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Check, and let a protocol take over. Raises `UpstreamError`."""
        self.check()
        transport.set_protocol(protocol)


class ClientTls:
    """Secures connections; made once for many. The files are PEM. Raises `TlsFileError`."""

    def __init__(self, ca_file: str = "", certificate: str = "", key: str = "") -> None:
        self._contexts = {
            (direct, pkix): _context(ca_file, certificate, key, direct=direct, pkix=pkix)
            for direct in (False, True)
            for pkix in (False, True)
        }

    async def secure(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, expected: Expected, *, direct: bool
    ) -> asyncio.Transport:
        """Go over to TLS on a connection and check who the server is; return the transport that takes its place.

        `direct` tells direct TLS from STARTTLS. Until all is checked, the protocol hears nothing, and when that fails
        the connection is cut without telling it. How long that may take is for the caller to say, by
        `asyncio.timeout`. Raises `UpstreamError`.
        """
        expected = expected._replace(tlsa=dane.usable(expected.tlsa))
        context = self._contexts[direct, not dane.replaces_pkix(expected.tlsa)]
        gate = Gate()
        try:
            # XEP-0368 section 3: "Client or server MUST set SNI TLS extension to the JID's domain part."
            upgraded = await _start_tls(transport, gate, context, expected.domain)
            _check(upgraded.get_extra_info("ssl_object"), expected)
            gate.pass_on(upgraded, protocol)
        except BaseException:
            transport.abort()
            raise
        return upgraded


async def _start_tls(transport: asyncio.Transport, gate: Gate, context: ssl.SSLContext, name: str) -> asyncio.Transport:
    try:
        upgraded = await asyncio.get_running_loop().start_tls(transport, gate, context, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        why = _REFUSED.get(error.verify_code, f"is refused: {error.verify_message}")
        raise Untrusted(f"its certificate {why}") from None
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise UpstreamError(_BROKEN.get(reason, f"TLS failed: {reason.replace('_', ' ').lower()}")) from None
    except OSError:
        raise UpstreamError(_BROKEN["UNEXPECTED_EOF_WHILE_READING"]) from None
    if upgraded is None:
        raise UpstreamError(_BROKEN["UNEXPECTED_EOF_WHILE_READING"])
    return upgraded


def _check(connection: ssl.SSLObject, expected: Expected) -> None:
    try:
        if dane.replaces_pkix(expected.tlsa):
            _check_dane(_chain(connection, verified=False), expected)
        else:
            _check_pkix(_chain(connection, verified=True) if expected.tlsa else _own(connection), expected)
    except ValueError as error:
        raise Untrusted(f"its certificate cannot be read: {error}") from None


def _check_dane(chain: list[x509.Certificate], expected: Expected) -> None:
    references = [name for name in (expected.domain, expected.host) if name]
    if not dane.accepts(expected.tlsa, chain, references):
        raise Untrusted(_NOT_IN_TLSA)


def _check_pkix(chain: list[x509.Certificate], expected: Expected) -> None:
    names = presented(chain[0])
    if not names.cover(expected.domain) and not (expected.host and names.cover_host(expected.host)):
        raise Untrusted(f"its certificate is for another name: not for {expected.domain}, but for {names}")
    if expected.tlsa and not dane.constrains(expected.tlsa, chain):
        raise Untrusted(_NOT_IN_TLSA)


def _own(connection: ssl.SSLObject) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")]


def _chain(connection: Any, *, verified: bool) -> list[x509.Certificate]:
    """Return the chain as it was sent, or as it was verified, the server's own certificate first."""
    name = "get_verified_chain" if verified else "get_unverified_chain"
    if hasattr(connection, name):
        return [x509.load_der_x509_certificate(der) for der in getattr(connection, name)()]
    # Python has public names for these from 3.13 on.
    return [
        x509.load_pem_x509_certificate(each.public_bytes().encode()) for each in getattr(connection._sslobj, name)()
    ]


def _context(ca_file: str, certificate: str, key: str, *, direct: bool, pkix: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Names are compared by `_check`: OpenSSL knows neither SRV-ID nor xmppAddr.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if pkix else ssl.CERT_NONE
    if direct:
        context.set_alpn_protocols([ALPN])
    if pkix:
        _load_authorities(context, ca_file)
    if certificate:
        _load_own(context, certificate, key)
    return context


def _load_authorities(context: ssl.SSLContext, ca_file: str) -> None:
    if not ca_file:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise TlsFileError(f"ca_file {ca_file}: there is no certificate in PEM in it") from None
    except OSError as error:
        raise TlsFileError(f"ca_file {ca_file} cannot be read: {error.strerror}") from None
    # What the sysadmin put there is trusted, also when it is no root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    shown = f"{certificate} with {key}" if key else certificate
    try:
        context.load_cert_chain(certificate, key or None, password=partial(_no_password, key or certificate))
    except ssl.SSLError as error:
        reason = error.reason.replace("_", " ").lower() if error.reason else "it is no certificate with its key in PEM"
        raise TlsFileError(f"certificate {shown}: {reason}") from None
    except OSError as error:
        raise TlsFileError(f"certificate {shown} cannot be read: {error.strerror}") from None


def _no_password(file: str) -> str:
    # Without this OpenSSL would ask at the terminal, and the server would wait.
    raise TlsFileError(f"key {file}: it is encrypted, and there is nobody to ask for the passphrase")
