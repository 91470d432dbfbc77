"""`xmppws watch`: the stanzas of an account as they pass, without what is said in them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, follow

if TYPE_CHECKING:
    from xmppws.cli.command import Commands

_ARROWS: Final = {"in": "→", "out": "←"}


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_socket_command(commands, "watch", "Show the stanzas of an account as they pass, without their texts.")
    parser.add_argument("jid", metavar="JID", help="the account")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a line for each stanza until interrupted."""
    for event in follow(args, "watch", jid=args.jid):
        if args.json:
            table.show_json([event])
        else:
            print(_line(event))
        # Whoever reads a pipe wants each as it comes.
        print(end="", flush=True)
    return 0


def _line(event: dict[str, Any]) -> str:
    if "watching" in event:
        return f"watching {event['watching']}, connections: {event['connections']}; → from the client, ← to the client"
    missed = f"({event['dropped']} not shown, as they came too fast)\n" if event["dropped"] else ""
    return f"{missed}{event['time']} {event['id']} {_ARROWS[event['direction']]} {table.printable(event['stanza'])}"
