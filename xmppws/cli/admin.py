"""`xmppws admin`: the commands that modules add."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, ask

if TYPE_CHECKING:
    from xmppws.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_socket_command(commands, "admin", "List the commands of modules, or run one.")
    parser.add_argument("--host", default="", help="the virtual host, where several have the command")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="the command")
    parser.add_argument("arguments", metavar="ARG", nargs="*", help="what it is to work on")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the rows that the command answers."""
    rows = ask(args, "admin", name=args.name, args=args.arguments, host=args.host)
    none = "Done." if args.name else "No module has a command."
    table.show(rows, as_json=args.json, none=none)
    return 0
