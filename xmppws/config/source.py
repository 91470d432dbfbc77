"""The file a configuration came from: its text, read with care, and the line of each key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xmppws.config.lines import Key, key_lines
from xmppws.config.mistakes import ConfigError, Mistake

MAX_FILE_SIZE = 1024 * 1024

_bare_key = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_at_line = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)")


@dataclass(frozen=True, slots=True)
class Source:
    """Where keys stand: `lines` by key, counted from 1."""

    file: str = "built-in defaults"
    lines: Mapping[Key, int] = field(default_factory=lambda: MappingProxyType({}))

    def line(self, key: Key) -> int:
        """Return the line of a key, or else of the nearest table around it; 0 if there is none."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 0)


def dotted(key: Key) -> str:
    """Return a key as it is written in TOML; entries of lists are numbered from 0."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _bare_key(part) else '"' + repr(part)[1:-1].replace('"', '\\"') + '"'
            text += f".{shown}" if text else shown
    return text


def read(path: Path) -> tuple[dict[str, Any], Source]:
    """Read a TOML file; raise `ConfigError`."""
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _unreadable(path, "brackets nest too deep") from None
    except ValueError as error:
        found = _at_line.search(str(error))
        rule = _at_line.sub("", str(error)) + (f" (column {found[2]})" if found else "")
        raise _unreadable(path, f"no TOML: {rule}", int(found[1]) if found else text.count("\n") + 1) from None
    return document, Source(str(path), MappingProxyType(key_lines(text)))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_FILE_SIZE:
        raise _unreadable(path, f"is larger than {MAX_FILE_SIZE} bytes")
    try:
        # Some editors begin UTF-8 files with a byte order mark.
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _unreadable(path, "must be UTF-8", data.count(b"\n", 0, error.start) + 1) from None


def _unreadable(path: Path, rule: str, line: int = 0) -> ConfigError:
    return ConfigError((Mistake(str(path), line, "", "", rule),))
