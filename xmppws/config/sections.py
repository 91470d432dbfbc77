"""All options of the server, declared here once: type, default, bounds, help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from msgspec import field

from xmppws.config import checks
from xmppws.config.hosts import Host, HostC2S, HostOptions, Jwt, no_tables
from xmppws.config.kinds import DAY, HOUR, KIB, MIB, MILLION, SECOND, Duration, Size
from xmppws.config.neighbours import Component, Link
from xmppws.config.options import Opt, Section
from xmppws.config.source import Source
from xmppws.config.upstream import Dns


class Listener(Section, frozen=True, kw_only=True):
    """A listener of `http.listeners`, the long form of `http.listen`."""

    address: Annotated[
        str,
        Opt(
            'Where to listen: "address:port", "[IPv6 address]:port", "unix:/path" or "systemd:name".',
            check=checks.listen,
            example="unix:/run/xmppws/http.sock",
        ),
    ] = ""
    tls: Annotated[bool, Opt("Speak TLS, with the certificate below or those of the hosts.")] = False
    certificate: Annotated[str, Opt("File of the certificate and its chain, PEM.", relative=True)] = ""
    key: Annotated[str, Opt("File of the private key, PEM. Default: in the certificate's file.", relative=True)] = ""
    proxy_protocol: Annotated[
        bool, Opt("Each connection begins with a PROXY header, version 1 or 2, from a trusted proxy.")
    ] = False
    mode: Annotated[str, Opt("Access to a Unix socket, in octal.", check=checks.mode)] = "0660"


class Http(Section, frozen=True, kw_only=True):
    """The HTTP side: listeners, the endpoint, proxies."""

    listen: Annotated[
        tuple[str, ...],
        Opt(
            'Where to listen: "address:port", "[IPv6 address]:port", "unix:/path" or "systemd:name". Where a host has '
            "a certificate and no listener of the long form speaks TLS, port 5281 of the same addresses does. "
            '"[::]:5280" is all of IPv6 alone: list "0.0.0.0:5280" beside it.',
            check=checks.listen,
        ),
    ] = ("127.0.0.1:5280",)
    websocket_path: Annotated[str, Opt("Path of the WebSocket endpoint.", check=checks.websocket_path)] = (
        "/xmpp-websocket"
    )
    trusted_proxies: Annotated[
        tuple[str, ...],
        Opt(
            'Whose forwarding headers are believed: addresses, networks such as 10.0.0.0/8, "unix" for Unix sockets.',
            check=checks.trusted_proxy,
        ),
    ] = ("127.0.0.1", "::1")
    forwarded_header: Annotated[
        str,
        Opt("The header that these proxies tell the client's address with.", choices=("x-forwarded-for", "forwarded")),
    ] = "x-forwarded-for"
    consider_websocket_secure: Annotated[
        bool, Opt("Take connections as secure although nothing says so. Login needs a secure connection.")
    ] = False
    default_host: Annotated[
        str,
        Opt(
            'Virtual host for unknown Host headers: its name, "" (none), or "auto" (the only one, when there is one).',
            check=checks.default_host,
        ),
    ] = "auto"
    console: Annotated[
        bool, Opt("Serve a page at / and /console/ that logs in, chats, and shows what the server sees of the browser.")
    ] = False
    listeners: tuple[Listener, ...] = ()


class C2S(HostC2S, frozen=True, kw_only=True):
    """Limits and time-outs of clients."""

    handshake_timeout: Annotated[
        Duration, Opt("Time from the TCP connection to the first byte of XMPP.", minimum=0.1, maximum=HOUR)
    ] = 10 * SECOND
    auth_timeout: Annotated[Duration, Opt("Time a client has to log in.", minimum=0.1, maximum=HOUR)] = 30 * SECOND
    read_timeout: Annotated[
        Duration,
        Opt(
            "A client that sends no stanza for so long is asked for one. The proxy's time-out has to be higher.",
            minimum=0.1,
            maximum=30 * DAY,
        ),
    ] = 840 * SECOND
    ping_interval: Annotated[
        Duration,
        Opt("A WebSocket ping is sent when so long nothing came, or nothing was sent.", minimum=0.1, maximum=DAY),
    ] = 30 * SECOND
    pong_timeout: Annotated[
        Duration, Opt("A connection that does not answer a ping for so long is dead.", minimum=0.1, maximum=HOUR)
    ] = 30 * SECOND
    close_timeout: Annotated[
        Duration, Opt("Time a client has to answer a close before the socket is cut.", minimum=0.1, maximum=HOUR)
    ] = 5 * SECOND
    max_unauthenticated_size: Annotated[
        Size, Opt("Largest message of a client that is not logged in yet.", minimum=2 * KIB, maximum=64 * MIB)
    ] = 16 * KIB
    max_depth: Annotated[int, Opt("How deep elements may nest in a stanza.", minimum=10, maximum=200)] = 100
    max_elements: Annotated[int, Opt("How many elements a stanza may have.", minimum=100, maximum=1_000_000)] = 10_000
    max_connections: Annotated[
        int, Opt("Connections at a time, of all hosts together.", minimum=1, maximum=1_000_000)
    ] = 20_000
    max_unauthenticated_per_address: Annotated[
        int, Opt("Connections from one address that are not logged in yet.", minimum=1, maximum=1_000_000)
    ] = 100
    max_send_buffer: Annotated[
        Size, Opt("Bytes that may wait for one slow client.", minimum=16 * KIB, maximum=1024 * MIB)
    ] = 1 * MIB


class Pace(Section, frozen=True, kw_only=True):
    """How much one client or one address may do in a second. Who sends more is read more slowly; nothing is dropped."""

    connections_per_address: Annotated[
        int, Opt("Connections from one address, or one /64 network of IPv6.", minimum=1, maximum=1_000_000)
    ] = 500
    handshakes_per_second: Annotated[
        int, Opt("New connections from one address; further ones are refused with 429.", minimum=1, maximum=100_000)
    ] = 20
    logins_per_second: Annotated[
        int, Opt("Attempts to log in from one address; further ones fail for now.", minimum=1, maximum=100_000)
    ] = 10
    stanzas_per_second: Annotated[
        int, Opt("Stanzas, and other WebSocket frames, from a client that has logged in.", minimum=1, maximum=MILLION)
    ] = 500
    bytes_per_second: Annotated[
        Size, Opt("Bytes from a client that has logged in.", minimum=1 * KIB, maximum=1024 * MIB)
    ] = 1 * MIB
    guest_stanzas_per_second: Annotated[
        int, Opt("The same for guests (anonymous), and before the login.", minimum=1, maximum=MILLION)
    ] = 50
    guest_bytes_per_second: Annotated[
        Size, Opt("The same for guests (anonymous), and before the login.", minimum=1 * KIB, maximum=1024 * MIB)
    ] = 128 * KIB
    burst: Annotated[
        Duration, Opt("How much may come at once after a pause: as much as in this time.", minimum=1, maximum=HOUR)
    ] = 10 * SECOND
    exempt: Annotated[
        tuple[str, ...],
        Opt("Addresses and networks of clients for which this table does not hold.", check=checks.network),
    ] = ("127.0.0.1", "::1")


class Storage(Section, frozen=True, kw_only=True):
    """Where data is kept."""

    url: Annotated[
        str,
        Opt(
            '"sqlite:" (xmppws.sqlite in data_dir), "sqlite:/path/to/file", or "memory:" (lost at the end).',
            check=checks.storage_url,
        ),
    ] = "sqlite:"


class Metrics(Section, frozen=True, kw_only=True):
    """Figures for Prometheus, at /metrics."""

    listen: Annotated[
        tuple[str, ...],
        Opt("Where to listen for them alone, written as in http.listen. [] is nowhere.", check=checks.listen),
    ] = ("127.0.0.1:5282",)
    token: Annotated[
        str,
        Opt(
            'With it, the listeners of [http] serve /metrics too, to requests with "Authorization: Bearer TOKEN". '
            '"": they do not.',
            secret=True,
        ),
    ] = ""


class Log(Section, frozen=True, kw_only=True):
    """What is logged."""

    level: Annotated[
        str, Opt("The least important messages that are logged.", choices=("debug", "info", "warning", "error"))
    ] = "info"
    format: Annotated[
        str, Opt("Lines for people, or one JSON object a line for programs.", choices=("text", "json"))
    ] = "text"
    error_file: Annotated[
        str,
        Opt(
            'File that keeps the newest warnings and errors as JSON lines, relative to data_dir; "" is none.',
            example="logs/errors.log",
        ),
    ] = ""
    error_max_entries: Annotated[int, Opt("How many of them it keeps.", minimum=1, maximum=100_000)] = 200
    audit_file: Annotated[
        str,
        Opt(
            'File of log-ins, failures, and what admins did, as JSON lines, relative to data_dir; "" is none.',
            example="logs/audit.log",
        ),
    ] = ""


class Config(HostOptions, frozen=True, kw_only=True):
    """The configuration of a server; without a file, the defaults. Durations are seconds, sizes bytes.

    In `hosts`, what a host does not set is filled in from top level.
    """

    include: Annotated[
        tuple[str, ...],
        Opt("Further files to read, in the order of their names.", example=("conf.d/*.toml",), relative=True),
    ] = ()
    data_dir: Annotated[Path, Opt("Directory of the server's data.")] = Path("/var/lib/xmppws")
    plugin_paths: Annotated[
        tuple[str, ...],
        Opt("Directories with modules of your own, one file each.", relative=True, example=("/etc/xmppws/modules",)),
    ] = ()
    admin_socket: Annotated[
        str,
        Opt(
            "Unix socket by which `xmppws status` and its siblings reach the server; its mode, 0660, says who may. "
            '"": none. "auto": /run/xmppws/admin.sock where that directory exists, else none.',
            check=checks.admin_socket,
        ),
    ] = "auto"
    routes: Annotated[
        tuple[str, ...],
        Opt(
            "Further ways to addresses that are not here: the names of installed routes, or "
            '"package.module:Class", in the order to ask them.',
            check=checks.route,
        ),
    ] = ()
    component_listen: Annotated[
        tuple[str, ...],
        Opt(
            "Where programs attach that serve the [components] with a secret; written as in http.listen, without TLS.",
            check=checks.listen,
        ),
    ] = ("127.0.0.1:5347",)
    http: Http = Http()
    c2s: C2S = C2S()
    limits: Pace = Pace()
    jwt: Jwt = Jwt()
    storage: Storage = Storage()
    metrics: Metrics = Metrics()
    dns: Dns = Dns()
    log: Log = Log()
    hosts: Mapping[str, Host] = field(default_factory=no_tables)
    components: Mapping[str, Component] = field(default_factory=no_tables)
    links: Mapping[str, Link] = field(default_factory=no_tables)
    source: Source = Source()
