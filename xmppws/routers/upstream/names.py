"""Names in DNS and in certificates: is this certificate for that domain? (RFC 6120 section 13.7, RFC 9525)"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

import idna
from cryptography import x509

SRV_NAME: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7")
XMPP_ADDR: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")
_SERVICE: Final = "_xmpp-client."
_SHOWN: Final = 5
_SHOWN_LENGTH: Final = 100
# What is in the first byte of DER: a UTF8String (xmppAddr), an IA5String (SRVName).
_STRINGS: Final = {0x0C: "utf-8", 0x16: "ascii"}


class Presented(NamedTuple):
    """The names in a certificate, in lower case and A-labels: DNS-ID, SRV-ID, xmppAddr and addresses."""

    dns: tuple[str, ...] = ()
    srv: tuple[str, ...] = ()
    xmpp: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def cover(self, domain: str) -> bool:
        """Tell whether they name an XMPP domain (in A-labels, or an address) for clients."""
        return self.cover_host(domain) or domain in self.xmpp or _SERVICE + domain in self.srv

    def cover_host(self, host: str) -> bool:
        """Tell whether they name a machine."""
        if is_address(host):
            return str(ip_address(host)) in self.addresses
        return any(_matches(name, host) for name in self.dns)

    def __str__(self) -> str:
        names = list(dict.fromkeys([*self.dns, *self.srv, *self.xmpp, *self.addresses]))
        more = ["…"] if len(names) > _SHOWN else []
        return ", ".join([*(ascii(name[:_SHOWN_LENGTH])[1:-1] for name in names[:_SHOWN]), *more]) or "no name at all"


def ascii_name(name: str) -> str:
    """Return a domain in lower case and A-labels, without a dot at its end, without brackets; raise ValueError."""
    name = name.removesuffix(".").strip("[]")
    return name.lower() if name.isascii() else idna.encode(name, uts46=True).decode("ascii")


def is_address(host: str) -> bool:
    """Tell whether a host is an address of its own, which nobody has to be asked for."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def presented(certificate: x509.Certificate) -> Presented:
    """Return the names that a certificate is for; what cannot be read is none."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        others = list(found.get_values_for_type(x509.OtherName))
        return Presented(
            tuple(name.lower().removesuffix(".") for name in found.get_values_for_type(x509.DNSName)),
            tuple(_texts(others, SRV_NAME)),
            tuple(_texts(others, XMPP_ADDR)),
            tuple(map(str, found.get_values_for_type(x509.IPAddress))),
        )
    except (x509.ExtensionNotFound, ValueError):
        return Presented()


def _matches(name: str, host: str) -> bool:
    # RFC 9525 section 6.3: the wildcard is "the complete left-most label" and matches one label.
    if name.startswith("*."):
        first, _, rest = host.partition(".")
        return bool(first) and "." in rest and rest == name[2:]
    return name == host


def _texts(others: list[x509.OtherName], kind: x509.ObjectIdentifier) -> Iterator[str]:
    for other in others:
        if other.type_id == kind and (text := _string(other.value)):
            try:
                yield ascii_name(text)
            except ValueError:
                continue


def _string(der: bytes) -> str:
    """Return a string of DER; no name is longer than the short form of its length tells, 127 bytes: else ""."""
    if len(der) < 2 or der[0] not in _STRINGS or der[1] != len(der) - 2 or der[1] > 127:
        return ""
    try:
        return der[2:].decode(_STRINGS[der[0]])
    except UnicodeDecodeError:
        return ""
