"""The three stores over a SQL database, in SQL that SQLite and PostgreSQL both speak."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

from xmppws.core.stores import AlreadyExists, Archive, Entry, Gathering, KeyValue, Map, Stores, Writing
from xmppws.storage import ids as archive_ids
from xmppws.storage.database import Database, Statement, UniqueViolation
from xmppws.storage.ids import ArchiveIds
from xmppws.storage.values import Values

T = TypeVar("T")

TABLES = ("keyvalue", "map", "archive")
# Where a store's rows of one owner lie; where all rows of a store lie.
_OWNED = "host = ? AND owner = ? AND store = ?"
_STORE = "host = ? AND store = ?"
_IDS_PER_STATEMENT = 500


class SqlStorage:
    """Keeps the stores of all hosts in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = ArchiveIds()

    @property
    def writing(self) -> Writing:
        """How writes get on."""
        return self._database.writing

    async def open(self) -> None:
        """Connect and bring the tables up to date."""
        await self._database.open()

    async def close(self) -> None:
        """Finish the writes that are under way and disconnect."""
        await self._database.close()

    def for_host(self, domain: str) -> Stores:
        """Return the stores of one host."""
        return SqlStores(self._database, domain, self._ids)


class SqlStores:
    """The stores of one host."""

    def __init__(self, database: Database, host: str, ids: ArchiveIds) -> None:
        self._database = database
        self._host = host
        self._ids = ids

    def keyvalue(self, name: str, type_: type[T]) -> KeyValue[T]:
        """Return the store of that name."""
        return SqlKeyValue(self._database, self._host, name, Values(name, type_))

    def map(self, name: str, type_: type[T]) -> Map[T]:
        """Return the store of that name."""
        return SqlMap(self._database, self._host, name, Values(name, type_))

    def archive(self, name: str) -> Archive:
        """Return the archive of that name."""
        return SqlArchive(self._database, self._host, name, self._ids)

    def gather(self) -> Gathering:
        """Return a gathering of writes."""
        return self._database.gather()

    def settled(self, *, gathered: bool = False) -> asyncio.Future[bool] | None:
        """Return what is done when all writes that were begun are durable; None when they are."""
        return self._database.settled(gathered=gathered)

    async def purge(self, owner: str) -> None:
        """Remove an owner's data from every store of the host, in one transaction."""
        await self._database.write(
            [(f"DELETE FROM {table} WHERE host = ? AND owner = ?", (self._host, owner)) for table in TABLES]
        )


class _SqlStore:
    def __init__(self, database: Database, host: str, name: str) -> None:
        self._database = database
        self._host = host
        self._name = name

    def _key(self, owner: str) -> tuple[str, str, str]:
        return self._host, owner, self._name

    async def _owners(self, table: str) -> list[str]:
        # Jumps from owner to owner in the index, where DISTINCT would read every row.
        following = f"SELECT min(owner) FROM {table} WHERE {_STORE} AND owner > last.owner"
        rows = await self._database.read(
            f"WITH RECURSIVE last(owner) AS (SELECT min(owner) FROM {table} WHERE {_STORE}"
            f" UNION ALL SELECT ({following}) FROM last WHERE owner IS NOT NULL)"
            " SELECT owner FROM last WHERE owner IS NOT NULL",
            (self._host, self._name) * 2,
        )
        return [owner for (owner,) in rows]


