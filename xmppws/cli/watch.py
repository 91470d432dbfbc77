"""`xmppws watch`: the stanzas of an account as they pass, without what is said in them, and its comings and goings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from xmppws.cli import table
from xmppws.cli.socket_client import add_socket_command, follow

if TYPE_CHECKING:
    from xmppws.cli.command import Commands

_ARROWS: Final = {"in": "→", "out": "←"}
_ABOUT_THE_LINE: Final = frozenset({"time", "id", "what", "dropped"})


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_socket_command(
        commands, "watch", "Show what happens to an account, and its stanzas without their texts."
    )
    parser.add_argument("jid", metavar="JID", help="the account")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a line for each stanza and each happening until interrupted."""
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
        counted = f"connections: {event['connections']}, hibernating: {event['hibernating']}"
        return f"watching {event['watching']}, {counted}; → from the client, ← to the client"
    missed = f"({event['dropped']} not shown, as they came too fast)\n" if event["dropped"] else ""
    shown = (
        _happening(event) if "what" in event else f"{_ARROWS[event['direction']]} {table.printable(event['stanza'])}"
    )
    return f"{missed}{event['time']} {event['id']} {shown}"


def _happening(event: dict[str, Any]) -> str:
    facts = {name: value for name, value in event.items() if name not in _ABOUT_THE_LINE and value not in (None, "")}
    told = ", ".join(f"{table.heading(name)} {table.cell(name, value)}" for name, value in facts.items())
    return f"• {event['what']}: {told}"
