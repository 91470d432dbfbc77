"""Where a configuration came from: files read with care, and the place of each key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from xmppws.config.lines import Key, key_lines
from xmppws.config.mistakes import ConfigError, Mistake, shown

MAX_FILE_SIZE = 1024 * 1024

_bare_key = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_at_line = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)")


class Place(NamedTuple):
    """Where a key stands.

    `line` counts from 1; 0 is none. `name` is what stands there, when that is not the key.
    """

    file: str
    line: int = 0
    name: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else f"{self.file}: {self.name}" if self.name else self.file

    @property
    def directory(self) -> Path:
        """The directory where a relative path begins."""
        return Path(self.file).parent if self.line else Path()


@dataclass(frozen=True, slots=True)
class Source:
    """The main file, and where keys stand, in it or elsewhere."""

    file: str = "built-in defaults"
    places: Mapping[Key, Place] = field(default_factory=lambda: MappingProxyType({}))

    def place(self, key: Key) -> Place:
        """Return the place of a key, or else of the nearest table around it, or else of the main file."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, Place(self.file))

    def mistake(self, key: Key, value: object, rule: str, hint: str = "") -> Mistake:
        """Return a mistake at the place of a key; `value` None is not shown."""
        place = self.place(key)
        return Mistake(place.file, place.line, place.name or dotted(key), _shown(value), rule, hint)

    def in_order(self, mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
        """Sort mistakes by file, in the order of reading, and line; each is told once."""
        files = [self.file, *dict.fromkeys(place.file for place in self.places.values())]
        ranks = {file: rank for rank, file in reversed(list(enumerate(files)))}
        return tuple(
            sorted(dict.fromkeys(mistakes), key=lambda mistake: (ranks.get(mistake.file, len(files)), mistake.line))
        )

    def renamed(self, old: Key, new: Key) -> Source:
        """Return the source with what is below `old` found below `new` too."""
        places = {(*new, *key[len(old) :]): place for key, place in self.places.items() if key[: len(old)] == old}
        return Source(self.file, MappingProxyType({**self.places, **places}))


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
    places = {key: Place(str(path), line) for key, line in key_lines(text).items()}
    return document, Source(str(path), MappingProxyType(places))


def reason(error: OSError | ValueError) -> str:
    """Return in words why a file cannot be read."""
    return getattr(error, "strerror", None) or str(error)


def _shown(value: object) -> str:
    return "" if value is None else shown(value)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be read: {reason(error)}") from None
    if len(data) > MAX_FILE_SIZE:
        raise _unreadable(path, f"is larger than {MAX_FILE_SIZE} bytes")
    try:
        # Some editors begin UTF-8 files with a byte order mark.
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _unreadable(path, "must be UTF-8", data.count(b"\n", 0, error.start) + 1) from None


def _unreadable(path: Path, rule: str, line: int = 0) -> ConfigError:
    return ConfigError((Mistake(str(path), line, "", "", rule),))
