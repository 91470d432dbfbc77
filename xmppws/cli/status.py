"""`xmppws status`: how a running server is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, ask

if TYPE_CHECKING:
    from xmppws.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_socket_command(commands, "status", "Tell how the running server is.")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what the server says of itself."""
    rows = ask(args, "status")
    if args.json:
        table.show_json(rows)
    else:
        table.show_one(rows[0])
    return 0
