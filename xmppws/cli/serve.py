"""`xmppws serve`: run the server."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from xmppws.cli.command import CommandError, add_command, configuration

if TYPE_CHECKING:
    from xmppws.cli.command import Commands

NO_HOST = """\
xmppws: no virtual host is configured, so nobody can connect; add one to the file, such as [hosts."example.com"],
or try `xmppws serve --demo`"""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "serve", "Run the server.")
    parser.add_argument(
        "--demo",
        action="store_true",
        help="make accounts to try it with; without -c: host localhost, data in ./var, nothing else needed",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the server until it is told to stop; return the exit status."""
    from xmppws.cli.demo import greet
    from xmppws.config import demo_config
    from xmppws.process import run as run_server

    if args.demo and args.config is None:
        read = partial(demo_config, os.environ)
    else:
        read = partial(configuration, args.config)
    config = read()
    if args.demo and "localhost" not in config.hosts:
        raise CommandError(f"--demo makes accounts at localhost, which is no virtual host of {config.source.file}")
    if not config.hosts:
        print(NO_HOST, file=sys.stderr)
    return run_server(config, greet if args.demo else None, read)
