import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from xmppws.http.proxies import MAX_HOPS, Client, Trust, parse_address

PROXY = "127.0.0.1"
STRANGER = "203.0.113.9"
CLIENT = "198.51.100.7"
TRUSTED = ["127.0.0.1", "::1", "10.0.0.0/8", "2001:db8:ffff::/48", "unix"]


def headers(**lines: str | list[str]) -> CIMultiDictProxy[str]:
    found: CIMultiDict[str] = CIMultiDict()
    for name, values in lines.items():
        for value in [values] if isinstance(values, str) else values:
            found.add(name.replace("_", "-"), value)
    return CIMultiDictProxy(found)


def resolve(
    peer: str | None = PROXY, *, tls: bool = False, trust: Trust | None = None, **lines: str | list[str]
) -> Client:
    return (trust or Trust(TRUSTED)).resolve(peer, headers(**lines), tls=tls)


# Row 1: the peer is not trusted.


def test_headers_of_a_stranger_are_ignored_and_named() -> None:
    client = resolve(STRANGER, X_Forwarded_For=CLIENT, X_Forwarded_Proto="https", Forwarded=f"for={CLIENT}")
    assert (client.address, client.secure, client.uncertain) == (STRANGER, False, False)
    assert client.notes == (
        "X-Forwarded-For, X-Forwarded-Proto, Forwarded from 203.0.113.9 ignored: the address is not in trusted_proxies",
    )


@pytest.mark.parametrize(
    ("tls", "consider", "secure", "declared"),
    [(False, False, False, False), (True, False, True, False), (False, True, True, True), (True, True, True, False)],
)
def test_a_stranger_is_secure_by_our_tls_or_by_declaration(
    tls: bool, consider: bool, secure: bool, declared: bool
) -> None:
    client = resolve(STRANGER, tls=tls, trust=Trust(TRUSTED, consider_secure=consider), X_Forwarded_Proto="https")
    assert (client.secure, client.declared) == (secure, declared)


def test_loopback_is_no_exception() -> None:
    assert resolve("127.0.0.1", trust=Trust([]), X_Forwarded_For=CLIENT).address == "127.0.0.1"
    assert not resolve("127.0.0.1", trust=Trust([])).secure


def test_a_unix_socket_is_trusted_only_when_listed() -> None:
    assert resolve(None, X_Forwarded_For=CLIENT).address == CLIENT
    client = resolve(None, trust=Trust(["127.0.0.1"]), X_Forwarded_For=CLIENT)
    assert client.address == "unix"
    assert client.notes


# Row 2: the first untrusted address from the right, and the right-most X-Forwarded-Proto.


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        (CLIENT, CLIENT),
        (f"1.1.1.1, {CLIENT}", CLIENT),
        (f"1.1.1.1, {CLIENT}, 10.1.2.3", CLIENT),
        (f"{CLIENT}:567", CLIENT),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("[2001:db8::1]:9", "2001:db8::1"),
        ("::ffff:198.51.100.7", CLIENT),
        (f"{CLIENT}, ::ffff:10.0.0.1", CLIENT),
        (f"{CLIENT}, 2001:db8:ffff:1::2", CLIENT),
        ("fe80::1%eth0", "fe80::1"),
        (f" , {CLIENT} ,, ", CLIENT),
        ([f"1.1.1.1, {CLIENT}", "10.0.0.2", "10.0.0.3, 10.0.0.4"], CLIENT),
        (["1.1.1.1", CLIENT], CLIENT),
    ],
)
def test_the_first_untrusted_hop_from_the_right_is_the_client(forwarded_for: str | list[str], address: str) -> None:
    client = resolve(X_Forwarded_For=forwarded_for)
    assert (client.address, client.uncertain, client.notes) == (address, False, ())
    assert client.how.startswith(f"{address} is X-Forwarded-For of the trusted proxy 127.0.0.1; ")


