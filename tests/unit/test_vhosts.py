import pytest

from xmppws import errors
from xmppws.http.vhosts import (
    MAX_NAMES_TOLD,
    HostDoubled,
    HostMalformed,
    HostMissing,
    HostRefused,
    HostUnknown,
    VirtualHosts,
)

ONE = VirtualHosts({"example.com": ["example.com", "chat.example.com"]})
SHARED = {
    "example.com": ["chat.example.com"],
    "guest.example.com": ["chat.example.com"],
    "bücher.example": ["bücher.example", "::1"],
}
SEVERAL = VirtualHosts(SHARED)


@pytest.mark.parametrize(
    "host",
    ["chat.example.com", "CHAT.Example.COM", "chat.example.com:8443", "chat.example.com.", " chat.example.com.:80 "],
)
def test_host_is_matched_without_case_port_and_trailing_dot(host: str) -> None:
    candidates = SEVERAL.for_request([host])
    assert candidates.domains == ("example.com", "guest.example.com")
    assert not candidates.fallback


@pytest.mark.parametrize(
    "host",
    [
        "bücher.example",
        "BÜCHER.example:80",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.Example.",
        "[::1]",
        "[0:0::1]:5280",
    ],
)
def test_idna_forms_and_ipv6_literals_are_equal(host: str) -> None:
    assert SEVERAL.for_request([host]).domains == ("bücher.example",)


def test_names_may_be_configured_in_either_form() -> None:
    hosts = VirtualHosts(
        {"a.example": ["xn--bcher-kva.example", "[0::1]", "Chat.A.example.", "chat.a.example"], "b": []}
    )
    for host in ("bücher.example", "[::1]:80", "chat.a.example"):
        assert hosts.for_request([host]).domains == ("a.example",)


@pytest.mark.parametrize("values", [[], [""], ["  "]])
def test_host_missing(values: list[str]) -> None:
    with pytest.raises(HostMissing, match="no Host header") as caught:
        ONE.for_request(values)
    assert caught.value.status == 400


def test_host_doubled() -> None:
    with pytest.raises(HostDoubled, match="more than one Host") as caught:
        ONE.for_request(["chat.example.com", "chat.example.com"])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "host",
    [
        "a b",
        "user@chat.example.com",
        "chat.example.com:port",
        "chat.example.com/x",
        "[::1",
        "[::1]]",
        "[1:2]",
        "::1",
        ":80",
        ".",
        "a,b",
        "a\x00b",
        "\udcff.example",
        "a" * 2000,
        "bü\x1bcher",
    ],
)
def test_a_malformed_host_is_refused_even_with_a_fallback(host: str) -> None:
    with pytest.raises(HostMalformed) as caught:
        ONE.for_request([host])
    assert caught.value.status == 400
    assert caught.value.sentence.isprintable()
    assert len(caught.value.sentence) < 200


def test_an_unknown_host_among_several_is_404_and_names_no_other() -> None:
    with pytest.raises(HostUnknown) as caught:
        SEVERAL.for_request(["x" * 200 + ".example"])
    assert caught.value.status == 404
    assert "example.com" not in caught.value.sentence
    assert "x" * 100 in caught.value.sentence
    assert "x" * 101 not in caught.value.sentence
    assert isinstance(caught.value, HostRefused)


def test_the_only_virtual_host_serves_unknown_names_and_tells_each_once() -> None:
    hosts = VirtualHosts({"example.com": ["example.com"]})
    first = hosts.for_request(["localhost:5280"])
    assert (first.domains, first.fallback) == (("example.com",), True)
    assert "localhost:5280" in first.note and "example.com serves it" in first.note
    assert hosts.for_request(["LOCALHOST"]).note == ""
    assert hosts.for_request(["other"]).note


def test_names_told_are_bounded() -> None:
    hosts = VirtualHosts({"example.com": ["example.com"]})
    assert all(hosts.for_request([f"h{i}"]).note for i in range(MAX_NAMES_TOLD))
    assert hosts.for_request(["one-more"]).note == ""
    assert hosts.for_request(["one-more"]).domains == ("example.com",)


def test_a_named_default_host_serves_unknown_names_in_silence() -> None:
    candidates = VirtualHosts(SHARED, "Guest.example.com").for_request(["localhost"])
    assert (candidates.domains, candidates.fallback, candidates.note) == (("guest.example.com",), True, "")


def test_no_default_host() -> None:
    with pytest.raises(HostUnknown):
        VirtualHosts({"example.com": ["example.com"]}, "").for_request(["localhost"])


@pytest.mark.parametrize("default_host", ["nobody.example", "a@@b"])
def test_a_default_host_that_is_none_is_named(default_host: str) -> None:
    with pytest.raises(ValueError, match=f"default_host: '{default_host}'"):
        VirtualHosts(SHARED, default_host)


@pytest.mark.parametrize("name", ["a b", "", "chat.example.com:80", "https://chat.example.com"])
def test_a_bad_http_host_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"http_host of example\.com: ") as caught:
        VirtualHosts({"example.com": [name]})
    assert repr(name) in str(caught.value)


def test_to_chooses_among_the_candidates() -> None:
    candidates = SEVERAL.for_request(["chat.example.com"])
    assert SEVERAL.choose(candidates, "GUEST.example.com") == "guest.example.com"
    books = SEVERAL.for_request(["[::1]"])
    assert SEVERAL.choose(books, "xn--bcher-kva.example") == "bücher.example"


def test_without_to_the_only_candidate_is_meant() -> None:
    assert SEVERAL.choose(SEVERAL.for_request(["bücher.example"]), None) == "bücher.example"
    with pytest.raises(errors.ImproperAddressing, match=r"Several XMPP hosts .* 'chat.example.com'"):
        SEVERAL.choose(SEVERAL.for_request(["chat.example.com"]), None)


@pytest.mark.parametrize("to", ["bücher.example", "example.org", "alice@example.com", "example.com/x"])
def test_to_must_name_a_candidate(to: str) -> None:
    with pytest.raises(errors.HostUnknown) as caught:
        SEVERAL.choose(SEVERAL.for_request(["chat.example.com"]), to)
    assert to in caught.value.text and "chat.example.com" in caught.value.text
    assert "guest" not in caught.value.text


@pytest.mark.parametrize("to", ["", "a@@b", "x" * 5000])
def test_to_must_be_an_address(to: str) -> None:
    with pytest.raises(errors.ImproperAddressing) as caught:
        SEVERAL.choose(SEVERAL.for_request(["chat.example.com"]), to)
    assert len(caught.value.text) < 250
