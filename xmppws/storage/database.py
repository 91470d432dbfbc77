"""What the SQL stores need of a database, so that one set of stores serves SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any, Protocol, TypeVar

from xmppws.core.stores import Gathering, StorageError, Writing

# A statement with "?" for each argument. Written to be understood by SQLite and PostgreSQL alike.
Statement = tuple[str, Sequence[Any]]
R = TypeVar("R")


class UniqueViolation(StorageError):
    """A row with this key is there already."""


class Database(Protocol):
    """A database with one table per shape of store. Raises `StorageError`."""

    @property
    def writing(self) -> Writing:
        """How writes get on."""

    async def read(self, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of one query; it sees every write that was durable when it was asked."""

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        """Run the statements, all or none; return their row counts when they are durable.

        Waits first while too many writes are under way.
        """

    def submit(self, statements: Sequence[Statement], result: R, *, latest: Hashable = None) -> asyncio.Future[R]:
        """Run the statements as `write` does, without waiting; the future yields `result` when they are durable.

        Nobody needs to await it: then a failure is only logged. In a gathering they wait for that to be finished. Of
        those of one transaction with the same `latest`, only the last need be run. Raises `StorageError` when too many
        are under way.
        """

    def gather(self) -> Gathering:
        """Return a gathering of what is submitted (`core.stores.Gathering`)."""

    def settled(self, *, gathered: bool) -> asyncio.Future[bool] | None:
        """Return what is done when all writes that were begun are durable, or have failed; None when they are.

        With `gathered`, what still waits for its gathering to be finished is written now, too.
        """

    async def open(self) -> None:
        """Connect and bring the tables up to date."""

    async def close(self) -> None:
        """Finish the writes that are under way and disconnect."""