@pytest.mark.parametrize("peer", ["10.200.0.1", "::1", "::ffff:127.0.0.1", "2001:db8:ffff::7", "::ffff:10.9.9.9"])
def test_trusted_peers_by_address_and_network(peer: str) -> None:
    assert resolve(peer, X_Forwarded_For=CLIENT).address == CLIENT


@pytest.mark.parametrize("peer", ["11.0.0.1", "::2", "2001:db8:fffe::7", "not an address", ""])
def test_peers_that_are_not_trusted(peer: str) -> None:
    assert resolve(peer, X_Forwarded_For=CLIENT).address == peer


def test_a_mapped_network_means_the_ipv4_one() -> None:
    assert resolve("192.0.2.4", trust=Trust(["::ffff:192.0.2.0/120"]), X_Forwarded_For=CLIENT).address == CLIENT


@pytest.mark.parametrize(
    ("proto", "secure"),
    [
        ("https", True),
        ("WSS", True),
        ("http", False),
        ("ws", False),
        ("", False),
        ("http, https", True),
        ("https, http", False),
        (["https", "http"], False),
        (["http", " https "], True),
    ],
)
def test_the_right_most_proto_counts(proto: str | list[str], secure: bool) -> None:
    assert resolve(X_Forwarded_For=CLIENT, X_Forwarded_Proto=proto).secure is secure


def test_declared_secure_behind_a_proxy_that_says_nothing() -> None:
    trust = Trust(TRUSTED, consider_secure=True)
    client = resolve(trust=trust, X_Forwarded_For=CLIENT)
    assert client.secure and client.declared
    assert client.how.endswith("secure: consider_websocket_secure says so")
    assert not resolve(trust=trust, X_Forwarded_For=CLIENT, X_Forwarded_Proto="https").declared


def test_tls_between_proxy_and_us_does_not_make_the_client_secure() -> None:
    assert not resolve(tls=True, X_Forwarded_For=CLIENT, X_Forwarded_Proto="http").secure
    assert not resolve(tls=True, X_Forwarded_For=CLIENT).secure


def test_our_own_tls_counts_for_a_trusted_address_that_forwards_nothing() -> None:
    client = resolve("127.0.0.1", tls=True)
    assert client.secure
    assert client.how == "127.0.0.1 is the address of the peer; secure: TLS ends here"


# Row 3: a hop that cannot be read.


@pytest.mark.parametrize(
    "hop",
    [
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4:port",
        "1.2.3.4:123456",
        "[::1",
        "::1]:9",
        "01.2.3.4",
        "1.2.3.4%x",
        "9" * 9000,
    ],
)
def test_the_last_readable_hop_counts_before_one_that_is_not(hop: str) -> None:
    client = resolve(X_Forwarded_For=f"{CLIENT}, {hop}, 10.0.0.1")
    assert (client.address, client.uncertain) == ("10.0.0.1", True)
    assert len(client.notes) == 1
    assert hop[:100] in client.notes[0]
    assert len(client.notes[0]) < 250


def test_without_any_readable_hop_it_is_the_peer() -> None:
    client = resolve(X_Forwarded_For=f"{CLIENT}, unknown", X_Forwarded_Proto="https")
    assert (client.address, client.uncertain, client.secure) == (PROXY, True, True)


def test_a_hop_behind_the_client_need_not_be_readable() -> None:
    client = resolve(X_Forwarded_For=f"unknown, {CLIENT}")
    assert (client.address, client.uncertain, client.notes) == (CLIENT, False, ())


def test_control_characters_of_a_stranger_do_not_reach_the_log() -> None:
    (note,) = resolve(X_Forwarded_For="evil\x1b[31m\udcff\u2028").notes
    assert note.isprintable()


def test_hops_are_counted_no_further_than_the_limit() -> None:
    client = resolve(X_Forwarded_For=", ".join([CLIENT] + ["10.0.0.1"] * MAX_HOPS))
    assert (client.address, client.uncertain) == ("10.0.0.1", True)
    assert "too many hops" in client.notes[0]
    below = resolve(X_Forwarded_For=[CLIENT] + ["10.0.0.1"] * (MAX_HOPS - 1))
    assert (below.address, below.uncertain) == (CLIENT, False)