class SqlKeyValue(_SqlStore, Generic[T]):
    """One value per owner."""

    _INSERT = "INSERT INTO keyvalue (host, owner, store, value) VALUES (?, ?, ?, ?)"
    _UPSERT = f"{_INSERT} ON CONFLICT (host, owner, store) DO UPDATE SET value = excluded.value"
    _ADD = f"{_INSERT} ON CONFLICT DO NOTHING"
    _DELETE = f"DELETE FROM keyvalue WHERE {_OWNED}"
    _REPLACE = f"UPDATE keyvalue SET value = ? WHERE {_OWNED} AND value = ?"

    def __init__(self, database: Database, host: str, name: str, values: Values[T]) -> None:
        super().__init__(database, host, name)
        self._values = values

    async def get(self, owner: str) -> T | None:
        """Return the owner's value."""
        data = await self._data(owner)
        return None if data is None else self._values.decode(owner, data)

    async def set(self, owner: str, value: T) -> None:
        """Write a value, over an older one."""
        await self._database.write([self._statement(self._UPSERT, owner, value)])

    def put(self, owner: str, value: T | None) -> None:
        """Write a value, or delete it, without waiting."""
        key = self._key(owner)
        statement = (self._DELETE, key) if value is None else self._statement(self._UPSERT, owner, value)
        self._database.submit([statement], None, latest=key)

    async def add(self, owner: str, value: T) -> bool:
        """Write a value if the owner has none; return whether it was written."""
        (written,) = await self._database.write([self._statement(self._ADD, owner, value)])
        return written == 1

    async def set_many(self, values: Mapping[str, T]) -> None:
        """Write values by owner in one transaction."""
        await self._database.write([self._statement(self._UPSERT, owner, value) for owner, value in values.items()])

    async def add_many(self, values: Mapping[str, T]) -> None:
        """Write values by owner in one transaction; raise `AlreadyExists` and write nothing if any owner has one."""
        try:
            await self._database.write([self._statement(self._INSERT, owner, value) for owner, value in values.items()])
        except UniqueViolation:
            raise AlreadyExists(values.keys() & set(await self.owners())) from None

    async def delete(self, owner: str) -> bool:
        """Delete the owner's value; return whether there was one."""
        (deleted,) = await self._database.write([(self._DELETE, self._key(owner))])
        return deleted == 1

    async def update(self, owner: str, change: Callable[[T], T | None]) -> T | None:
        """Write what `change` makes of the owner's value, and return what was there before."""
        while data := await self._data(owner):
            old = self._values.decode(owner, data)
            new = change(old)
            if new is None:
                return None
            arguments = (self._values.encode(new), *self._key(owner), data)
            (written,) = await self._database.write([(self._REPLACE, arguments)])
            if written:
                return old
        return None

    async def owners(self) -> list[str]:
        """Return all owners, sorted by code point."""
        return await self._owners("keyvalue")

    async def page(self, after: str | None, limit: int) -> dict[str, T]:
        """Return up to `limit` values by owner, of the owners after that one."""
        bound, arguments = ("", ()) if after is None else (" AND owner > ?", (after,))
        rows = await self._database.read(
            f"SELECT owner, value FROM keyvalue WHERE {_STORE}{bound} ORDER BY owner LIMIT ?",
            (self._host, self._name, *arguments, limit),
        )
        return {owner: self._values.decode(owner, data) for owner, data in rows}

    async def _data(self, owner: str) -> bytes | None:
        rows = await self._database.read(f"SELECT value FROM keyvalue WHERE {_OWNED}", self._key(owner))
        return rows[0][0] if rows else None

    def _statement(self, sql: str, owner: str, value: T) -> Statement:
        return sql, (*self._key(owner), self._values.encode(value))


class SqlMap(_SqlStore, Generic[T]):
    """Many keys per owner."""

    _UPSERT = (
        "INSERT INTO map (host, owner, store, key, value) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (host, owner, store, key) DO UPDATE SET value = excluded.value"
    )
    _REPLACE = f"UPDATE map SET value = ? WHERE {_OWNED} AND key = ?"

    def __init__(self, database: Database, host: str, name: str, values: Values[T]) -> None:
        super().__init__(database, host, name)
        self._values = values

    async def get(self, owner: str, key: str) -> T | None:
        """Return one value of the owner."""
        rows = await self._database.read(f"SELECT value FROM map WHERE {_OWNED} AND key = ?", (*self._key(owner), key))
        return self._values.decode(owner, rows[0][0]) if rows else None

    async def all(self, owner: str) -> dict[str, T]:
        """Return all values of the owner by key, sorted by key."""
        rows = await self._database.read(f"SELECT key, value FROM map WHERE {_OWNED} ORDER BY key", self._key(owner))
        return {key: self._values.decode(owner, data) for key, data in rows}

    async def set(self, owner: str, key: str, value: T) -> None:
        """Write a value, over an older one."""
        await self._database.write([(self._UPSERT, (*self._key(owner), key, self._values.encode(value)))])

    async def replace(self, owner: str, key: str, value: T) -> bool:
        """Write a value over an older one, if there is one; return whether it was written."""
        arguments = (self._values.encode(value), *self._key(owner), key)
        (written,) = await self._database.write([(self._REPLACE, arguments)])
        return written == 1

    async def delete(self, owner: str, key: str) -> bool:
        """Delete one value; return whether there was one."""
        statement = f"DELETE FROM map WHERE {_OWNED} AND key = ?", (*self._key(owner), key)
        (deleted,) = await self._database.write([statement])
        return deleted == 1

    async def clear(self, owner: str) -> None:
        """Delete all values of the owner."""
        await self._database.write([(f"DELETE FROM map WHERE {_OWNED}", self._key(owner))])


