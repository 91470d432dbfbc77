"""All options of the server, declared here once: type, default, bounds, help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import field

from xmppws.config import checks
from xmppws.config.kinds import KIB, MIB, Duration, Size, Tables
from xmppws.config.options import Opt, Section
from xmppws.config.source import Source
from xmppws.config.upstream import Dns, Upstream

SECOND, MINUTE, HOUR, DAY = 1.0, 60.0, 3600.0, 86400.0
MILLION = 1_000_000


def _no_tables() -> Mapping[str, Any]:
    return MappingProxyType({})


class HostC2S(Section, frozen=True, kw_only=True):
    """Limits of clients that each virtual host may set for itself."""

    # RFC 6120 section 13.12: "A deployed server's maximum stanza size MUST NOT be smaller than 10000 bytes".
    max_stanza_size: Annotated[
        Size, Opt("Largest stanza of a client that is logged in.", minimum=10_000, maximum=64 * MIB)
    ] = 256 * KIB
    resume_timeout: Annotated[
        Duration,
        Opt("How long a session outlives its connection, when the client can resume it.", minimum=0, maximum=DAY),
    ] = 10 * MINUTE
    max_unacked: Annotated[
        int, Opt("Stanzas that a client may leave unacknowledged until its session ends.", minimum=100, maximum=MILLION)
    ] = 1000
    max_unacked_size: Annotated[Size, Opt("Bytes of them.", minimum=64 * KIB, maximum=1024 * MIB)] = 2 * MIB
    max_hibernating: Annotated[
        int, Opt("Sessions of one account without a connection; the oldest makes room.", minimum=1, maximum=100)
    ] = 10
    # RFC 6120 section 6.4.5 advises 2 to 5 retries.
    max_auth_attempts: Annotated[int, Opt("Failed logins until a connection is closed.", minimum=1, maximum=20)] = 3
    max_host_connections: Annotated[
        int,
        Opt(
            "Connections to one virtual host at a time, WebSockets of modules among them; what all hosts may have "
            "together is c2s.max_connections. 0: no bound of its own.",
            minimum=0,
            maximum=1_000_000,
        ),
    ] = 0


class HostOptions(Section, frozen=True, kw_only=True):
    """Options of a virtual host that may also stand at top level, for every host."""

    admins: Annotated[
        tuple[str, ...],
        Opt("Accounts with an administrator's rights.", check=checks.bare_jid, example=("root@example.com",)),
    ] = ()
    modules_enabled: Annotated[
        tuple[str, ...] | None,
        Opt(
            'Modules to load, in place of the default set, for which "default" stands in the list.',
            check=checks.module,
            example=("default", "mine"),
        ),
    ] = None
    modules_disabled: Annotated[
        tuple[str, ...], Opt("Modules taken away from that set.", check=checks.module, example=("roster",))
    ] = ()
    authentication: Annotated[
        tuple[str, ...],
        Opt(
            'Who may log in, tried in order. "internal": the accounts that `xmppws user` adds. "anonymous": everybody '
            "who has none, with an account that ends with the stream, and all its data with it. "
            '"jwt": whoever shows a token that the keys of [jwt] have signed.',
            choices=("internal", "anonymous", "jwt"),
        ),
    ] = ("internal",)
    modules: Annotated[Tables, Opt("Options of modules, one table each.")] = field(default_factory=_no_tables)


class Jwt(Section, frozen=True, kw_only=True):
    """Tokens (JWT) that let in, where `authentication` has "jwt". At least one of the first three is needed."""

    secret: Annotated[
        str,
        Opt(
            "Secret for HS256, shared with who makes the tokens: 32 bytes or more that nobody can guess.",
            secret=True,
        ),
    ] = ""
    key: Annotated[
        str,
        Opt(
            "File of a key in PEM: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA. The public key is enough; with "
            "the private one, `xmppws token` makes tokens.",
            relative=True,
            example="/etc/xmppws/jwt.pem",
        ),
    ] = ""
    jwks_url: Annotated[
        str,
        Opt(
            "Where the public keys are, as a JWK set. https, or http on this machine.",
            check=checks.jwks_url,
            example="https://login.example.com/.well-known/jwks.json",
        ),
    ] = ""
    jwks_refresh: Annotated[
        Duration,
        Opt(
            "How often they are fetched. A token of a key that is not known has them fetched again as well, every "
            "30 seconds at most.",
            minimum=MINUTE,
            maximum=7 * DAY,
        ),
    ] = HOUR
    issuer: Annotated[str, Opt('What `iss` in a token has to be. "": anything, or nothing.')] = ""
    audience: Annotated[
        str,
        Opt(
            'What a token has to have as `aud`, or among them. "": the host\'s own name, and a token may have none: '
            "then it is good for every host with the same key."
        ),
    ] = ""
    leeway: Annotated[
        Duration, Opt("How wrong clocks may be when `exp` and `nbf` are checked.", minimum=0, maximum=5 * MINUTE)
    ] = 10 * SECOND
    username_claim: Annotated[
        str,
        Opt("The claim with the user's name: a localpart, or an address at this host.", check=checks.claim),
    ] = "sub"
    device_claim: Annotated[
        str,
        Opt(
            "The claim with the name of the device, which is the resource of a client that asks for none; while "
            'another session has it, with a random part behind it. "": none.',
        ),
    ] = "device"
    room_claim: Annotated[str, Opt('The claim with the room that the token is for. "": none.')] = "room"
    allow_weak_secret: Annotated[
        bool,
        Opt(
            "Take a secret that is short, or that everybody can read in documentation. For developing on one "
            "machine: whoever knows the secret is whoever they like."
        ),
    ] = False


class Host(HostOptions, frozen=True, kw_only=True):
    """A virtual host."""

    http_host: Annotated[
        tuple[str, ...],
        Opt(
            "Names in the HTTP Host header that mean this host. Default: the host's own name.",
            check=checks.http_host,
            example=("example.com", "chat.example.com"),
        ),
    ] = ()
    external_url: Annotated[
        str, Opt("Public base URL, told in host-meta. Default: taken from the request.", check=checks.external_url)
    ] = ""
    allowed_origins: Annotated[
        tuple[str, ...],
        Opt(
            'Web pages that may connect: "*", "null" or "https://www.example.com". A client without Origin always may.',
            check=checks.origin,
        ),
    ] = ("*",)
    certificate: Annotated[
        str,
        Opt(
            "File of the host's certificate and its chain, PEM, for TLS without a proxy.",
            relative=True,
            example="/etc/letsencrypt/live/example.com/fullchain.pem",
        ),
    ] = ""
    key: Annotated[
        str,
        Opt(
            "File of the private key, PEM. Default: in the certificate's file.",
            relative=True,
            example="/etc/letsencrypt/live/example.com/privkey.pem",
        ),
    ] = ""
    router: Annotated[
        str,
        Opt(
            'Who handles the streams: "local"; "upstream", an XMPP server behind this one; the name of an installed '
            'router, or "package.module:Class".',
            check=checks.router,
        ),
    ] = "local"
    c2s: HostC2S = HostC2S()
    jwt: Jwt = Jwt()
    upstream: Upstream = Upstream()


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
    hosts: Mapping[str, Host] = field(default_factory=_no_tables)
    components: Mapping[str, Component] = field(default_factory=_no_tables)
    links: Mapping[str, Link] = field(default_factory=_no_tables)
    source: Source = Source()
