"""Options of a virtual host, and those that hosts may have of their own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import field

from xmppws.config import checks
from xmppws.config.kinds import DAY, HOUR, KIB, MIB, MILLION, MINUTE, SECOND, Duration, Size, Tables
from xmppws.config.options import Opt, Section
from xmppws.config.upstream import Upstream


def no_tables() -> Mapping[str, Any]:
    """Return the default of options that are tables."""
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
    token_lifetime: Annotated[
        Duration,
        Opt(
            "How long a client can log in without a password, by a token (XEP-0484) that it gets when it logs in with "
            "one. 0: there are no tokens.",
            minimum=0,
            maximum=365 * DAY,
        ),
    ] = 21 * DAY
    token_renewal: Annotated[
        Duration,
        Opt("Age of a token at which a log-in with it gives the client a new one.", minimum=0, maximum=365 * DAY),
    ] = DAY
    max_token_clients: Annotated[
        int, Opt("Clients of one account with tokens; the oldest token makes room.", minimum=1, maximum=1000)
    ] = 50
    slow_reader_wait: Annotated[
        Duration,
        Opt(
            "While a client of the host reads too slowly, who sends it a message or an IQ is not read until it has "
            "caught up, but at most for so long after each of them. 0: nobody waits.",
            minimum=0,
            maximum=MINUTE,
        ),
    ] = 1 * SECOND
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
    modules: Annotated[Tables, Opt("Options of modules, one table each.")] = field(default_factory=no_tables)


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
