"""TLSA records (DANE): which certificates they accept (RFC 6698, RFC 7671, RFC 7673).

Where there are records of DANE-TA or DANE-EE, those of PKIX-TA and PKIX-EE do not count: whoever could forge the
certificate for the former has no need of the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256, sha512
from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from xmppws.routers.upstream.names import presented

PKIX_TA: Final = 0
PKIX_EE: Final = 1
DANE_TA: Final = 2
DANE_EE: Final = 3

_WHOLE_CERTIFICATE: Final = 0
_FULL: Final = 0


class Tlsa(NamedTuple):
    """A TLSA record."""

    usage: int
    selector: int
    matching: int
    data: bytes


def _full(data: bytes) -> bytes:
    return data


def _sha256(data: bytes) -> bytes:
    return sha256(data).digest()


def _sha512(data: bytes) -> bytes:
    return sha512(data).digest()


def _certificate(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _public_key(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


_SELECTORS: Final[Mapping[int, Callable[[x509.Certificate], bytes]]] = MappingProxyType(
    {_WHOLE_CERTIFICATE: _certificate, 1: _public_key}
)
_MATCHINGS: Final[Mapping[int, Callable[[bytes], bytes]]] = MappingProxyType({_FULL: _full, 1: _sha256, 2: _sha512})
_LENGTHS: Final[Mapping[int, int]] = MappingProxyType({1: 32, 2: 64})


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """Return the records that count; when there is none, it is as if none had been found (RFC 7671 section 4)."""
    known = [each for each in records if _is_known(each)]
    dane = [each for each in known if each.usage in (DANE_TA, DANE_EE)]
    return tuple(dane or known)


def replaces_pkix(records: Sequence[Tlsa]) -> bool:
    """Tell whether usable records are looked at in place of the authorities, not in addition."""
    return any(each.usage in (DANE_TA, DANE_EE) for each in records)


def accepts(records: Iterable[Tlsa], chain: Sequence[x509.Certificate], references: Sequence[str]) -> bool:
    """Tell whether usable records that replace PKIX accept a chain as the server sent it, its own certificate first.

    `references` are the names (A-labels, or addresses) one of which it has to be for with DANE-TA. With DANE-EE names
    and dates do not matter: RFC 7671 section 5.1.
    """
    for record in records:
        if record.usage == DANE_EE and _matches(record, chain[0]):
            return True
        if record.usage == DANE_TA:
            # RFC 7671 section 5.2: only a record with the whole certificate may do without it in the chain.
            anchors = [*chain[1:], *_contained(record)]
            if any(_matches(record, each) and _vouches(each, chain, references) for each in anchors):
                return True
    return False


def constrains(records: Iterable[Tlsa], chain: Sequence[x509.Certificate]) -> bool:
    """Tell whether usable records that add to PKIX accept a chain that leads to an authority."""
    return any(
        _matches(record, certificate)
        for record in records
        for certificate in (chain[:1] if record.usage == PKIX_EE else chain[1:])
    )


def _is_known(record: Tlsa) -> bool:
    return (
        PKIX_TA <= record.usage <= DANE_EE
        and record.selector in _SELECTORS
        and record.matching in _MATCHINGS
        and len(record.data) == _LENGTHS.get(record.matching, len(record.data))
    )


def _matches(record: Tlsa, certificate: x509.Certificate) -> bool:
    return _MATCHINGS[record.matching](_SELECTORS[record.selector](certificate)) == record.data


def _contained(record: Tlsa) -> list[x509.Certificate]:
    if (record.selector, record.matching) != (_WHOLE_CERTIFICATE, _FULL):
        return []
    try:
        return [x509.load_der_x509_certificate(record.data)]
    except ValueError:
        return []


def _vouches(anchor: x509.Certificate, chain: Sequence[x509.Certificate], references: Sequence[str]) -> bool:
    """Tell whether a chain leads to an anchor, is in date, and for one of the names."""
    if not any(presented(chain[0]).cover(reference) for reference in references):
        return False
    # That for servers knows no SRV-ID and no xmppAddr; the one for clients leaves names alone.
    verifier = _policy().store(Store([anchor])).build_client_verifier()
    try:
        verifier.verify(chain[0], list(chain[1:]))
    except VerificationError:
        return False
    return True


def _policy() -> PolicyBuilder:
    """Return RFC 5280's rules without those for public authorities, which nobody's own authority keeps."""
    ca = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    ca = ca.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
    ee = ExtensionPolicy.permit_all().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _may_serve)
    return PolicyBuilder().extension_policies(ca_policy=ca, ee_policy=ee)


def _is_authority(_: Policy, __: x509.Certificate, found: x509.BasicConstraints) -> None:
    if not found.ca:
        raise ValueError("no authority")


def _may_sign(_: Policy, __: x509.Certificate, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.key_cert_sign:
        raise ValueError("the key is not for signing certificates")


def _may_serve(_: Policy, __: x509.Certificate, found: x509.ExtendedKeyUsage | None) -> None:
    if found is not None and ExtendedKeyUsageOID.SERVER_AUTH not in found:
        raise ValueError("the key is not for servers")
