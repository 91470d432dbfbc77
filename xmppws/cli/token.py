"""`xmppws token`: make a token for a user of a host whose `authentication` has "jwt"."""

from __future__ import annotations

import argparse
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from xmppws.cli.command import CommandError, add_command, configuration

if TYPE_CHECKING:
    from xmppws.cli.command import Commands
    from xmppws.config import Config, Jwt
    from xmppws.jid import Jid

# Seconds.
_SHORTEST: Final = 1
_LONGEST: Final = 10 * 366 * 86400


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "token", "Make a token that lets a user in, and print it.")
    parser.add_argument("jid", metavar="JID")
    parser.add_argument("--device", metavar="D", default="", help="the device it is for, the resource of its sessions")
    parser.add_argument("--room", metavar="R", default="", help="the room it is for")
    parser.add_argument("--expires", metavar="TIME", default="30d", help='how long it lasts, such as "12h" or "30d"')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a token."""
    from xmppws.auth.jwt import signing_key
    from xmppws.auth.tokens import mint
    from xmppws.core.auth import ProviderError

    config = configuration(args.config)
    jid = _jid(args.jid)
    jwt = _options(config, jid.domain)
    claims = _claims(args, jid, jwt)
    try:
        token = mint(signing_key(jwt), claims)
    except ProviderError as error:
        raise CommandError(f"{jid.domain}: {error}") from None
    print(token)
    return 0


def _jid(text: str) -> Jid:
    from xmppws.config.checks import bare_jid
    from xmppws.jid import Jid

    try:
        return Jid.parse(bare_jid(text))
    except ValueError as error:
        raise CommandError(f"JID {error}") from None


def _options(config: Config, domain: str) -> Jwt:
    if domain not in config.hosts:
        known = f"it has {', '.join(config.hosts)}" if config.hosts else "it has none"
        raise CommandError(f"{domain} is no virtual host of {config.source.file}: {known}")
    host = config.hosts[domain]
    if "jwt" not in host.authentication:
        raise CommandError(f"{domain} takes no tokens: its authentication is {', '.join(host.authentication)}")
    return host.jwt


def _claims(args: argparse.Namespace, jid: Jid, jwt: Jwt) -> dict[str, Any]:
    now = int(time.time())
    # Said always: with one key for several hosts, a token without it would be good for all of them.
    claims: dict[str, Any] = {"aud": jwt.audience or jid.domain, "iat": now, "exp": now + _seconds(args.expires)}
    if jwt.issuer:
        claims["iss"] = jwt.issuer
    claims["jti"] = str(uuid.uuid4())
    claims[jwt.username_claim] = jid.local
    for option, name, value in (
        ("--device", jwt.device_claim, _device(args.device)),
        ("--room", jwt.room_claim, args.room),
    ):
        if value and not name:
            raise CommandError(f"{option}: {jid.domain} has no claim for it: jwt.{option[2:]}_claim is empty")
        if value:
            claims[name] = value
    return claims


def _device(text: str) -> str:
    from xmppws.auth.tokens import MAX_DEVICE
    from xmppws.jid import InvalidJid, prepare_resource

    if len(text) > MAX_DEVICE:
        raise CommandError(f"--device must have {MAX_DEVICE} characters at most")
    try:
        return prepare_resource(text) if text else ""
    except InvalidJid as error:
        raise CommandError(f"--device must be a resource: {error}") from None


def _seconds(text: str) -> int:
    from xmppws.config.kinds import DURATION

    try:
        seconds = int(DURATION.read(text))
    except ValueError as error:
        raise CommandError(f"--expires {error}") from None
    if not _SHORTEST <= seconds <= _LONGEST:
        raise CommandError("--expires must be at least 1s and at most 3660d")
    return seconds
