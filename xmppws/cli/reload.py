"""`xmppws reload`: read the configuration again, or the code of a module, without a restart."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, ask

if TYPE_CHECKING:
    from xmppws.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    summary = "Read the configuration and certificates again, or the code of a module."
    parser = add_socket_command(commands, "reload", summary)
    parser.add_argument("module", metavar="MODULE", nargs="?", default="", help="read this module again instead")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a row for each change, and whether it is applied."""
    rows = ask(args, "reload", module=args.module)
    table.show(rows, as_json=args.json, none="Nothing has changed; certificates were read again.")
    return 0
