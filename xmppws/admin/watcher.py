"""What one client of the admin socket sees who watches a user: a JSON line for each event."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from xmppws.admin.redacted import redacted
from xmppws.core.admin import Row
from xmppws.core.watch import Direction, Happening

MAX_WAITING: Final = 1024 * 1024
"""Bytes of events that may wait for one who watches; what comes beyond is dropped, and counted."""


class LineWatcher:
    """The `core.watch.Watcher` that writes lines."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._dropped = 0

    def message(self, id: str, direction: Direction, message: bytes) -> None:
        """Write a message that passes, without its texts."""
        if not self._is_full() and (shown := redacted(message)):
            self._write(id, direction=direction.value, stanza=shown)

    def happening(self, id: str, what: Happening, facts: Row) -> None:
        """Write what happens."""
        if not self._is_full():
            self._write(id, what=what.value, **facts)

    def _is_full(self) -> bool:
        full = self._writer.transport.get_write_buffer_size() > MAX_WAITING
        self._dropped += full
        return full

    def _write(self, id: str, **facts: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = {"time": time, "id": id, **facts, "dropped": self._dropped}
        self._dropped = 0
        self._writer.write(msgspec.json.encode({"event": event}) + b"\n")
