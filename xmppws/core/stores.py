"""The three shapes of store that modules keep their data in, as ports.

A module asks its host for a store by name and never sees where the data lies. An owner is whose data it is: the
localpart of an account or of a room, "" for the host itself. Values are typed by msgspec and kept as JSON.

Every write returns when it is durable: it survives a crash from then on. Everything here may raise `StorageError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from xmppws.core.histogram import Histogram

# Writes that share a transaction.
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

T = TypeVar("T")


class StorageError(Exception):
    """The storage cannot do what was asked; the message says where and why."""


class AlreadyExists(Exception):
    """Some owners have a value already; nothing was written."""

    def __init__(self, owners: Iterable[str]) -> None:
        self.owners = sorted(owners)
        shown = ", ".join(self.owners[:5]) + (", ..." if len(self.owners) > 5 else "")
        super().__init__(f"{len(self.owners)} already there: {shown}")


class KeyValue(Protocol[T]):
    """One value per owner."""

    async def get(self, owner: str) -> T | None:
        """Return the owner's value."""

    async def set(self, owner: str, value: T) -> None:
        """Write a value, over an older one."""

    def put(self, owner: str, value: T | None) -> None:
        """Write a value, or delete it (None), without waiting; of several for one owner, the last one counts.

        Raises `StorageError` when too many writes are under way; a later failure is only logged.
        """

    async def add(self, owner: str, value: T) -> bool:
        """Write a value if the owner has none; return whether it was written."""

    async def set_many(self, values: Mapping[str, T]) -> None:
        """Write values by owner in one transaction."""

    async def add_many(self, values: Mapping[str, T]) -> None:
        """Write values by owner in one transaction; raise `AlreadyExists` and write nothing if any owner has one."""

    async def update(self, owner: str, change: Callable[[T], T | None]) -> T | None:
        """Write what `change` makes of the owner's value, and return what was there before.

        When somebody else has written meanwhile, it is asked again. When there is no value, or it makes None of it,
        nothing is written, and None returned.
        """

    async def delete(self, owner: str) -> bool:
        """Delete the owner's value; return whether there was one."""

    async def owners(self) -> list[str]:
        """Return all owners, sorted by code point."""

    async def page(self, after: str | None, limit: int) -> dict[str, T]:
        """Return up to `limit` values by owner, sorted by code point, of the owners after that one."""


class Map(Protocol[T]):
    """Many keys per owner."""

    async def get(self, owner: str, key: str) -> T | None:
        """Return one value of the owner."""

    async def all(self, owner: str) -> dict[str, T]:
        """Return all values of the owner by key, sorted by key."""

    async def set(self, owner: str, key: str, value: T) -> None:
        """Write a value, over an older one."""

    async def replace(self, owner: str, key: str, value: T) -> bool:
        """Write a value over an older one, if there is one; return whether it was written."""

    async def delete(self, owner: str, key: str) -> bool:
        """Delete one value; return whether there was one."""

    async def clear(self, owner: str) -> None:
        """Delete all values of the owner."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive; `when` is in seconds since 1970, to the millisecond."""

    id: str
    when: float
    with_: str
    data: bytes


class Archive(Protocol):
    """Entries of an owner in the order of time, only appended and removed.

    Ids sort as their times do, so that every page is a range of one index.
    """

    def next_id(self, when: float) -> str:
        """Return a fresh id for an entry of that time, greater than the ids given for the same millisecond before."""

    def append(self, owner: str, data: bytes, *, when: float, with_: str, id: str | None = None) -> asyncio.Future[str]:
        """Append an entry; the future yields its id when the entry is durable, and need not be awaited.

        A handler of a stanza must not await it: it may wait for the stanza to be handled (`Gathering`).

        An `id` of the caller comes from `next_id(when)`; another raises `ValueError`. Raises `StorageError` at once,
        instead of through the future, when too many writes are under way.
        """

    async def get(self, owner: str, id: str) -> Entry | None:
        """Return one entry."""

    async def page(
        self,
        owner: str,
        *,
        with_: str | None = None,
        start: float | None = None,
        end: float | None = None,
        after: str | None = None,
        before: str | None = None,
        limit: int,
        newest_first: bool = False,
    ) -> list[Entry]:
        """Return up to `limit` entries with `with_`, from time `start` to `end` inclusive, between two ids exclusive.

        With `newest_first` they are the newest of them, and come in that order.
        """

    async def remove(self, owner: str, *, ids: Collection[str] | None = None, before: float | None = None) -> int:
        """Remove the entries that have one of `ids` and are older than the time `before`; return how many there were.

        What is None does not restrict: with neither, all of the owner's entries are removed.
        """

    async def count(self, owner: str) -> int:
        """Return how many entries the owner has."""

    async def owners(self) -> list[str]:
        """Return all owners with entries, sorted by code point."""


@dataclass(slots=True)
class Writing:
    """How writes get on: seconds each transaction took, writes in each, and how many are waiting now."""

    waiting: Callable[[], int]
    seconds: Histogram = field(default_factory=Histogram)
    sizes: Histogram = field(default_factory=lambda: Histogram(_SIZES))


class Gathering(Protocol):
    """Writes that become durable together, or not at all.

    They are those that nobody awaits, `Archive.append` and `KeyValue.put`, which are begun in a `with` statement of it
    or in a task that was made there, until `finish`. It is true when there are any.
    """

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: Any) -> None: ...

    def __bool__(self) -> bool: ...

    def finish(self) -> None:
        """Write all of them; what comes later is written by itself."""


class Stores(Protocol):
    """The stores of one host. Stores of one name and shape share their data."""

    def keyvalue(self, name: str, type_: type[T]) -> KeyValue[T]:
        """Return the store of that name."""

    def map(self, name: str, type_: type[T]) -> Map[T]:
        """Return the store of that name."""

    def archive(self, name: str) -> Archive:
        """Return the archive of that name."""

    def gather(self) -> Gathering:
        """Return a gathering of writes, of all stores that lie where these do."""

    def settled(self, *, gathered: bool = False) -> asyncio.Future[bool] | None:
        """Return what is done when all writes that were begun are durable, or have failed; None when they are.

        With `gathered`, what still waits for its gathering to be finished is written now, too.
        """

    async def purge(self, owner: str) -> None:
        """Remove an owner's data from every store of the host, in one transaction."""


class Storage(Protocol):
    """Where the stores of all hosts lie."""

    @property
    def writing(self) -> Writing | None:
        """How writes get on; None where they take no time."""

    async def open(self) -> None:
        """Make the storage usable."""

    async def close(self) -> None:
        """Finish the writes that are under way and let go of the storage."""

    def for_host(self, domain: str) -> Stores:
        """Return the stores of one host."""
