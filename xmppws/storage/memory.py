"""The three stores in memory: for tests, and for hosts whose data may end with the process."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from operator import attrgetter
from typing import Any, Generic, TypeVar

from xmppws.core.stores import AlreadyExists, Archive, Entry, Gathering, KeyValue, Map, StorageError, Stores
from xmppws.storage import ids as archive_ids
from xmppws.storage.ids import ArchiveIds
from xmppws.storage.values import Values

T = TypeVar("T")

# The data of all stores of one host, by (shape, name); each is a dict by owner.
_Tables = defaultdict[tuple[str, str], dict[str, Any]]
_by_id = attrgetter("id")


class _Nothing:
    """The gathering of writes that take no time."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: Any) -> None:
        return None

    def __bool__(self) -> bool:
        return False

    def finish(self) -> None:
        """Do nothing."""


_NOTHING = _Nothing()


class MemoryStorage:
    """Keeps the stores of all hosts in dicts. Values are encoded, so that nobody shares what is stored."""

    writing = None
    """Writes take no time here."""

    def __init__(self) -> None:
        self._hosts: defaultdict[str, _Tables] = defaultdict(lambda: defaultdict(dict))
        self._ids = ArchiveIds()

    async def open(self) -> None:
        """Do nothing: memory is always open."""

    async def close(self) -> None:
        """Keep the data: what holds this object may use it again."""

    def for_host(self, domain: str) -> Stores:
        """Return the stores of one host."""
        return MemoryStores(self._hosts[domain], self._ids)


class MemoryStores:
    """The stores of one host."""

    def __init__(self, tables: _Tables, ids: ArchiveIds) -> None:
        self._tables = tables
        self._ids = ids

    def keyvalue(self, name: str, type_: type[T]) -> KeyValue[T]:
        """Return the store of that name."""
        return MemoryKeyValue(self._tables["keyvalue", name], Values(name, type_))

    def map(self, name: str, type_: type[T]) -> Map[T]:
        """Return the store of that name."""
        return MemoryMap(self._tables["map", name], Values(name, type_))

    def archive(self, name: str) -> Archive:
        """Return the archive of that name."""
        return MemoryArchive(self._tables["archive", name], self._ids)

    def gather(self) -> Gathering:
        """Return one that gathers nothing."""
        return _NOTHING

    def settled(self, *, gathered: bool = False) -> None:
        """Return None: what is written is as durable as it gets."""

    async def purge(self, owner: str) -> None:
        """Remove an owner's data from every store of the host."""
        for table in self._tables.values():
            table.pop(owner, None)


class MemoryKeyValue(Generic[T]):
    """One value per owner."""

    def __init__(self, table: dict[str, bytes], values: Values[T]) -> None:
        self._table = table
        self._values = values

    async def get(self, owner: str) -> T | None:
        """Return the owner's value."""
        data = self._table.get(owner)
        return None if data is None else self._values.decode(owner, data)

    async def set(self, owner: str, value: T) -> None:
        """Write a value, over an older one."""
        self.put(owner, value)

    def put(self, owner: str, value: T | None) -> None:
        """Write a value, or delete it."""
        if value is None:
            self._table.pop(owner, None)
        else:
            self._table[owner] = self._values.encode(value)

    async def add(self, owner: str, value: T) -> bool:
        """Write a value if the owner has none; return whether it was written."""
        data = self._values.encode(value)
        return self._table.setdefault(owner, data) is data

    async def set_many(self, values: Mapping[str, T]) -> None:
        """Write values by owner, all or none."""
        self._table.update({owner: self._values.encode(value) for owner, value in values.items()})

    async def add_many(self, values: Mapping[str, T]) -> None:
        """Write values by owner; raise `AlreadyExists` and write nothing if any owner has one."""
        if there := values.keys() & self._table.keys():
            raise AlreadyExists(there)
        await self.set_many(values)

    async def update(self, owner: str, change: Callable[[T], T | None]) -> T | None:
        """Write what `change` makes of the owner's value, and return what was there before."""
        old = await self.get(owner)
        new = None if old is None else change(old)
        if new is None:
            return None
        self.put(owner, new)
        return old

    async def delete(self, owner: str) -> bool:
        """Delete the owner's value; return whether there was one."""
        return self._table.pop(owner, None) is not None

    async def owners(self) -> list[str]:
        """Return all owners, sorted by code point."""
        return sorted(self._table)

    async def page(self, after: str | None, limit: int) -> dict[str, T]:
        """Return up to `limit` values by owner, of the owners after that one."""
        owners = sorted(owner for owner in self._table if after is None or owner > after)[:limit]
        return {owner: self._values.decode(owner, self._table[owner]) for owner in owners}


