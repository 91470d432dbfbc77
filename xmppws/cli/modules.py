"""`xmppws modules`: what is loaded on each virtual host, and in which order it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli.command import CommandError, add_command, configuration

if TYPE_CHECKING:
    from xmppws.cli.command import Commands
    from xmppws.core.host import Host


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "modules", "Show which modules are loaded, and in which order they run.")
    parser.add_argument("--hooks", action="store_true", help="show for every event who handles it, in running order")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load the modules as the server would, and show them."""
    from xmppws.app import Server
    from xmppws.core.catalog import ModuleError

    try:
        server = Server(configuration(args.config))
    except ModuleError as error:
        raise CommandError(str(error)) from None
    for host in server.hosts.values():
        print(host.domain)
        lines = _hooks(host) if args.hooks else _modules(host)
        print("\n".join(f"  {line}" for line in lines))
    return 0


def _modules(host: Host) -> list[str]:
    lines = [
        f"{name:16} {', '.join(f'XEP-{xep.number:04} {xep.version}' for xep in module.xeps)}".rstrip()
        for name, module in host.modules.items()
    ]
    return lines + [f"{domain} is served by {name}" for domain, name in host.components.items()]


def _hooks(host: Host) -> list[str]:
    lines = []
    for event, handlers in sorted(host.hooks.order().items(), key=lambda item: item[0].__name__):
        lines.append(event.__name__)
        lines += [f"  {phase.name.lower():8} {owner}" for phase, owner in handlers]
    return lines
