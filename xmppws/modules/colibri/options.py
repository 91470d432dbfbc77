"""Options of the module colibri; beside each that jvb.conf has, its name there."""

from __future__ import annotations

import re
from typing import Annotated, Final

from xmppws.config import Opt, Section

_SERVER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DOMAIN: Final = re.compile(r"[^\s/?#@]+(:\d{1,5})?")
_BRIDGE: Final = re.compile(r"(?P<id>[A-Za-z0-9._-]{1,64})=(?P<address>[^\s/?#@=]+:\d{1,5})")


def check_server_id(text: str) -> str:
    """Return the id of a server; raise ValueError."""
    if _SERVER_ID.fullmatch(text) is None:
        raise ValueError("must have 1 to 64 letters, digits, dots, dashes and underscores, as it stands in URLs")
    return text


def check_domain(text: str) -> str:
    """Return a domain, with a port or without; raise ValueError."""
    if _DOMAIN.fullmatch(text) is None:
        raise ValueError('must be a host, or "host:port", without scheme and path')
    return text


def check_bridge(text: str) -> str:
    """Return a bridge's id and address; raise ValueError."""
    if _BRIDGE.fullmatch(text) is None:
        raise ValueError('must be "server-id=host:port"')
    return text


class ColibriOptions(Section, frozen=True, kw_only=True):
    """Options of the module colibri."""

    focus: Annotated[
        tuple[str, ...], Opt("Bare JIDs that may make conferences, such as that of Jicofo. Default: the host's admins.")
    ] = ()
    domains: Annotated[
        tuple[str, ...],
        Opt(
            "Where clients reach this server, each with a URL of its own (websockets.domains). Default: the host.",
            check=check_domain,
            example=("meet.example.com:443",),
        ),
    ] = ()
    relay_domains: Annotated[
        tuple[str, ...], Opt("Where other bridges do (websockets.relay-domains). Default: domains.", check=check_domain)
    ] = ()
    server_id: Annotated[
        str, Opt("The part of its URLs that names this server (websockets.server-id).", check=check_server_id)
    ] = "default-id"
    tls: Annotated[
        bool, Opt("Whether the URLs begin with wss (websockets.tls), whatever the listener behind the proxy does.")
    ] = True
    bridges: Annotated[
        tuple[str, ...],
        Opt(
            "Other bridges, by server-id, whose WebSockets are passed on to their address, and to no other.",
            check=check_bridge,
            example=("jvb1=127.0.0.1:9090", "jvb2=127.0.0.1:9091"),
        ),
    ] = ()
    max_conferences: Annotated[int, Opt("Conferences at a time.", minimum=1, maximum=100_000)] = 1000
    max_endpoints: Annotated[int, Opt("Endpoints of one conference.", minimum=1, maximum=10_000)] = 200
    max_relays: Annotated[int, Opt("Relays of one conference.", minimum=0, maximum=1000)] = 20


def bridges(options: ColibriOptions) -> dict[str, str]:
    """Return the addresses of other bridges by their ids."""
    found = (_BRIDGE.fullmatch(each) for each in options.bridges)
    return {match["id"]: match["address"] for match in found if match is not None}
