"""What only the SQLite storage has: a file, threads, groups, and failures."""

import asyncio
import logging
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmppws.core.stores import StorageError
from xmppws.storage import open_storage, sqlite
from xmppws.storage.database import Statement, UniqueViolation
from xmppws.storage.migrations import MIGRATIONS
from xmppws.storage.sql import SqlStorage
from xmppws.storage.sqlite import SqliteDatabase


def insert(owner: str, value: bytes = b"1") -> Statement:
    return "INSERT INTO keyvalue (host, owner, store, value) VALUES ('h', ?, 's', ?)", (owner, value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "test.sqlite"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, busy_timeout_s=5)
    await database.open()
    yield database
    await database.close()


async def count(database: SqliteDatabase) -> int:
    rows = await database.read("SELECT count(*) FROM keyvalue", ())
    return int(rows[0][0])


async def test_writes_that_come_together_are_committed_together(database: SqliteDatabase, path: Path) -> None:
    commits = database.writing.seconds.count
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # makes the writer wait, as a slow disk does
        written = [database.submit([insert(str(n))], n) for n in range(1000)]
        other.execute("COMMIT")
    other.close()
    assert await asyncio.gather(*written) == list(range(1000))
    assert database.writing.seconds.count - commits <= 4
    assert await count(database) == 1000


async def test_one_failing_call_fails_alone_and_whole(database: SqliteDatabase) -> None:
    await database.write([insert("old")])
    outcomes = await asyncio.gather(
        database.write([insert("a")]),
        database.write([insert("b"), insert("old")]),
        database.write([insert("c"), insert("d")]),
        return_exceptions=True,
    )
    assert [outcomes[0], outcomes[2]] == [[1], [1, 1]]
    assert isinstance(outcomes[1], UniqueViolation)
    assert await database.read("SELECT owner FROM keyvalue", ()) == [("a",), ("c",), ("d",), ("old",)]


@pytest.mark.parametrize(
    ("theirs", "replaced", "written"),
    [
        (None, None, None),
        (b'"theirs"', "theirs", "theirs, ours"),
        # The same value in other bytes.
        (b' "first" ', "first", "first, ours"),
    ],
)
async def test_update_is_of_what_another_process_has_written(
    database: SqliteDatabase, path: Path, theirs: bytes | None, replaced: str | None, written: str | None
) -> None:
    texts = SqlStorage(database).for_host("h").keyvalue("s", str)
    await texts.set("alice", "first")
    seen: list[str] = []

    def change(text: str) -> str:
        if not seen:
            with sqlite3.connect(path) as other:
                if theirs is None:
                    other.execute("DELETE FROM keyvalue")
                else:
                    other.execute("UPDATE keyvalue SET value = ?", (theirs,))
            other.close()
        seen.append(text)
        return f"{text}, ours"

    assert await texts.update("alice", change) == replaced
    assert await texts.get("alice") == written
    assert seen == ["first", *([replaced] if replaced else [])]


async def test_cancelled_caller_does_not_disturb_the_others(database: SqliteDatabase) -> None:
    gone, stays = database.submit([insert("a")], 1), database.submit([insert("b")], 2)
    gone.cancel()
    assert await stays == 2
    assert await count(database) == 2


async def test_close_commits_what_is_queued(database: SqliteDatabase) -> None:
    written = [database.submit([insert(str(n))], n) for n in range(2000)]
    await database.close()
    assert all(future.done() for future in written)
    await database.open()
    assert await count(database) == 2000


async def test_closed_database_says_so(database: SqliteDatabase, path: Path) -> None:
    await database.close()
    await database.close()
    for use in (database.read("SELECT 1", ()), database.write([insert("a")])):
        with pytest.raises(StorageError, match=f"{path} is closed"):
            await use
    with pytest.raises(StorageError, match="is closed"):
        database.submit([insert("a")], 1)


