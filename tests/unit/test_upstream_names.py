"""Which names a certificate covers, and which certificates TLSA records accept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha512
from ipaddress import ip_address
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from xmppws.routers.upstream import dane
from xmppws.routers.upstream.dane import DANE_EE, DANE_TA, PKIX_EE, PKIX_TA, Tlsa
from xmppws.routers.upstream.names import SRV_NAME, XMPP_ADDR, ascii_name, presented

DNS, OTHER = x509.DNSName, x509.OtherName
BUECHER = "xn--bcher-kva.example"


Key = ec.EllipticCurvePrivateKey


def certificate(*names: x509.GeneralName) -> x509.Certificate:
    return issued(ec.generate_private_key(ec.SECP256R1()), *names)


def issued(by: Key, *parts: x509.GeneralName | x509.ExtensionType, key: Key | None = None) -> x509.Certificate:
    """Return a certificate with names and extensions; without a key of its own it gets a new one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "common.example")])
    now = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    if names := [part for part in parts if isinstance(part, x509.GeneralName)]:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for part in parts:
        if isinstance(part, x509.ExtensionType):
            builder = builder.add_extension(part, critical=False)
    return builder.sign(by, SHA256())


def utf8(text: str) -> bytes:
    return b"\x0c" + bytes([len(text.encode())]) + text.encode()


def ia5(text: str) -> bytes:
    return b"\x16" + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize(
    ("name", "domain", "covered"),
    [
        (DNS("example.com"), "example.com", True),
        (DNS("EXAMPLE.com"), "example.com", True),
        (DNS("example.com"), "a.example.com", False),
        (DNS("*.example.com"), "a.example.com", True),
        (DNS("*.example.com"), "a.b.example.com", False),
        (DNS("*.example.com"), "example.com", False),
        (DNS("*.com"), "example.com", False),
        (DNS("x*.example.com"), "xa.example.com", False),
        (DNS("*"), "localhost", False),
        (DNS(BUECHER), BUECHER, True),
        (OTHER(SRV_NAME, ia5("_xmpp-client.example.com")), "example.com", True),
        (OTHER(SRV_NAME, ia5("_XMPP-client.Example.com")), "example.com", True),
        (OTHER(SRV_NAME, ia5("_xmpp-server.example.com")), "example.com", False),
        (OTHER(SRV_NAME, ia5("example.com")), "example.com", False),
        (OTHER(XMPP_ADDR, utf8("example.com")), "example.com", True),
        (OTHER(XMPP_ADDR, utf8("Bücher.example")), BUECHER, True),
        (OTHER(XMPP_ADDR, utf8("me@example.com")), "example.com", False),
        (OTHER(x509.ObjectIdentifier("1.2.3.4"), utf8("example.com")), "example.com", False),
        (x509.IPAddress(ip_address("192.0.2.1")), "192.0.2.1", True),
        (x509.IPAddress(ip_address("2001:db8::1")), "2001:db8::1", True),
        (x509.IPAddress(ip_address("192.0.2.1")), "192.0.2.2", False),
        (x509.IPAddress(ip_address("2001:db8::1")), "2001:DB8:0::1", True),
        (DNS("192.0.2.1"), "192.0.2.1", False),
        (DNS("*.0.2.1"), "192.0.2.1", False),
    ],
)
def test_covered_domains(name: x509.GeneralName, domain: str, covered: bool) -> None:
    assert presented(certificate(name)).cover(domain) is covered


def test_names_of_services_are_not_names_of_machines() -> None:
    names = presented(certificate(DNS("a.example"), OTHER(XMPP_ADDR, utf8("b.example"))))
    assert (names.cover_host("a.example"), names.cover_host("b.example")) == (True, False)


def test_the_common_name_does_not_count() -> None:
    names = presented(certificate())
    assert not names.cover("common.example")
    assert str(names) == "no name at all"


@pytest.mark.parametrize(
    "der", [b"\x04\x01a", b"\x0c\x01\xff", b"\x0c\x81\x80" + b"a" * 128, utf8("a\u2044b"), utf8("")]
)
def test_broken_names_are_none(der: bytes) -> None:
    assert presented(certificate(OTHER(XMPP_ADDR, der))).xmpp == ()


def test_names_are_shown_without_what_could_harm_a_log() -> None:
    names = presented(certificate(DNS("a.example"), OTHER(XMPP_ADDR, utf8("\x1b[31m"))))
    assert "\x1b" not in str(names)
    many = presented(certificate(*(DNS(f"h{number}.example") for number in range(9))))
    assert str(many) == "h0.example, h1.example, h2.example, h3.example, h4.example, …"


def test_names_in_a_labels() -> None:
    assert ascii_name("Bücher.Example.") == BUECHER
    assert ascii_name("EXAMPLE_1.com") == "example_1.com"
    assert ascii_name("[::1]") == "::1"
    with pytest.raises(ValueError, match="Label too long"):
        ascii_name("ü" * 70)


# TLSA

NAME = "xmpp.example"
ROOT = trustme.CA()
AUTHORITY = ROOT.create_child_ca()


def load(blob: trustme.Blob) -> x509.Certificate:
    return x509.load_pem_x509_certificate(blob.bytes())


def chain(*names: str, **options: Any) -> list[x509.Certificate]:
    """Return the certificates of a server: its own, the authority's, the root."""
    issued = AUTHORITY.issue_cert(*(names or [NAME]), **options)
    return [*map(load, issued.cert_chain_pems), load(ROOT.cert_pem)]


