"""TLS of our own: a certificate for each server name, exchanged while the server runs."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

log = logging.getLogger("xmppws.tls")

_MAX_FILE_SIZE: Final = 1024 * 1024
_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "EE_KEY_TOO_SMALL": "the key is too small",
    "CA_MD_TOO_WEAK": "the certificate is signed with a weak hash",
}


class CertificateError(Exception):
    """A certificate or key cannot be used; the text is for the sysadmin."""


class Certificate(NamedTuple):
    """The PEM files of a certificate with its chain, and of its private key: "" if it is in the same file."""

    file: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.file} with {self.key}" if self.key else self.file


class Certificates:
    """The certificates of a listener, by the server names (in A-labels, lower case) that clients ask for.

    `context` is for `create_server` and `start_tls`, and stays the same: for each handshake it hands on to the context
    of the certificate that is loaded by then. Raises `CertificateError`.
    """

    def __init__(self, default: Certificate, by_name: Mapping[str, Certificate]) -> None:
        self._default = default
        self._by_name = by_name
        self._contexts = self._load()
        self.context = _context()
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again for the handshakes to come; what cannot be used is logged, and changes nothing."""
        try:
            self._contexts = self._load()
        except CertificateError as error:
            log.error("%s; the certificates loaded before stay in use", error)
        else:
            log.info("certificates loaded again: %s", ", ".join(map(str, self._files())))

    def _files(self) -> set[Certificate]:
        return {self._default, *self._by_name.values()}

    def _load(self) -> Mapping[str | None, ssl.SSLContext]:
        contexts = {each: load(each) for each in self._files()}
        chosen: dict[str | None, ssl.SSLContext] = {name: contexts[each] for name, each in self._by_name.items()}
        return chosen | {None: contexts[self._default]}

    def _choose(self, connection: ssl.SSLObject, name: str | None, front: ssl.SSLContext) -> None:
        # Called without a name too. A name that nobody has gets the default: the client tells best what it expected.
        key = None if name is None else name.lower().removesuffix(".")
        connection.context = self._contexts.get(key) or self._contexts[None]


def load(certificate: Certificate) -> ssl.SSLContext:
    """Return a context for a certificate, and log why clients would refuse it. Raises `CertificateError`."""
    _require(certificate.file, "CERTIFICATE-----")
    _require(certificate.key or certificate.file, "PRIVATE KEY-----")
    context = _context()
    try:
        context.load_cert_chain(certificate.file, certificate.key or None, password=partial(_no_password, certificate))
    except ssl.SSLError as error:
        reason = _REASONS.get(error.reason, error.reason.replace("_", " ").lower() if error.reason else str(error))
        raise CertificateError(f"TLS certificate {certificate}: {reason}") from None
    if complaint := _complaint(context, certificate.file):
        log.warning("TLS certificate %s: clients will refuse it: %s", certificate.file, complaint)
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _require(file: str, marker: str) -> None:
    """Check that a file can be read and is PEM: OpenSSL's own errors name neither the file nor the reason."""
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(_MAX_FILE_SIZE)
    except OSError as error:
        raise CertificateError(f"TLS file {file} cannot be read: {error.strerror}") from None
    if marker.encode() not in text:
        raise CertificateError(f'TLS file {file} has no PEM block "-----BEGIN … {marker}"')


def _no_password(certificate: Certificate) -> str:
    # Without this OpenSSL would ask at the terminal, and the server would wait.
    raise CertificateError(
        f"TLS file {certificate.key or certificate.file}: the private key is encrypted, and a server has nobody to ask "
        "for the passphrase: store it without one"
    )


def _complaint(context: ssl.SSLContext, file: str) -> str:
    """Return what a client that trusts this very certificate has against it, such as its dates: a trial handshake."""
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trial.check_hostname = False
    trial.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trial.load_verify_locations(file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trial.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                return str(error.reason or error)
    return ""