async def test_full_queue_makes_writers_wait_and_refuses_what_cannot_wait(
    database: SqliteDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "GROUP", 1)
    monkeypatch.setattr(sqlite, "CAPACITY", 2)
    monkeypatch.setattr(sqlite, "HARD_CAPACITY", 4)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        writers = [asyncio.ensure_future(database.write([insert(str(n))])) for n in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(StorageError, match="4 writes are waiting for the disk already"):
            for n in range(100, 200):
                database.submit([insert(str(n))], n)
        other.execute("COMMIT")
    other.close()
    assert await asyncio.gather(*writers) == [[1]] * 20


@pytest.mark.parametrize("owner", ["\ud800", 2**64])
async def test_value_that_sqlite_cannot_hold(
    database: SqliteDatabase, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StorageError, match=r"test\.sqlite cannot be written"):
        await database.write([insert(owner)])
    with pytest.raises(StorageError, match=r"test\.sqlite cannot be read"):
        await database.read("SELECT ?", (owner,))
    assert await database.write([insert("a")]) == [1]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_full_disk_fails_the_group_and_the_next_one_works(database: SqliteDatabase) -> None:
    await database.write([insert("old")])
    (pages,) = (await database.read("PRAGMA page_count", ()))[0]
    await database.write([(f"PRAGMA max_page_count = {pages}", ())])
    with pytest.raises(StorageError, match="cannot be written: database or disk is full"):
        await database.write([insert("big", b"x" * 100_000)])
    await database.write([("PRAGMA max_page_count = 1000000", ())])
    assert await database.write([insert("big", b"x" * 100_000)]) == [1]


async def test_other_process_that_holds_the_file_too_long(path: Path) -> None:
    database = SqliteDatabase(path, busy_timeout_s=0.05)
    await database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="cannot be written: database is locked"):
        await database.write([insert("a")])
    other.execute("COMMIT")
    other.close()
    assert await database.write([insert("a")]) == [1]
    await database.close()


async def test_file_is_for_its_owner_only(database: SqliteDatabase, path: Path) -> None:
    modes = [stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()]
    assert modes == [0o600] * 3


async def test_commits_are_synced_to_the_disk(path: Path) -> None:
    """The settings that durability rests on; a test cannot pull the plug."""
    database = SqliteDatabase(path)
    await database.open()
    assert database._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    await database.close()


async def test_newer_file_is_refused_in_words(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    with pytest.raises(StorageError, match=r"test\.sqlite was written by a newer xmppws"):
        await SqliteDatabase(path).open()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.parent.write_text("a file where the directory should be"), "File exists"),
        (lambda path: path.mkdir(parents=True), "Is a directory"),
        (lambda path: path.parent.mkdir() or path.write_text("no database" * 100), "file is not a database"),
    ],
)
async def test_path_that_cannot_be_opened(path: Path, make: object, reason: str) -> None:
    make(path)  # type: ignore[operator]
    with pytest.raises(StorageError, match=rf"test\.sqlite cannot be opened: .*{reason}"):
        await SqliteDatabase(path).open()


@pytest.mark.parametrize(("url", "file"), [("sqlite:", "xmppws.sqlite"), ("sqlite:a/b.db", "a/b.db")])
async def test_url_names_the_file(tmp_path: Path, url: str, file: str) -> None:
    storage = open_storage(url, tmp_path)
    await storage.open()
    await storage.close()
    assert (tmp_path / file).is_file()


async def test_url_with_an_absolute_path(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:{tmp_path}/other.db", tmp_path / "data")
    await storage.open()
    await storage.close()
    assert os.listdir(tmp_path) == ["other.db"]


async def test_queries_use_the_index(database: SqliteDatabase) -> None:
    owned = "SELECT id, with_, data FROM archive WHERE host = ? AND owner = ? AND store = ?"
    for sql, args in (
        (f"{owned} AND id > ? ORDER BY id LIMIT ?", 5),
        (f"{owned} AND with_ = ? AND id < ? ORDER BY id DESC LIMIT ?", 6),
    ):
        plan = " ".join([row[3] for row in await database.read(f"EXPLAIN QUERY PLAN {sql}", ("x",) * args)])
        assert "SEARCH" in plan and "TEMP B-TREE" not in plan
