"""SQLite as the embedded database: one thread writes in groups, one thread reads.

A transaction costs one sync of the disk however many writes it holds. So the writer thread takes all writes that came
while it was busy, commits them together, and wakes the event loop once for all of them. Other processes may write to
the same file meanwhile: the command line does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Any, TypeVar

from xmppws.core.stores import StorageError, Writing
from xmppws.storage.database import Statement, UniqueViolation
from xmppws.storage.gathering import Gathering, Gatherings
from xmppws.storage.migrations import migrate

R = TypeVar("R")

# Writes in one transaction.
GROUP = 512
# Writes under way before `write` waits.
CAPACITY = 8_192
# Writes under way before `submit` refuses: it cannot wait, and memory is not endless.
HARD_CAPACITY = 8 * CAPACITY
# How long another process may hold the file.
BUSY_TIMEOUT_S = 10.0

# The result of a call whose caller wants to know how many rows it has changed.
_COUNTS = object()
_UNIQUE = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Call:
    """One atomic write; the future yields its row counts, or `result` if it was submitted.

    Of those of one transaction with the same `latest`, the last is run.
    """

    statements: Sequence[Statement]
    future: asyncio.Future[Any]
    result: object = None
    latest: Hashable = None


_Outcome = list[int] | StorageError


class SqliteDatabase:
    """A SQLite file in WAL mode with synchronous=FULL: what is committed survives a power loss."""

    def __init__(self, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        # Each list goes into one transaction.
        self._calls: SimpleQueue[list[_Call] | None] = SimpleQueue()
        self._gatherings: Gatherings[_Call] = Gatherings(self._put)
        self._is_open = False
        self._under_way = 0
        self.writing = Writing(self._calls.qsize)

    async def open(self) -> None:
        """Open or create the file and bring its tables up to date; raise `StorageError`."""
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._reader_thread = ThreadPoolExecutor(1, "sqlite-reader")
        try:
            self._writer, self._reader = await self._loop.run_in_executor(self._reader_thread, self._connect)
        except BaseException:
            self._reader_thread.shutdown(wait=False)
            raise
        self._writer_thread = Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._writer_thread.start()
        self._is_open = True

    async def close(self) -> None:
        """Commit the writes that are under way and close the file."""
        if not self._is_open:
            return
        self._is_open = False
        self._calls.put(None)
        await self._loop.run_in_executor(self._reader_thread, self._disconnect)
        self._reader_thread.shutdown(wait=False)
        self._room.set()

    async def read(self, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of one query."""
        self._check_open()
        return await self._loop.run_in_executor(self._reader_thread, self._read, sql, args)

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        """Run the statements, all or none; return their row counts when they are durable."""
        while self._calls.qsize() >= CAPACITY and self._is_open:
            self._room.clear()
            await self._room.wait()
        self._check_open()
        counts: asyncio.Future[list[int]] = self._loop.create_future()
        self._put([_Call(statements, counts, _COUNTS)])
        return await counts

    def submit(self, statements: Sequence[Statement], result: R, *, latest: Hashable = None) -> asyncio.Future[R]:
        """Run the statements without waiting; the future yields `result` when they are durable."""
        self._check_open()
        if self._calls.qsize() >= HARD_CAPACITY:
            raise StorageError(f"{self._path}: {HARD_CAPACITY} writes are waiting for the disk already")
        future: asyncio.Future[R] = self._loop.create_future()
        self._gatherings.add(_Call(statements, future, result, latest))
        return future

    def gather(self) -> Gathering[_Call]:
        """Return a gathering of what is submitted."""
        return self._gatherings.new()

    def settled(self, *, gathered: bool) -> asyncio.Future[bool] | None:
        """Return what is done when all writes that were begun are durable, or have failed; None when they are."""
        if gathered:
            self._gatherings.hurry()
        if not self._under_way:
            return None
        self._check_open()
        # One thread writes in the order in which it was asked, so what says nothing is done after all that was said.
        future: asyncio.Future[bool] = self._loop.create_future()
        self._put([_Call((), future, True)])
        return future

    def _put(self, calls: list[_Call]) -> None:
        self._under_way += len(calls)
        self._calls.put(calls)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageError(f"{self._path} is closed")

    # From here to _resolve: in the two threads.

    def _connect(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Messages and password keys are nobody else's; SQLite gives its side files the mode of the main one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            writer = self._connection()
            try:
                self._prepare(writer)
                reader = self._connection()
                reader.execute("PRAGMA query_only = ON")
            except BaseException:
                writer.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise self._failure("cannot be opened", error) from error
        return writer, reader

    def _connection(self) -> sqlite3.Connection:
        # Transactions are ours (isolation_level), and connections move from the thread that opens them to their own.
        return sqlite3.connect(self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False)

    def _prepare(self, writer: sqlite3.Connection) -> None:
        (mode,) = writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StorageError(f"{self._path} is on a file system without shared memory, which SQLite's WAL mode needs")
        writer.execute("PRAGMA synchronous = FULL")
        migrate(writer, self._path)

    def _disconnect(self) -> None:
        self._writer_thread.join()
        self._reader.close()
        self._writer.close()

    def _read(self, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            return self._reader.execute(sql, args).fetchall()
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise self._failure("cannot be read", error) from error

    def _write_groups(self) -> None:
        ended = False
        while not ended:
            group, ended = self._next_group()
            if group:
                outcomes = self._commit(group)
                # The loop may be gone, in a process that ends without close(): then nobody waits for an answer.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._resolve, group, outcomes)

    def _next_group(self) -> tuple[list[_Call], bool]:
        group: list[_Call] = []
        while len(group) < GROUP and not (group and self._calls.empty()):
            calls = self._calls.get()
            if calls is None:
                return group, True
            group += calls
        return group, False

    def _commit(self, group: list[_Call]) -> Sequence[_Outcome]:
        began = perf_counter()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            # What is written over in the same transaction need not be written.
            last = {call.latest: call for call in group}
            outcomes = [
                self._run(call.statements) if call.latest is None or last[call.latest] is call else [] for call in group
            ]
            self._writer.execute("COMMIT")
        except Exception as error:
            # Whatever it is, every caller must hear of it.
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            return [self._failure("cannot be written", error) for _ in group]
        self.writing.seconds.observe(perf_counter() - began)
        self.writing.sizes.observe(len(group))
        return outcomes

    def _run(self, statements: Sequence[Statement]) -> _Outcome:
        try:
            if len(statements) <= 1:  # a statement that fails takes itself back
                return [self._writer.execute(*statement).rowcount for statement in statements]
            return self._run_together(statements)
        except (sqlite3.Error, ValueError, OverflowError) as error:
            # A full disk ends the whole transaction, and with it this group.
            if not self._writer.in_transaction:
                raise
            return self._failure("cannot be written", error)

    def _run_together(self, statements: Sequence[Statement]) -> list[int]:
        self._writer.execute("SAVEPOINT call")
        try:
            return [self._writer.execute(sql, args).rowcount for sql, args in statements]
        except Exception:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK TO call")
            raise
        finally:
            if self._writer.in_transaction:
                self._writer.execute("RELEASE call")

    def _failure(self, what: str, error: Exception) -> StorageError:
        unique = isinstance(error, sqlite3.IntegrityError) and error.sqlite_errorcode in _UNIQUE
        return (UniqueViolation if unique else StorageError)(f"{self._path} {what}: {error}")

    # Back in the event loop.

    def _resolve(self, group: list[_Call], outcomes: Sequence[_Outcome]) -> None:
        self._under_way -= len(group)
        for call, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, StorageError):
                _reject(call.future, outcome)
            elif not call.future.done():
                call.future.set_result(outcome if call.result is _COUNTS else call.result)
        self._room.set()
        failures = [outcome for outcome in outcomes if isinstance(outcome, StorageError)]
        for message in {str(failure) for failure in failures if not isinstance(failure, UniqueViolation)}:
            _log.error("%s", message)


def _reject(future: asyncio.Future[Any], error: StorageError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # tells asyncio that it is no mistake not to look at it
