"""Rows for people, as tables in the terminal, or for programs, as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

    from xmppws.core.admin import Row

_WIDE: Final = 10_000
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def show(rows: list[Row], *, as_json: bool, none: str) -> None:
    """Print rows; `none` is the sentence for people when there are none."""
    if as_json:
        show_json(rows)
    elif rows:
        _show_table(rows)
    else:
        print(none)


def show_json(rows: Iterable[Row]) -> None:
    """Print a JSON object a line."""
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


def show_one(row: Row) -> None:
    """Print one row as lines of name and value; what is nested has a line for each entry."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in row.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for name, each in entries or [("", "-")]:
            table.add_row(Text(heading(key)), Text(printable(name)), Text(cell(key, each)))
    _console().print(table)


def cell(column: str, value: Any) -> str:
    """Write a value for people; columns that end in `_seconds` or `_bytes` tell its unit."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(printable(str(each)) for each in value) or "-"
    if column.endswith("_seconds"):
        return _duration(value)
    if column.endswith("_bytes"):
        return _size(value)
    return printable(str(value))


def printable(text: str) -> str:
    """Escape what could steer a terminal: clients choose resources, and much else."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def heading(column: str) -> str:
    """Write the name of a column for people, without its unit."""
    return printable(column.removesuffix("_seconds").removesuffix("_bytes").replace("_", " "))


def _show_table(rows: list[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    named = dict.fromkeys(column for row in rows for column in row)
    # What says nothing about anybody only makes the lines longer.
    columns = [each for each in named if any(row.get(each) not in (None, "") for row in rows)]
    table = Table(box=None, pad_edge=False)
    for column in columns:
        right = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(heading(column), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(column, row.get(column))) for column in columns))
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    # What reads a pipe wants whole lines.
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, emoji=False, markup=False)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    parts = [f"{whole // size % limit}{unit}" for (size, unit), limit in zip(_UNITS, (10**9, 24, 60, 60), strict=True)]
    while parts[0].startswith("0"):
        parts.pop(0)
    return " ".join(parts[:2])


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
