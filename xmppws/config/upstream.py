"""Options of the router `upstream`, and of name servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Final

from xmppws.config.checks import Address, address
from xmppws.config.kinds import MIB, Duration, Size
from xmppws.config.options import Opt, Section

_DNS_PORT: Final = 53
_with_port = re.compile(r"(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})").fullmatch
_NAMESERVER = 'must be an address such as "127.0.0.1", "127.0.0.1:5353" or "[::1]:5353"'


def nameserver(text: str) -> tuple[str, int]:
    """Split an entry of `dns.nameservers` into address and port; raise ValueError."""
    match = _with_port(text)
    host, port = (match[1] or match[2], int(match[3])) if match else (text.strip("[]"), _DNS_PORT)
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(_NAMESERVER) from None
    if not 0 < port < 65536:
        raise ValueError(_NAMESERVER)
    return host, port


def _nameserver(text: str) -> str:
    nameserver(text)
    return text


def _server(text: str) -> str:
    """Check where a server is."""
    try:
        found = address(text)
    except ValueError as error:
        raise ValueError(_SERVER if not text.startswith("unix:") else str(error)) from None
    if found.name or (not found.path and not found.port):
        raise ValueError(_SERVER)
    return text


_SERVER = 'must be "host:port", "[IPv6 address]:port" or "unix:/path"'


class Upstream(Section, frozen=True, kw_only=True):
    """The XMPP server behind a virtual host with router = "upstream"."""

    address: Annotated[
        tuple[str, ...],
        Opt(
            'Where it is: "host:port", "[IPv6 address]:port" or "unix:/path". Further ones are tried in this order '
            "when those before fail. []: what DNS says for the host's name (SRV, else port 5222).",
            check=_server,
            example=("127.0.0.1:5222",),
        ),
    ] = ()
    tls: Annotated[
        str,
        Opt(
            'How the connection to an `address` is encrypted: "starttls", "direct" (from the first byte), or "none", '
            "which is for this machine and Unix sockets only. DNS says itself what its servers do.",
            choices=("starttls", "direct", "none"),
        ),
    ] = "starttls"
    ca_file: Annotated[
        str,
        Opt(
            "File of the authorities, PEM, that may vouch for it. It has to have a certificate for the host's name. "
            "Default: those of the system.",
            relative=True,
            example="/etc/xmppws/ca.pem",
        ),
    ] = ""
    certificate: Annotated[
        str,
        Opt(
            "File of a certificate and its chain, PEM, to show to it.",
            relative=True,
            example="/etc/xmppws/client.pem",
        ),
    ] = ""
    key: Annotated[
        str,
        Opt(
            "File of its private key, PEM. Default: in the certificate's file.",
            relative=True,
            example="/etc/xmppws/client.key",
        ),
    ] = ""
    connect_timeout: Annotated[
        Duration,
        Opt("Time to find it and connect to it, TLS included, whatever has to be tried.", minimum=0.1, maximum=600),
    ] = 10.0
    proxy_protocol: Annotated[
        str,
        Opt(
            'Tell it the address of each client by a PROXY header of this version. "": do not.',
            choices=("", "v1", "v2"),
        ),
    ] = ""
    max_connections: Annotated[int, Opt("Connections to it at a time.", minimum=1, maximum=1_000_000)] = 20_000
    max_stanza_size: Annotated[Size, Opt("Largest stanza that it may send.", minimum=10_000, maximum=64 * MIB)] = (
        1 * MIB
    )


class Dns(Section, frozen=True, kw_only=True):
    """Name servers."""

    nameservers: Annotated[
        tuple[str, ...],
        Opt(
            'Whom to ask: "address" or "address:port". []: those of the system. One on this machine that validates '
            "(DNSSEC) is believed about TLSA records (DANE) too.",
            check=_nameserver,
            example=("127.0.0.1",),
        ),
    ] = ()
    timeout: Annotated[Duration, Opt("Time for a question, repetitions included.", minimum=0.1, maximum=60)] = 5.0


def faults(upstream: Upstream) -> Iterator[tuple[str, str]]:
    """Yield the options that do not go together with others, each with the rule."""
    if upstream.tls != "starttls" and not upstream.address:
        yield "tls", "is for an `address`: DNS says itself which kind of TLS its servers speak"
    if upstream.tls == "none" and not all(is_near(address(each)) for each in upstream.address):
        yield "tls", '"none" is only for addresses of this machine, such as "127.0.0.1:5222", and Unix sockets'
    if upstream.key and not upstream.certificate:
        yield "key", "needs the certificate that it belongs to"


def is_near(where: Address) -> bool:
    """Tell whether nobody else can be between an address and us."""
    if where.path or where.host == "localhost":
        return True
    try:
        return ip_address(where.host).is_loopback
    except ValueError:
        return False
