"""Options of other programs beside this server: components that attach to it, and servers that it is linked to."""

from __future__ import annotations

from typing import Annotated

from xmppws.config import checks
from xmppws.config.kinds import HOUR, KIB, MIB, MILLION, SECOND, Duration, Size
from xmppws.config.options import Opt, Section


class Component(Section, frozen=True, kw_only=True):
    """A domain of its own beside a virtual host: a module serves it, such as one for rooms, or another program.

    A program, such as a gateway, attaches at `component_listen` with the secret (XEP-0114).
    """

    module: Annotated[str, Opt("The module that serves it.", check=checks.module, example="muc")] = ""
    secret: Annotated[str, Opt("The secret of the program that serves it.", secret=True)] = ""
    domains: Annotated[
        tuple[str, ...],
        Opt(
            "Further domains that the same program serves on the same connection.",
            check=checks.host_name,
        ),
    ] = ()
    max_stanza_size: Annotated[Size, Opt("Largest stanza of the program.", minimum=10_000, maximum=64 * MIB)] = (
        256 * KIB
    )
    stanzas_per_second: Annotated[
        int, Opt("Stanzas of the program in a second; further ones wait.", minimum=1, maximum=MILLION)
    ] = 1000
    host: Annotated[
        str,
        Opt(
            "The virtual host whose module that is. Default: the one whose name the domain ends in.",
            check=checks.host_name,
            example="example.com",
        ),
    ] = ""


class Link(Section, frozen=True, kw_only=True):
    """The link of a virtual host, or of a component of it, to another server, as a component of that (XEP-0114).

    What its users send to addresses that are not here goes there.
    """

    address: Annotated[
        str,
        Opt(
            'Where the server takes components: "host:port", "[IPv6 address]:port" or "unix:/path". The protocol knows '
            "no TLS: let it be this machine, or a network of your own.",
            check=checks.listen,
            example="127.0.0.1:5347",
        ),
    ] = ""
    secret: Annotated[
        str,
        Opt(
            "The secret that the server has for this component.",
            secret=True,
            example="known to both, and to nobody else",
        ),
    ] = ""
    max_stanza_size: Annotated[Size, Opt("Largest stanza of the server.", minimum=10_000, maximum=64 * MIB)] = MIB
    stanzas_per_second: Annotated[
        int, Opt("Stanzas of the server in a second; further ones wait.", minimum=1, maximum=MILLION)
    ] = 10_000
    max_queue: Annotated[
        int, Opt("Stanzas that wait while the link is down; further ones are errors.", minimum=0, maximum=MILLION)
    ] = 1000
    max_queue_size: Annotated[Size, Opt("Bytes of them.", minimum=0, maximum=1024 * MIB)] = MIB
    queue_timeout: Annotated[
        Duration, Opt("How long they wait until their senders are told that they did not arrive.", maximum=HOUR)
    ] = 30 * SECOND
