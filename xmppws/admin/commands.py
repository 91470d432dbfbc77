"""The commands of the admin socket: each takes its arguments and returns rows, or raises `AdminError`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import isawaitable
from types import MappingProxyType
from typing import Any, Final, TypeVar

from msgspec import Struct

from xmppws.admin.served import Served
from xmppws.admin.sessions import Seen, seen
from xmppws.core import deletion
from xmppws.core.admin import AdminCommand, AdminError, Row
from xmppws.core.catalog import ModuleError
from xmppws.core.declare import Binding
from xmppws.core.host import Host
from xmppws.errors import Reason, StreamPolicyViolation
from xmppws.jid import InvalidJid, Jid

RECENT: Final = 15 * 60.0
MAX_REASON: Final = 200

A = TypeVar("A", bound="Arguments")


class Arguments(Struct, forbid_unknown_fields=True):
    """The arguments of a command that takes none."""


class OfSessions(Arguments):
    """`whose`: a JID, a host, or "" for all."""

    whose: str = ""


class OfKick(Arguments):
    """`target`: a bare JID, a full one, or the id of a connection, be it the last one of a session that hibernates.

    `reason`: a sentence for the user.
    """

    target: str
    reason: str = ""


class OfDeletion(Arguments):
    """`jid`: the account. `data`: where whoever asks has found it (see `Served.data`)."""

    jid: str
    data: str


class OfReload(Arguments):
    """`module`: its name, or "" for the configuration."""

    module: str = ""


class OfAdmin(Arguments):
    """`name`: a module's command, or "" for a list of them. `host`: on which virtual host it runs."""

    name: str = ""
    args: list[str] = []
    host: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """`audited` is the argument that the audit log keeps, "" for a command that only looks."""

    arguments: type[Arguments]
    run: Callable[[Served, Any], Awaitable[list[Row]]]
    audited: str = ""


async def status(server: Served, args: Arguments) -> list[Row]:
    """Tell how the server is, in one row."""
    states = Counter(each.state for each in server.connections.all())
    ends = server.connections.recent_ends(RECENT)
    asleep = Counter(each.facts.host for each in seen(server) if each.hibernates)
    return [
        {
            "version": server.version,
            "pid": os.getpid(),
            "uptime_seconds": round(server.uptime(), 3),
            "memory_bytes": server.memory(),
            "listeners": list(server.listeners),
            "sessions": {domain: len(host.sessions) for domain, host in server.hosts.items()},
            "hibernating": {domain: asleep[domain] for domain in server.hosts},
            "connections": dict(sorted(states.items())),
            "recent_ends": {reason.id: number for reason, number in ends.most_common()},
        }
    ]


async def sessions(server: Served, args: OfSessions) -> list[Row]:
    """List those who have logged in, those that hibernate too, the longest first."""
    jid = _parsed(args.whose) if args.whose else None
    found = [each for each in seen(server) if jid is None or each.is_of(jid)]
    found.sort(key=lambda each: each.facts.lasted, reverse=True)
    now = datetime.now(UTC)
    return [each.row(now) for each in found]


async def kick(server: Served, args: OfKick) -> list[Row]:
    """End the sessions of a user, or one of them."""
    if len(args.reason) > MAX_REASON or not args.reason.isprintable():
        raise AdminError(f"the reason must be one line of at most {MAX_REASON} characters")
    jid = _parsed(args.target) if "@" in args.target else None
    # A connection that has not logged in can be ended as well.
    strangers = [Seen(each, None) for each in server.connections.all() if not each.user]
    found = [
        each
        for each in (*seen(server), *strangers)
        if (each.facts.id == args.target if jid is None else each.is_of(jid))
    ]
    error = StreamPolicyViolation(args.reason, Reason.KICKED)
    rows = [
        {"user": each.facts.user, "state": each.facts.state, "address": each.facts.address, "id": each.facts.id}
        for each in found
        if each.end(server, error)
    ]
    if not rows:
        nobody = f"no connection has the id {args.target}" if jid is None else f"{jid} has no session"
        raise AdminError(nobody)
    return rows


async def delete_account(server: Served, args: OfDeletion) -> list[Row]:
    """Delete an account, ending its sessions; no row means that this server does not have it."""
    jid = account(args.jid)
    host = server.hosts.get(jid.domain)
    # Another server may use the socket: the account of its that has the same name is not meant.
    if host is None or args.data != server.data:
        return []
    ended = await deletion.delete_account(host, jid)
    return [] if ended is None else [{"user": jid.text, "sessions": ended}]


async def reload(server: Served, args: OfReload) -> list[Row]:
    """Read the configuration again, or the code of one module."""
    if not args.module:
        return await server.reload()
    hosts = [domain for domain, host in server.hosts.items() if args.module in host.modules]
    if not hosts:
        raise AdminError(f"no host has the module {args.module!r} loaded; `xmppws modules` lists those that are")
    try:
        await server.reload_module(args.module)
    except ModuleError as error:
        raise AdminError(str(error)) from None
    return [{"module": args.module, "host": domain, "outcome": "read again"} for domain in hosts]


async def admin(server: Served, args: OfAdmin) -> list[Row]:
    """List the commands of modules, or run one."""
    if args.host and args.host not in server.hosts:
        raise AdminError(f"there is no local host {args.host}; there are: {', '.join(server.hosts)}")
    found = [
        (host, binding, declaration)
        for host, binding, declaration in _module_commands(server)
        if args.host in ("", host.domain)
    ]
    if not args.name:
        return [
            {"name": declaration.name, "host": host.domain, "module": binding.owner, "help": declaration.help}
            for host, binding, declaration in found
        ]
    named = [(host, binding) for host, binding, declaration in found if declaration.name == args.name]
    if not named:
        raise AdminError(f"no module has a command {args.name}; `xmppws admin` lists those there are")
    if len(named) > 1:
        hosts = ", ".join(host.domain for host, _ in named)
        raise AdminError(f"several hosts have the command {args.name}; choose by --host one of: {hosts}")
    answer = named[0][1].method(args.args)
    rows: list[Row] = await answer if isawaitable(answer) else answer
    return rows


COMMANDS: Final = MappingProxyType(
    {
        "status": Command(Arguments, status),
        "sessions": Command(OfSessions, sessions),
        "kick": Command(OfKick, kick, audited="target"),
        "delete-account": Command(OfDeletion, delete_account, audited="jid"),
        "reload": Command(OfReload, reload, audited="module"),
        "admin": Command(OfAdmin, admin, audited="name"),
    }
)


def account(text: str) -> Jid:
    """Read the address of an account; raises `AdminError`."""
    jid = _parsed(text)
    if not jid.local or jid.resource:
        raise AdminError(f"{text} is not the address of an account, such as user@example.com")
    return jid


def _parsed(text: str) -> Jid:
    try:
        return Jid.parse(text)
    except InvalidJid as error:
        raise AdminError(f"{text} is not an XMPP address: {error}") from None


def _module_commands(server: Served) -> Iterator[tuple[Host, Binding, AdminCommand]]:
    for host in server.hosts.values():
        for binding in host.bindings:
            if isinstance(binding.declaration, AdminCommand):
                yield host, binding, binding.declaration
