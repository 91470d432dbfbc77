"""`xmppws check-config`: tell every mistake of the configuration at once."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from xmppws.cli.command import add_command, configuration_file

if TYPE_CHECKING:
    from xmppws.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "check-config", "Tell every mistake in the configuration, with file, line and key.")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print every mistake and return 1, or say that there is none."""
    from xmppws.cli.config_checks import check
    from xmppws.config import read_config

    config, mistakes = read_config(configuration_file(args.config), os.environ)
    found = config.source.in_order([*mistakes, *check(config)])
    if found:
        print(*found, sep="\n")
        return 1
    print(f"{config.source.file}: ok; virtual hosts: {', '.join(config.hosts) or 'none'}")
    return 0
