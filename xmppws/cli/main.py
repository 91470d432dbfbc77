"""The command line: finds the command, and turns what goes wrong into one line and an exit status."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from xmppws import __version__
from xmppws.cli import admin, check_config, kick, modules, reload, serve, sessions, status, token, user, watch
from xmppws.cli.command import CommandError

FAILED = 1
# What shells report for a program that SIGINT or SIGPIPE ended.
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 refused, 2 wrong usage, 130 interrupted."""
    _escape_what_the_terminal_cannot_show()
    args = _parser().parse_args(arguments)
    try:
        status = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away; without this, Python complains once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if not _is_of_the_user(error):
            raise
        print(f"xmppws: {_told(error)}", file=sys.stderr)
        return FAILED
    return int(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xmppws", description="An XMPP-over-WebSocket server (RFC 7395).")
    parser.add_argument("--version", action="version", version=f"xmppws {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (serve, check_config, user, token, modules, status, sessions, kick, reload, watch, admin):
        command.add_to(commands)
    return parser


def _is_of_the_user(error: Exception) -> bool:
    # Imported here so that `--help` does not wait for it.
    from xmppws.config import ConfigError
    from xmppws.core.stores import StorageError

    return isinstance(error, CommandError | ConfigError | StorageError | OSError)


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _escape_what_the_terminal_cannot_show() -> None:
    # File names may hold bytes that are no text, and terminals may not be UTF-8.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
