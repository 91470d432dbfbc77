"""A file of accounts, lines `JID password` or `JID hash`: all of it is right and goes in, or nothing does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from xmppws.auth.account import brought_in
from xmppws.auth.internal import prepare_password
from xmppws.cli.command import CommandError
from xmppws.config.checks import bare_jid
from xmppws.core.auth import Accounts
from xmppws.core.stores import AlreadyExists
from xmppws.jid import Jid

MAX_SIZE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: an account to be."""

    line: int
    jid: Jid
    password: str
    """The password, or what other software keeps of it: a hash, or SCRAM keys."""


@dataclass(frozen=True, slots=True)
class AccountFile:
    """The accounts of a file, all of one host, each once."""

    path: Path
    entries: tuple[Entry, ...]
    hashed: bool

    @property
    def domain(self) -> str:
        """The host of all of them."""
        return self.entries[0].jid.domain

    async def add_to(self, accounts: Accounts) -> None:
        """Create all accounts in one transaction; raise `CommandError` naming the lines of those that exist."""
        try:
            passwords = {entry.jid.local: entry.password for entry in self.entries}
            await (accounts.create_hashed(passwords) if self.hashed else accounts.create_many(passwords))
        except AlreadyExists as error:
            lines = {entry.jid.local: entry.line for entry in self.entries}
            taken = sorted((lines[owner], f"{owner}@{self.domain} exists already") for owner in error.owners)
            raise _refused(self.path, taken) from None


def read(path: Path, *, hashed: bool = False) -> AccountFile:
    """Read a file of accounts, with passwords or hashes; raise `CommandError` naming every bad line, and neither."""
    check, noun = (brought_in, "hash") if hashed else (prepare_password, "password")
    entries: list[Entry] = []
    mistakes: list[tuple[int, str]] = []
    seen: dict[Jid, int] = {}
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = _entry(number, line.removesuffix("\r"), check, noun)
            if (first := seen.setdefault(entry.jid, number)) != number:
                raise ValueError(f"{entry.jid} stands in line {first} already")
            if entries and entry.jid.domain != entries[0].jid.domain:
                raise ValueError(f"{entry.jid} is of another host than {entries[0].jid}: use one file for each host")
            entries.append(entry)
        except ValueError as error:
            mistakes.append((number, str(error)))
    if mistakes or not entries:
        raise _refused(path, mistakes or [(1, f'there are no accounts, which are lines "JID {noun}"')])
    return AccountFile(path, tuple(entries), hashed)


def _entry(number: int, line: str, check: Callable[[str], object], noun: str) -> Entry:
    jid, *rest = re.split("[ \t]", line, maxsplit=1)
    if not rest:
        raise ValueError(f'must be "JID {noun}"')
    if rest[0] != rest[0].strip():
        raise ValueError(f"the {noun} begins or ends with white space: one space stands between JID and {noun}")
    check(rest[0])
    try:
        return Entry(number, Jid.parse(bare_jid(jid)), rest[0])
    except ValueError:
        # Nothing of the line is repeated: with the columns swapped, this is the password.
        raise ValueError("the first word must be an address such as user@example.com") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise CommandError(f"{path}: is larger than {MAX_SIZE} bytes")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, [(data.count(b"\n", 0, error.start) + 1, "must be UTF-8")]) from None
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _refused(path: Path, mistakes: Iterable[tuple[int, str]]) -> CommandError:
    told = "".join(f"\n{path}:{line}: {rule}" for line, rule in mistakes)
    return CommandError(f"nothing was added{told}")
