"""`xmppws user`: add, change, delete and list accounts, also while the server runs."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from xmppws.cli import passwords
from xmppws.cli.command import CommandError, add_command, configuration

if TYPE_CHECKING:
    from xmppws.cli.command import Commands
    from xmppws.config import Config
    from xmppws.core.auth import Accounts
    from xmppws.jid import Jid

R = TypeVar("R")


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    summary = "Add, change, delete and list accounts, also while the server runs."
    actions = commands.add_parser("user", help=summary, description=summary).add_subparsers(
        title="actions", metavar="ACTION", required=True
    )
    _add_add(actions)
    passwd = add_command(actions, "passwd", "Set the password of an account.")
    passwd.add_argument("jid", metavar="JID")
    _add_password_stdin(passwd)
    passwd.set_defaults(run=set_password)
    remove = add_command(actions, "delete", "Delete an account.")
    remove.add_argument("jid", metavar="JID")
    remove.set_defaults(run=delete)
    show = add_command(actions, "list", "List the accounts of a virtual host, one JID a line.")
    show.add_argument("host", metavar="HOST")
    show.set_defaults(run=show_all)


def _add_add(actions: Commands) -> None:
    parser = add_command(actions, "add", "Add an account, or all accounts of a file.")
    parser.add_argument("jid", metavar="JID", nargs="?")
    source = parser.add_mutually_exclusive_group()
    _add_password_stdin(source)
    source.add_argument("--file", metavar="FILE", type=Path, help='add all of a file, or none: lines "JID password"')
    parser.add_argument(
        "--hashed", action="store_true", help="what stands in the file is what other software keeps: hashes, SCRAM keys"
    )
    parser.set_defaults(run=add, usage_error=parser.error)


def _add_password_stdin(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def add(args: argparse.Namespace) -> int:
    """Add one account, or all accounts of a file."""
    if (args.jid is None) == (args.file is None):
        args.usage_error("give either a JID or --file FILE")
    if args.hashed and not args.file:
        args.usage_error("--hashed goes with --file FILE")
    return _add_file(args) if args.file else _add_one(args)


def _add_one(args: argparse.Namespace) -> int:
    config, jid = _configured(args)
    password = passwords.ask(args.password_stdin, jid.text)
    _on_accounts(config, jid.domain, lambda accounts: accounts.create(jid.local, password))
    print(f"added {jid}")
    return 0


def _add_file(args: argparse.Namespace) -> int:
    from xmppws.cli import account_file

    config = configuration(args.config)
    file = account_file.read(args.file, hashed=args.hashed)
    _check_host(config, file.domain)
    _on_accounts(config, file.domain, file.add_to)
    print(f"added {len(file.entries)} accounts to {file.domain}")
    if args.hashed:
        print(
            "the host offers only what all its accounts can use, until they have got their keys at a log-in: "
            "a running server from `xmppws reload`"
        )
    return 0


def set_password(args: argparse.Namespace) -> int:
    """Set the password of an account."""
    config, jid = _configured(args)
    password = passwords.ask(args.password_stdin, jid.text)
    if not _on_accounts(config, jid.domain, lambda accounts: accounts.set_password(jid.local, password)):
        raise _no_account(jid)
    print(f"changed the password of {jid}")
    return 0


def delete(args: argparse.Namespace) -> int:
    """Delete an account; a running server does it itself, and ends the account's sessions."""
    config, jid = _configured(args)
    ended = _delete_in_server(args, config, jid)
    if ended is None and not _on_accounts(config, jid.domain, lambda accounts: accounts.delete(jid.local)):
        raise _no_account(jid)
    print(f"deleted {jid}" + (f"; {ended} of its sessions ended" if ended else ""))
    return 0


def _delete_in_server(args: argparse.Namespace, config: Config, jid: Jid) -> int | None:
    """Return how many sessions have ended, or None if no server has the account."""
    from xmppws.cli.socket_client import NoServer, ask
    from xmppws.storage import identity

    try:
        rows = ask(args, "delete-account", jid=jid.text, data=identity(config.storage.url, config.data_dir))
    except NoServer:
        return None
    return int(rows[0]["sessions"]) if rows else None


def show_all(args: argparse.Namespace) -> int:
    """Print the JIDs of a host, sorted."""
    from xmppws.config.checks import host_name

    config = configuration(args.config)
    try:
        domain = host_name(args.host)
    except ValueError as error:
        raise CommandError(f"HOST {error}") from None
    _check_host(config, domain)
    for username in _on_accounts(config, domain, lambda accounts: accounts.list()):
        print(f"{username}@{domain}")
    return 0


def _configured(args: argparse.Namespace) -> tuple[Config, Jid]:
    from xmppws.config.checks import bare_jid
    from xmppws.jid import Jid

    config = configuration(args.config)
    try:
        jid = Jid.parse(bare_jid(args.jid))
    except ValueError as error:
        raise CommandError(f"JID {error}") from None
    _check_host(config, jid.domain)
    return config, jid


def _check_host(config: Config, domain: str) -> None:
    if domain not in config.hosts:
        known = f"it has {', '.join(config.hosts)}" if config.hosts else "it has none"
        raise CommandError(f"{domain} is no virtual host of {config.source.file}: {known}")
    if "internal" not in config.hosts[domain].authentication:
        has = ", ".join(config.hosts[domain].authentication)
        raise CommandError(f"{domain} has no accounts of its own: its authentication is {has}")
    if config.storage.url == "memory:":
        raise CommandError('with storage.url = "memory:" accounts live in the running server alone')


def _on_accounts(config: Config, domain: str, action: Callable[[Accounts], Awaitable[R]]) -> R:
    from xmppws.app import open_accounts
    from xmppws.core.auth import InvalidPassword
    from xmppws.core.stores import AlreadyExists

    async def act() -> R:
        async with open_accounts(config, domain) as accounts:
            return await action(accounts)

    try:
        return asyncio.run(act())
    except AlreadyExists as error:
        raise CommandError(f"at {domain}, {error}") from None
    except InvalidPassword as error:
        raise CommandError(str(error)) from None


def _no_account(jid: Jid) -> CommandError:
    return CommandError(f"there is no account {jid}")
