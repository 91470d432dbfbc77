"""The kinds of value that options have, each read strictly from TOML and written back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
KIB = _BYTES["KiB"]
MIB = _BYTES["MiB"]
SECOND, MINUTE, HOUR, DAY = 1.0, 60.0, 3600.0, 86400.0
MILLION = 1_000_000

# Enough digits for any bound, few enough that converting them costs nothing.
_AMOUNT = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_duration = re.compile(rf"{_AMOUNT} ?({'|'.join(_SECONDS)})").fullmatch
_size = re.compile(rf"([0-9]{{1,15}}) ?({'|'.join(_BYTES)})").fullmatch


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: its name in the manual; `read` raises ValueError with the rule that a value of TOML breaks."""

    name: str
    read: Callable[[object], Any]
    write: Callable[[Any], str]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('must be a text in quotes, "like this"')
    if "\0" in value:
        raise ValueError("must not contain a null character")
    return value


def _quoted(value: str) -> str:
    # A TOML basic string escapes these as JSON does.
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match.group()):04x}", escaped) + '"'


def _path(value: object) -> Path:
    if not _text(value):
        raise ValueError("must be a path")
    return Path(_text(value))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number, without quotes")
    return value


def _read_duration(value: object) -> float:
    if isinstance(value, str) and (match := _duration(value)):
        return float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise ValueError('must be a time such as "30s", "5m", "1h", "30d" or "500ms", or a number of seconds')


def _write_duration(value: float) -> str:
    # Minutes are written as seconds: 840s is the number that is compared with a proxy's time-out.
    unit = next(unit for unit in ("d", "h", "s", "ms") if value % _SECONDS[unit] == 0 or unit == "ms")
    return f'"{value / _SECONDS[unit]:g}{unit}"'


def _read_size(value: object) -> int:
    if isinstance(value, str) and (match := _size(value)):
        return int(match[1]) * _BYTES[match[2]]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError('must be a size such as "256KiB", "1MiB" or "16KB", or a whole number of bytes')


def _write_size(value: int) -> str:
    unit = next((unit for unit in ("MiB", "KiB") if value and value % _BYTES[unit] == 0), "")
    return f'"{value // _BYTES[unit]}{unit}"' if unit else str(value)


def _tables(value: object) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise ValueError("must hold one table for each module, such as [modules.mam]")
    return MappingProxyType({name: MappingProxyType(table) for name, table in value.items()})


TEXT = Kind("text", _text, _quoted)
PATH = Kind("path", _path, lambda path: _quoted(str(path)))
FLAG = Kind("true or false", _flag, lambda value: ("false", "true")[value])
INTEGER = Kind("whole number", _integer, str)
DURATION = Kind("time", _read_duration, _write_duration)
SIZE = Kind("size", _read_size, _write_size)
TABLES = Kind("tables", _tables, lambda _: "{}")

# The kinds of options whose type alone says it.
KINDS: Mapping[Any, Kind] = MappingProxyType({str: TEXT, Path: PATH, bool: FLAG, int: INTEGER})

# Seconds.
Duration = Annotated[float, DURATION]
# Bytes.
Size = Annotated[int, SIZE]
# Tables that somebody else declares, by name.
Tables = Annotated[Mapping[str, Mapping[str, Any]], TABLES]
