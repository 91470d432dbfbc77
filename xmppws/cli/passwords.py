"""How a command gets a password: from standard input, or typed twice at a terminal; never from the command line."""

import sys
from getpass import getpass

from xmppws.cli.command import CommandError

# SASLprep and PBKDF2 take any length; people do not.
MAX_LENGTH = 1024


def ask(from_stdin: bool, jid: str) -> str:
    """Return the password for an account; raise `CommandError` if none can be had."""
    try:
        password = _first_line() if from_stdin else _typed_twice(jid)
    except UnicodeError:
        raise CommandError("the password is not UTF-8") from None
    except EOFError:
        raise CommandError("no password was given") from None
    if len(password) > MAX_LENGTH:
        raise CommandError(f"the password is longer than {MAX_LENGTH} characters")
    return password


def _first_line() -> str:
    if sys.stdin is None:
        raise EOFError
    # One character more than allowed, in UTF-8, and the end of the line.
    line = sys.stdin.buffer.readline(4 * (MAX_LENGTH + 1) + 2)
    if not line:
        raise EOFError
    return line.decode("utf-8", "strict" if line.endswith(b"\n") else "ignore").rstrip("\r\n")


def _typed_twice(jid: str) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for a password: use --password-stdin")
    password = getpass(f"Password for {jid}: ")
    if getpass("The same again: ") != password:
        raise CommandError("the two passwords differ")
    return password
