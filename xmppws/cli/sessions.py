"""`xmppws sessions`: who has logged in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, ask

if TYPE_CHECKING:
    from xmppws.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_socket_command(commands, "sessions", "List those who have logged in, the longest first.")
    parser.add_argument("whose", metavar="JID|HOST", nargs="?", default="", help="only of this account or host")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a row for each session."""
    table.show(ask(args, "sessions", whose=args.whose), as_json=args.json, none="Nobody has logged in.")
    return 0