# Row 4: every hop is trusted, or there is none.


def test_the_left_most_hop_when_all_are_trusted() -> None:
    client = resolve(X_Forwarded_For="10.0.0.3, 10.0.0.2")
    assert (client.address, client.uncertain) == ("10.0.0.3", False)
    assert "left-most hop" in client.how


def test_the_peer_when_nothing_is_forwarded() -> None:
    assert resolve().address == PROXY
    assert resolve(X_Forwarded_For="").address == PROXY
    assert resolve(None).address == "unix"


def test_x_real_ip_never_counts() -> None:
    client = resolve(X_Real_IP=CLIENT)
    assert client.address == PROXY
    assert client.notes == ("X-Real-IP is ignored: let the proxy set X-Forwarded-For",)
    assert resolve(X_Real_IP="1.1.1.1", X_Forwarded_For=CLIENT).notes == ()


# Row 5: PROXY protocol.


def by_proxy(source: str, proxy_tls: bool | None = None, peer: str = PROXY, **lines: str) -> Client:
    return Trust(TRUSTED).resolve(peer, headers(**lines), tls=False, proxy_source=source, proxy_tls=proxy_tls)


@pytest.mark.parametrize(("proxy_tls", "secure"), [(True, True), (False, False), (None, False)])
def test_the_source_of_a_proxy_header(proxy_tls: bool | None, secure: bool) -> None:
    client = by_proxy(CLIENT, proxy_tls)
    assert (client.address, client.secure) == (CLIENT, secure)
    assert client.how.startswith(f"{CLIENT} is the source in the PROXY header of 127.0.0.1; ")


def test_headers_of_a_client_behind_proxy_protocol_are_its_own_invention() -> None:
    client = by_proxy(CLIENT, X_Forwarded_For="1.1.1.1", X_Forwarded_Proto="https")
    assert (client.address, client.secure) == (CLIENT, False)
    assert client.notes


def test_headers_of_a_trusted_source_count() -> None:
    client = by_proxy("10.0.0.5", X_Forwarded_For=f"1.1.1.1, {CLIENT}", X_Forwarded_Proto="https")
    assert (client.address, client.secure, client.notes) == (CLIENT, True, ())
    assert by_proxy("10.0.0.5", True, X_Forwarded_For=CLIENT).secure


def test_a_proxy_header_of_a_stranger_is_ignored() -> None:
    client = by_proxy(CLIENT, True, peer=STRANGER)
    assert (client.address, client.secure) == (STRANGER, False)
    assert client.notes == ("PROXY protocol from 203.0.113.9 ignored: the address is not in trusted_proxies",)


# Forwarded, RFC 7239.

BY_FORWARDED = Trust(TRUSTED, forwarded_header="forwarded")


@pytest.mark.parametrize(
    ("forwarded", "address", "secure"),
    [
        (f"for={CLIENT}", CLIENT, False),
        (f"For={CLIENT};Proto=HTTPS;by=203.0.113.43", CLIENT, True),
        (f'for="{CLIENT}:567"', CLIENT, False),
        (f"for={CLIENT}:567 ; proto=https ;", CLIENT, True),
        ('for="[2001:db8::1]:4711";proto=wss', "2001:db8::1", True),
        ('for="[2001:db8::1]:_port"', "2001:db8::1", False),
        (r'for="198.51.100\.7"', CLIENT, False),
        (f"for=1.1.1.1, for={CLIENT}, for=10.0.0.1;proto=https", CLIENT, True),
        ([f"for=1.1.1.1, for={CLIENT};proto=https", "for=10.0.0.1"], CLIENT, False),
        (f'for="1.1.1.1, for={CLIENT}', CLIENT, False),
    ],
)
def test_forwarded(forwarded: str | list[str], address: str, secure: bool) -> None:
    client = resolve(trust=BY_FORWARDED, Forwarded=forwarded)
    assert (client.address, client.secure, client.uncertain, client.notes) == (address, secure, False, ())