class MemoryMap(Generic[T]):
    """Many keys per owner."""

    def __init__(self, table: dict[str, dict[str, bytes]], values: Values[T]) -> None:
        self._table = table
        self._values = values

    async def get(self, owner: str, key: str) -> T | None:
        """Return one value of the owner."""
        data = self._table.get(owner, {}).get(key)
        return None if data is None else self._values.decode(owner, data)

    async def all(self, owner: str) -> dict[str, T]:
        """Return all values of the owner by key, sorted by key."""
        rows = sorted(self._table.get(owner, {}).items())
        return {key: self._values.decode(owner, data) for key, data in rows}

    async def set(self, owner: str, key: str, value: T) -> None:
        """Write a value, over an older one."""
        self._table.setdefault(owner, {})[key] = self._values.encode(value)

    async def replace(self, owner: str, key: str, value: T) -> bool:
        """Write a value over an older one, if there is one; return whether it was written."""
        table = self._table.get(owner, {})
        if key in table:
            table[key] = self._values.encode(value)
        return key in table

    async def delete(self, owner: str, key: str) -> bool:
        """Delete one value; return whether there was one."""
        return self._table.get(owner, {}).pop(key, None) is not None

    async def clear(self, owner: str) -> None:
        """Delete all values of the owner."""
        self._table.pop(owner, None)


class MemoryArchive:
    """Entries of an owner in the order of time: a list sorted by id."""

    def __init__(self, table: dict[str, list[Entry]], ids: ArchiveIds) -> None:
        self._table = table
        self._ids = ids

    def next_id(self, when: float) -> str:
        """Return a fresh id for an entry of that time."""
        return self._ids.next(when)

    def append(self, owner: str, data: bytes, *, when: float, with_: str, id: str | None = None) -> asyncio.Future[str]:
        """Append an entry; the future is done already."""
        if id is None:
            id = self._ids.next(when)
        else:
            archive_ids.check(id, when)
        appended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        entries = self._table.setdefault(owner, [])
        place = bisect_left(entries, id, key=_by_id)
        if place < len(entries) and entries[place].id == id:
            appended.set_exception(StorageError(f"the archive entry {id} is already there"))
            appended.exception()  # tells asyncio that it is no mistake not to look at it
        else:
            entries.insert(place, Entry(id, archive_ids.time_of(id), with_, data))
            appended.set_result(id)
        return appended

    async def get(self, owner: str, id: str) -> Entry | None:
        """Return one entry."""
        return next((entry for entry in self._table.get(owner, []) if entry.id == id), None)

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
        """Return up to `limit` entries within all given bounds."""
        lowest = "" if start is None else archive_ids.first_id(start)
        highest = None if end is None else archive_ids.first_id_after(end)
        entries = [
            entry
            for entry in self._table.get(owner, [])
            if entry.id >= lowest
            and (highest is None or entry.id < highest)
            and (after is None or entry.id > after)
            and (before is None or entry.id < before)
            and (with_ is None or entry.with_ == with_)
        ]
        return (entries[::-1] if newest_first else entries)[:limit]

    async def remove(self, owner: str, *, ids: Collection[str] | None = None, before: float | None = None) -> int:
        """Remove the entries that all given conditions fit; return how many there were."""
        limit = None if before is None else archive_ids.first_id(before)
        entries = self._table.pop(owner, [])
        kept = [
            entry for entry in entries if (ids is not None and entry.id not in ids) or (limit and entry.id >= limit)
        ]
        if kept:
            self._table[owner] = kept
        return len(entries) - len(kept)

    async def count(self, owner: str) -> int:
        """Return how many entries the owner has."""
        return len(self._table.get(owner, []))

    async def owners(self) -> list[str]:
        """Return all owners with entries, sorted by code point."""
        return sorted(self._table)
