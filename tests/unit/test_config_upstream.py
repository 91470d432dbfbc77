"""What the configuration says of upstream servers and name servers."""

from __future__ import annotations

from typing import Any

import pytest

from xmppws.config.options import options
from xmppws.config.upstream import Dns, Upstream, faults, nameserver


def rule(name: str, value: object, section: type[Any] = Upstream) -> str:
    option = options(section)[name]
    try:
        option.read(value)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("text", ["xmpp.example.com:5222", "127.0.0.1:1", "[::1]:5223", "unix:/run/xmpp.sock"])
def test_right_addresses(text: str) -> None:
    assert rule("address", text) == ""


@pytest.mark.parametrize("text", ["", "xmpp.example.com", "host:0", "host:70000", "::1:5222", "systemd:x", "a b:1"])
def test_wrong_addresses(text: str) -> None:
    assert rule("address", text) == 'must be "host:port", "[IPv6 address]:port" or "unix:/path"'


def test_a_socket_needs_its_whole_path() -> None:
    assert rule("address", "unix:xmpp.sock").startswith("a Unix socket is written with its whole path")


def test_choices() -> None:
    assert rule("tls", "maybe") == 'must be "starttls" or "direct" or "none"'
    assert rule("proxy_protocol", "v3") == 'must be "" or "v1" or "v2"'
    assert rule("connect_timeout", "1h") == 'must be at most "600s"'
    assert rule("max_connections", 0) == "must be at least 1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_name_servers(text: str, found: tuple[str, int]) -> None:
    assert rule("nameservers", text, Dns) == ""
    assert nameserver(text) == found


@pytest.mark.parametrize("text", ["", "ns.example.com", "ns.example.com:53", "127.0.0.1:0", "127.0.0.1:70000", "1:2:3"])
def test_wrong_name_servers(text: str) -> None:
    assert rule("nameservers", text, Dns).startswith('must be an address such as "127.0.0.1", "127.0.0.1:5353"')


@pytest.mark.parametrize(
    "upstream",
    [
        Upstream(),
        Upstream(address=("xmpp.example.com:5222",)),
        Upstream(address=("xmpp.example.com:5223",), tls="direct", certificate="c", key="k"),
        Upstream(address=("127.0.0.7:5222", "[::1]:5222", "localhost:5222", "unix:/run/xmpp.sock"), tls="none"),
    ],
)
def test_what_goes_together(upstream: Upstream) -> None:
    assert list(faults(upstream)) == []


@pytest.mark.parametrize(
    ("upstream", "option", "text"),
    [
        (Upstream(tls="none"), "tls", "is for an `address`: DNS says itself"),
        (Upstream(tls="direct"), "tls", "is for an `address`: DNS says itself"),
        (Upstream(tls="none", address=("127.0.0.1:1", "10.0.0.1:1")), "tls", '"none" is only for addresses of this'),
        (Upstream(tls="none", address=("xmpp.example.com:5222",)), "tls", '"none" is only for addresses of this'),
        (Upstream(key="k"), "key", "needs the certificate that it belongs to"),
    ],
)
def test_what_does_not(upstream: Upstream, option: str, text: str) -> None:
    ((name, told),) = faults(upstream)
    assert name == option
    assert told.startswith(text)


def test_every_option_has_help_and_a_default_within_its_bounds() -> None:
    for section in (Upstream, Dns):
        for option in options(section).values():
            assert option.opt.help.endswith(".")
            if option.opt.minimum is not None and option.opt.maximum is not None:
                assert option.opt.minimum <= option.default <= option.opt.maximum
