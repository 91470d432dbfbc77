"""`xmppws kick`: end the sessions of an account, or one connection."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, ask

if TYPE_CHECKING:
    from xmppws.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_socket_command(commands, "kick", "End the sessions of an account, or one connection.")
    parser.add_argument("target", metavar="JID|ID", help="an account, one of its full JIDs, or a connection's id")
    parser.add_argument("--reason", metavar="TEXT", default="", help="what the user is told")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a row for each session or connection that was ended."""
    rows = ask(args, "kick", target=args.target, reason=args.reason)
    table.show(rows, as_json=args.json, none="Nobody was kicked.")
    return 0