class SqlArchive(_SqlStore):
    """Entries of an owner in the order of time."""

    _INSERT = "INSERT INTO archive (host, owner, store, id, with_, data) VALUES (?, ?, ?, ?, ?, ?)"
    _SELECT = f"SELECT id, with_, data FROM archive WHERE {_OWNED}"

    def __init__(self, database: Database, host: str, name: str, ids: ArchiveIds) -> None:
        super().__init__(database, host, name)
        self._ids = ids

    def next_id(self, when: float) -> str:
        """Return a fresh id for an entry of that time."""
        return self._ids.next(when)

    def append(self, owner: str, data: bytes, *, when: float, with_: str, id: str | None = None) -> asyncio.Future[str]:
        """Append an entry; the future yields its id when the entry is durable, and need not be awaited."""
        if id is None:
            id = self._ids.next(when)
        else:
            archive_ids.check(id, when)
        return self._database.submit([(self._INSERT, (*self._key(owner), id, with_, data))], id)

    async def get(self, owner: str, id: str) -> Entry | None:
        """Return one entry."""
        rows = await self._database.read(f"{self._SELECT} AND id = ?", (*self._key(owner), id))
        return _entry(*rows[0]) if rows else None

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
        bounds: list[tuple[str, str | None]] = [
            ("with_ = ?", with_),
            ("id >= ?", None if start is None else archive_ids.first_id(start)),
            ("id < ?", None if end is None else archive_ids.first_id_after(end)),
            ("id > ?", after),
            ("id < ?", before),
        ]
        used = [(condition, bound) for condition, bound in bounds if bound is not None]
        sql = " AND ".join([self._SELECT, *[condition for condition, _ in used]])
        rows = await self._database.read(
            f"{sql} ORDER BY id{' DESC' if newest_first else ''} LIMIT ?",
            (*self._key(owner), *[bound for _, bound in used], limit),
        )
        return [_entry(*row) for row in rows]

    async def remove(self, owner: str, *, ids: Collection[str] | None = None, before: float | None = None) -> int:
        """Remove the entries that all given conditions fit; return how many there were."""
        sql = f"DELETE FROM archive WHERE {_OWNED}"
        args: tuple[Any, ...] = self._key(owner)
        if before is not None:
            sql, args = f"{sql} AND id < ?", (*args, archive_ids.first_id(before))
        if ids is None:
            return sum(await self._database.write([(sql, args)]))
        return sum(await self._database.write(_chunks(sql, args, sorted(set(ids)))))

    async def count(self, owner: str) -> int:
        """Return how many entries the owner has."""
        rows = await self._database.read(f"SELECT count(*) FROM archive WHERE {_OWNED}", self._key(owner))
        return int(rows[0][0])

    async def owners(self) -> list[str]:
        """Return all owners with entries, sorted by code point."""
        return await self._owners("archive")


def _entry(id: str, with_: str, data: bytes) -> Entry:
    return Entry(id, archive_ids.time_of(id), with_, data)


def _chunks(sql: str, args: tuple[Any, ...], ids: list[str]) -> list[Statement]:
    # Databases limit the number of arguments of a statement.
    chunks = [ids[first : first + _IDS_PER_STATEMENT] for first in range(0, len(ids), _IDS_PER_STATEMENT)]
    return [(f"{sql} AND id IN ({', '.join('?' * len(chunk))})", (*args, *chunk)) for chunk in chunks]
