"""How commands talk to a running server: over its admin socket, which is found by the configuration."""

from __future__ import annotations

import argparse
import grp
import json
import pwd
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xmppws.cli.command import CommandError, add_command, configuration

if TYPE_CHECKING:
    from xmppws.cli.command import Commands
    from xmppws.core.admin import Row

ANSWER_TIMEOUT: Final = 30.0


class NoServer(CommandError):
    """No server answers."""


def add_socket_command(commands: Commands, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a command that asks a running server: it takes `-c FILE` and `--json`."""
    parser = add_command(commands, name, summary)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")
    return parser


def ask(args: argparse.Namespace, command: str, /, **arguments: object) -> list[Row]:
    """Have a command done by the server and return its rows; raise `CommandError`."""
    with _connected(args) as (connection, lines):
        return _ask(connection, lines, command, arguments)


def follow(args: argparse.Namespace, command: str, /, **arguments: object) -> Iterator[dict[str, Any]]:
    """Return the rows of a command that goes on, then its events, for as long as the server sends them."""
    with _connected(args) as (connection, lines):
        yield from _ask(connection, lines, command, arguments)
        connection.settimeout(None)
        for line in lines:
            yield json.loads(line)["event"]
    raise CommandError("the server has stopped")


def _ask(connection: socket.socket, lines: Iterator[bytes], command: str, arguments: dict[str, object]) -> list[Row]:
    try:
        connection.sendall(json.dumps({"command": command, "args": arguments}).encode() + b"\n")
        answer = json.loads(next(lines, b'{"error": "the server went away"}'))
    except TimeoutError:
        raise CommandError(f"the server did not answer within {ANSWER_TIMEOUT:.0f} seconds") from None
    if "error" in answer:
        raise CommandError(answer["error"])
    rows: list[Row] = answer["rows"]
    return rows


@contextmanager
def _connected(args: argparse.Namespace) -> Iterator[tuple[socket.socket, Iterator[bytes]]]:
    path = _path(args.config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIMEOUT)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoServer(f"no server answers on {path}: is it running, with this configuration?") from None
        except PermissionError:
            raise CommandError(f"{path} may not be used{_who_may(path)}") from None
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror or error}") from None
        with connection.makefile("rb") as lines:
            yield connection, lines


def _path(file: Path | None) -> Path:
    from xmppws.core.admin import AUTO, socket_path

    config = configuration(file)
    path = socket_path(config.admin_socket)
    if path is None:
        hint = "" if config.admin_socket != AUTO else ", and /run/xmppws does not exist"
        raise NoServer(f'there is no admin socket: admin_socket is "{config.admin_socket}"{hint}')
    return path


def _who_may(path: Path) -> str:
    with suppress(OSError, KeyError):
        facts = path.stat()
        owner, group = pwd.getpwuid(facts.st_uid).pw_name, grp.getgrgid(facts.st_gid).gr_name
        mode = stat.S_IMODE(facts.st_mode)
        return f": its mode is {mode:04o}, for user {owner} and members of group {group}"
    return ": be the user it belongs to, or a member of its group"
