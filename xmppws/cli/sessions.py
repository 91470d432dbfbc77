"""`xmppws sessions`: who has logged in, and who may come back."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, ask

if TYPE_CHECKING:
    from xmppws.cli.command import Commands
    from xmppws.core.admin import Row


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_socket_command(commands, "sessions", "List those who have logged in, the longest first.")
    parser.add_argument("whose", metavar="JID|HOST", nargs="?", default="", help="only of this account or host")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a row for each session."""
    rows = ask(args, "sessions", whose=args.whose)
    if not args.json:
        rows = [_for_people(row) for row in rows]
    table.show(rows, as_json=args.json, none="Nobody has logged in.")
    return 0


def _for_people(row: Row) -> Row:
    """Put together what belongs together."""
    jid = f"{row['user']}/{row['resource']}" if row["resource"] else row["user"]
    return {
        "jid": jid,
        "state": row["state"],
        "idle_seconds": row["idle_seconds"],
        "round_trip_seconds": row["round_trip_seconds"],
        # Without a socket there is none.
        "queue_bytes": row["queue_bytes"] if row["resumable_seconds"] is None else None,
        "unacked": _unacked(row),
        "last_end": _last_end(row),
        "resumed": row["resumed"] or "",
        "resumable_seconds": row["resumable_seconds"],
        "address": row["address"],
        "since": row["since"],
        "id": row["id"],
    }


def _unacked(row: Row) -> str:
    if not row["unacked"]:
        return "" if row["unacked"] is None else "0"
    return f"{row['unacked']} ({table.cell('unacked_bytes', row['unacked_bytes'])})"


def _last_end(row: Row) -> str:
    if not row["last_end"]:
        return ""
    ago = table.cell("last_end_seconds", row["last_end_seconds"])
    return f"{row['last_end']} ({row['last_end_by']}) {ago} ago"
