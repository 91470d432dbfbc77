"""`xmppws check-config`: tell every mistake of the configuration at once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xmppws.cli.command import add_command, configuration

if TYPE_CHECKING:
    from xmppws.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "check-config", "Tell every mistake in the configuration, with file, line and key.")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print every mistake and return 1, or say that there is none."""
    from xmppws.config import ConfigError

    try:
        config = configuration(args.config)
    except ConfigError as error:
        print(error)
        return 1
    print(f"{config.source.file}: ok; virtual hosts: {', '.join(config.hosts) or 'none'}")
    return 0
