"""What all commands share: the `-c` option, the configuration behind it, and how a command says no."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmppws.config import Config

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SYSTEM_FILE = Path("/etc/xmppws/xmppws.toml")


class CommandError(Exception):
    """A command cannot do what was asked; the message is one line for whoever asked."""


def add_command(commands: Commands, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a command that takes `-c FILE`."""
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        help=f"configuration file (default: {SYSTEM_FILE} if it is there, else built-in defaults)",
    )
    return parser


def configuration(file: Path | None) -> Config:
    """Load the file that was named, else the system's, else the defaults; raise `ConfigError`.

    What the environment sets goes over all of them.
    """
    # Imported here so that `--help` does not wait for it.
    from xmppws.config import load

    return load(configuration_file(file), os.environ)


def configuration_file(file: Path | None) -> Path | None:
    """Return the file that was named, else the system's, else None: the defaults."""
    return file or (SYSTEM_FILE if SYSTEM_FILE.exists() else None)
