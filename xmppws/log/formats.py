"""Log records as lines: text for people, JSON for programs.

Strangers choose parts of what is logged: names, headers, texts of close frames. Whatever they send, a record is one
line in JSON, in text only its first line begins in the first column, and nothing moves a terminal's cursor. What is
longer than a line should be is cut.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

MAX_MESSAGE: Final = 4 * 1024
MAX_TRACEBACK: Final = 32 * 1024
_MAX_FIELD: Final = 1024

_CUT: Final = "..."
# What every record has: the rest was given as `extra` and is a field of the line.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def printable(text: str) -> str:
    """Write what does not print as a backslash escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, length: int) -> str:
    """Shorten a text to a length."""
    return text if len(text) <= length else text[:length] + _CUT


def when(record: logging.LogRecord) -> str:
    """Return a record's time as ISO 8601, in UTC, to the millisecond."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Text(logging.Formatter):
    """Lines for people; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        message = printable(cut(record.getMessage(), MAX_MESSAGE))
        lines = [f"{when(record)} {record.levelname} {record.name}: {message}"]
        lines += [f"    {printable(line)}" for line in _traceback(self, record).splitlines()]
        return "\n".join(lines)


class Json(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the record's fields, and perhaps `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        entry = {
            "time": when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": cut(record.getMessage(), MAX_MESSAGE),
        }
        entry |= {name: _field(value) for name, value in vars(record).items() if name not in _OWN and name not in entry}
        if traceback := _traceback(self, record):
            entry["traceback"] = traceback
        return json.dumps(entry)


def _field(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return cut(str(value), _MAX_FIELD)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.stack_info:
        parts.append(record.stack_info)
    return cut("\n".join(parts), MAX_TRACEBACK)
