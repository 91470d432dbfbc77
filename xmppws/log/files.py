"""Log files: the newest errors, and the audit log. What is written is in the file when the call returns.

No write is synced to the disk: a crash of the server loses nothing, one of the whole machine the last seconds.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections import deque
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Final

from xmppws.log.formats import Json

_MODE: Final = 0o600


class LogFileError(Exception):
    """A log file cannot be used; the text is for the sysadmin."""


class _Complaint:
    """Says on standard error that a log file cannot be written: once, until it `works` again."""

    def __init__(self, option: str, path: Path) -> None:
        self._what = f"xmppws: {option}: {path} cannot be written"
        self._said = False

    def works(self) -> None:
        self._said = False

    def fails(self, error: BaseException | None) -> None:
        if not self._said:
            self._said = True
            print(f"{self._what}: {_reason(error)}", file=sys.stderr)


class NewestErrors(logging.Handler):
    """A file of JSON lines that holds between `limit` and twice `limit` of the newest warnings and errors.

    Each is appended in one write. When there are twice as many, the newest are written to a new file, which then takes
    the old one's place, so that whoever looks finds one or the other whole.
    """

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(Json())
        self._path = path
        self._limit = limit
        self._newest: deque[bytes] = deque(maxlen=limit)
        self._entries = 0
        self._file = -1
        self._complaint = _Complaint("log.error_file", path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._read():
                self._rewrite()
            else:
                self._open()
        except OSError as error:
            raise LogFileError(f"log.error_file: {path} cannot be used: {_reason(error)}") from None

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        try:
            line = self.format(record).encode() + b"\n"
            self._newest.append(line)
            if self._entries + 1 >= 2 * self._limit:
                self._rewrite()
            else:
                self._append(line)
            self._complaint.works()
        except Exception as error:
            # Part of the line may be there: the next one brings all that is missing, in a new file.
            self._entries = 2 * self._limit
            self._complaint.fails(error)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def _read(self) -> bool:
        """Read what an earlier process left, and tell whether it has to be put in order."""
        try:
            with self._path.open("rb") as file:
                line = b""
                for line in file:
                    # Only the last line can be torn: by a full disk, or the end of the machine.
                    if line.endswith(b"\n"):
                        self._newest.append(line)
                        self._entries += 1
        except FileNotFoundError:
            return False
        return self._entries >= 2 * self._limit or not (line.endswith(b"\n") or not line)

    def _append(self, line: bytes) -> None:
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._entries += 1

    def _rewrite(self) -> None:
        new = self._path.with_name(self._path.name + ".new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        try:
            with os.fdopen(os.dup(file), "wb") as buffered:
                buffered.writelines(self._newest)
            # Without this a machine that dies after the rename may come back with an empty file.
            os.fsync(file)
        finally:
            os.close(file)
        new.replace(self._path)
        self._open()
        self._entries = len(self._newest)

    def _open(self) -> None:
        old, self._file = self._file, os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
        os.fchmod(self._file, _MODE)
        if old >= 0:
            os.close(old)


class AuditFile(WatchedFileHandler):
    """The audit log as JSON lines. It grows for ever; logrotate may move it away at any time."""

    def __init__(self, path: Path) -> None:
        self._complaint = _Complaint("log.audit_file", path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path, encoding="utf-8")
        except OSError as error:
            raise LogFileError(f"log.audit_file: {path} cannot be used: {_reason(error)}") from None
        self.setFormatter(Json())

    def handleError(self, record: logging.LogRecord) -> None:
        """Complain, where the base class would print a traceback."""
        self._complaint.fails(sys.exc_info()[1])

    def _open(self) -> io.TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, _MODE))


def _reason(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)