@pytest.mark.parametrize(
    "element",
    [
        "for=unknown",
        "for=_hidden",
        'for="_SEVKISEK:80"',
        'for=""',
        "proto=https",
        "for=1.2.3.4;for=1.2.3.5",
        'for="1.2.3.4',
        "for",
        f"for=1.2.3.4;x={'y' * 600}",
    ],
)
def test_forwarded_without_a_readable_address(element: str) -> None:
    client = resolve(trust=BY_FORWARDED, Forwarded=f"for={CLIENT}, {element}, for=10.0.0.1")
    assert (client.address, client.uncertain, len(client.notes)) == ("10.0.0.1", True, 1)


def test_x_forwarded_proto_does_not_count_beside_forwarded() -> None:
    assert not resolve(trust=BY_FORWARDED, Forwarded=f"for={CLIENT}", X_Forwarded_Proto="https").secure


def test_contradictions_are_named_and_the_configured_header_counts() -> None:
    both = headers(X_Forwarded_For=CLIENT, Forwarded="for=192.0.2.1;proto=https", X_Forwarded_Proto="http")
    default = Trust(TRUSTED).resolve(PROXY, both, tls=False)
    assert (default.address, default.secure, len(default.notes)) == (CLIENT, False, 2)
    assert "X-Forwarded-For counts" in default.notes[0]
    configured = BY_FORWARDED.resolve(PROXY, both, tls=False)
    assert (configured.address, configured.secure, len(configured.notes)) == ("192.0.2.1", True, 2)
    assert "Forwarded counts" in configured.notes[0]


def test_headers_that_agree_are_not_mentioned() -> None:
    client = resolve(X_Forwarded_For=CLIENT, X_Forwarded_Proto="https", Forwarded=f'for="{CLIENT}:1";proto=https')
    assert client.notes == ()


def test_the_header_that_is_not_configured_is_mentioned_when_it_stands_alone() -> None:
    client = resolve(Forwarded=f"for={CLIENT}")
    assert client.address == PROXY
    assert "stands alone" in client.notes[0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=80) | st.sampled_from(["10.0.0.1", "for=10.0.0.1;proto=https", ",", '"', 'for="'])))
@example(['for="10.0.0.1'])
def test_nothing_a_client_sends_hides_what_the_proxy_appends(sent: list[str]) -> None:
    before = ",".join(sent)
    assert resolve(X_Forwarded_For=f"{before}, {CLIENT}").address == CLIENT
    client = resolve(trust=BY_FORWARDED, Forwarded=f"{before}, for={CLIENT};proto=http")
    assert (client.address, client.secure, client.uncertain) == (CLIENT, False, False)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=80)))
def test_whatever_arrives_gets_an_answer_fit_for_the_log(lines: list[str]) -> None:
    client = resolve(X_Forwarded_For=lines, X_Forwarded_Proto=lines, Forwarded=lines)
    assert parse_address(client.address)
    assert all(text.isprintable() and len(text) < 300 for text in (client.how, *client.notes))


# Start-up.


@pytest.mark.parametrize("entry", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "", "fe80::1%eth0/64", "Unix"])
def test_a_bad_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=r"trusted_proxies: ") as caught:
        Trust(["127.0.0.1", entry])
    assert repr(entry) in str(caught.value)


def test_a_bad_header_name_is_named() -> None:
    with pytest.raises(ValueError, match="forwarded_header: 'x-real-ip'"):
        Trust([], forwarded_header="x-real-ip")


def test_parse_address() -> None:
    assert str(parse_address("::FFFF:1.2.3.4")) == "1.2.3.4"
    assert parse_address("1.2.3.4.") is None