def whole(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def public_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def accepts(sent: list[x509.Certificate], *records: Tlsa) -> bool:
    return dane.accepts(dane.usable(records), sent, ["example.com", NAME])


def test_dane_ee_by_every_selector_and_matching_type() -> None:
    sent, other = chain(), chain()
    for selector, of in ((0, whole), (1, public_key)):
        for matching, data in ((0, of(sent[0])), (1, sha256(of(sent[0])).digest()), (2, sha512(of(sent[0])).digest())):
            record = Tlsa(DANE_EE, selector, matching, data)
            assert accepts(sent, record)
            assert not accepts(other, record)
            assert accepts(sent, Tlsa(DANE_EE, selector, 1, b"\0" * 32), record)


def test_dane_ee_needs_no_name_and_no_date() -> None:
    past = datetime.now(UTC) - timedelta(days=9)
    sent = chain("other.example", not_before=past, not_after=past + timedelta(days=1))[:1]
    assert accepts(sent, Tlsa(DANE_EE, 1, 1, sha256(public_key(sent[0])).digest()))


@pytest.mark.parametrize("anchor", [1, 2])
def test_dane_ta_is_an_authority_in_the_chain(anchor: int) -> None:
    sent = chain()
    for record in (
        Tlsa(DANE_TA, 0, 1, sha256(whole(sent[anchor])).digest()),
        Tlsa(DANE_TA, 1, 2, sha512(public_key(sent[anchor])).digest()),
    ):
        assert accepts(sent, record)
        assert not accepts(sent[:anchor], record)


def test_dane_ta_may_be_in_the_record_alone() -> None:
    sent = chain()
    assert accepts(sent[:2], Tlsa(DANE_TA, 0, 0, whole(sent[2])))
    assert not accepts(sent[:2], Tlsa(DANE_TA, 0, 0, whole(load(trustme.CA().cert_pem))))
    assert not accepts(sent[:2], Tlsa(DANE_TA, 0, 0, b"no certificate"))


def test_dane_ta_needs_the_name_and_the_date() -> None:
    record = Tlsa(DANE_TA, 0, 1, sha256(whole(load(ROOT.cert_pem))).digest())
    past = datetime.now(UTC) - timedelta(days=9)
    assert accepts(chain("example.com"), record)
    assert not accepts(chain("other.example"), record)
    assert not accepts(chain(NAME, not_before=past, not_after=past + timedelta(days=1)), record)
    assert dane.accepts([record], chain("192.0.2.1"), ["192.0.2.1"])


def test_dane_ta_takes_names_that_only_xmpp_has() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    authority = issued(key, x509.BasicConstraints(True, None), key=key)
    record = Tlsa(DANE_TA, 0, 1, sha256(whole(authority)).digest())
    for name in (OTHER(SRV_NAME, ia5("_xmpp-client.example.com")), OTHER(XMPP_ADDR, utf8("example.com"))):
        assert accepts([issued(key, name), authority], record)
    assert not accepts([issued(key, OTHER(XMPP_ADDR, utf8("other.example"))), authority], record)


def test_an_authority_that_did_not_sign_vouches_for_nobody() -> None:
    foreign = load(trustme.CA().cert_pem)
    assert not accepts([*chain()[:1], foreign], Tlsa(DANE_TA, 0, 1, sha256(whole(foreign)).digest()))


def test_a_certificate_of_a_server_signs_nobody() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    server, leaf = issued(key, DNS(NAME), key=key), issued(key, DNS(NAME))
    assert not accepts([leaf, server], Tlsa(DANE_TA, 0, 1, sha256(whole(server)).digest()))
    authority = issued(key, DNS(NAME), x509.BasicConstraints(True, None), key=key)
    assert accepts([leaf, authority], Tlsa(DANE_TA, 0, 1, sha256(whole(authority)).digest()))
    other = issued(key, DNS(NAME), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]))
    assert not accepts([other, authority], Tlsa(DANE_TA, 0, 1, sha256(whole(authority)).digest()))


def test_the_servers_own_certificate_is_no_anchor() -> None:
    sent = chain()
    assert not accepts(sent, Tlsa(DANE_TA, 0, 1, sha256(whole(sent[0])).digest()))


def test_which_records_are_usable() -> None:
    good = Tlsa(DANE_EE, 1, 1, b"\0" * 32)
    pkix = Tlsa(PKIX_EE, 1, 1, b"\0" * 32)
    bad = [
        good._replace(usage=4),
        good._replace(usage=255),
        good._replace(selector=2),
        good._replace(matching=3),
        good._replace(data=b"\0" * 31),
        good._replace(matching=2),
    ]
    assert dane.usable(bad) == ()
    assert dane.usable([*bad, good]) == (good,)
    assert dane.usable([pkix, good]) == (good,)
    assert dane.usable([pkix]) == (pkix,)
    assert (dane.replaces_pkix([good]), dane.replaces_pkix([pkix]), dane.replaces_pkix([])) == (True, False, False)


def test_pkix_records_constrain_the_chain() -> None:
    verified = chain()
    for usage, places in ((PKIX_EE, {0}), (PKIX_TA, {1, 2})):
        for place, each in enumerate(verified):
            record = Tlsa(usage, 0, 1, sha256(whole(each)).digest())
            assert dane.constrains([record], verified) is (place in places)
