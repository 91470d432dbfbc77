"""Writes that become durable together: gatherings of the SQLite storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmppws.core.stores import Archive, KeyValue, Storage, Stores
from xmppws.storage import open_storage


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    storage = open_storage("sqlite:", tmp_path)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
def stores(storage: Storage) -> Stores:
    return storage.for_host("example.com")


@pytest.fixture
def archive(stores: Stores) -> Archive:
    return stores.archive("archive")


@pytest.fixture
def numbers(stores: Stores) -> KeyValue[int]:
    return stores.keyvalue("numbers", int)


async def written(stores: Stores) -> None:
    future = stores.settled()
    if future is not None:
        await future


def append(archive: Archive, owner: str = "alice") -> asyncio.Future[str]:
    return archive.append(owner, b"x", when=1.7e9, with_="bob")


async def test_nothing_is_written_before_the_end(
    stores: Stores, storage: Storage, archive: Archive, numbers: KeyValue[int]
) -> None:
    assert storage.writing is not None
    gathering = stores.gather()
    assert not gathering
    with gathering:
        appended = append(archive)
        numbers.put("alice", 1)
    assert gathering and not appended.done()
    # What others write does not wait for it.
    await numbers.set("bob", 2)
    await written(stores)
    assert (await archive.count("alice"), await numbers.get("alice")) == (0, None)
    commits = storage.writing.seconds.count
    gathering.finish()
    await appended
    assert (await archive.count("alice"), await numbers.get("alice")) == (1, 1)
    assert storage.writing.seconds.count == commits + 1
    gathering.finish()


async def test_there_were_some_that_were_written_in_haste(
    stores: Stores, archive: Archive, numbers: KeyValue[int]
) -> None:
    """Whoever hurries does not know that a number belongs to them."""
    gathering = stores.gather()
    with gathering:
        append(archive)
        hurried = stores.settled(gathered=True)
        assert hurried is not None
        await hurried
        assert gathering
        numbers.put("alice", 1)
    gathering.finish()
    await written(stores)
    assert (await archive.count("alice"), await numbers.get("alice")) == (1, 1)


async def test_a_task_goes_on_gathering(stores: Stores, archive: Archive) -> None:
    gathering, go_on = stores.gather(), asyncio.Event()

    async def handle() -> None:
        append(archive)
        await go_on.wait()
        append(archive)

    with gathering:
        task = asyncio.create_task(handle())
    await asyncio.sleep(0)
    # Meanwhile another stanza is handled, and done.
    other = stores.gather()
    with other:
        append(archive, "bob")
    other.finish()
    await written(stores)
    assert (await archive.count("alice"), await archive.count("bob")) == (0, 1)
    go_on.set()
    await task
    assert await archive.count("alice") == 0
    gathering.finish()
    await written(stores)
    assert await archive.count("alice") == 2


async def test_what_comes_after_the_end_is_written_by_itself(stores: Stores, archive: Archive) -> None:
    gathering, go_on = stores.gather(), asyncio.Event()

    async def observe() -> None:
        await go_on.wait()
        await append(archive)

    with gathering:
        task = asyncio.create_task(observe())
        gathering.finish()
    go_on.set()
    await task
    assert await archive.count("alice") == 1


async def test_who_reads_what_is_shown_already_does_not_wait(stores: Stores, archive: Archive) -> None:
    gathering = stores.gather()
    with gathering:
        append(archive)
    settled = stores.settled(gathered=True)
    assert settled is not None
    await settled
    assert await archive.count("alice") == 1 and gathering
    with gathering:
        append(archive)
    gathering.finish()
    await written(stores)
    assert await archive.count("alice") == 2


async def test_of_several_values_the_last_counts(stores: Stores, storage: Storage, numbers: KeyValue[int]) -> None:
    for number in range(1000):
        numbers.put("alice", number)
        numbers.put("bob", -number)
    numbers.put("carol", 1)
    numbers.put("carol", None)
    await written(stores)
    assert [await numbers.get(name) for name in ("alice", "bob", "carol")] == [999, -999, None]


async def test_a_value_and_its_deletion_keep_their_order(stores: Stores, numbers: KeyValue[int]) -> None:
    numbers.put("alice", 1)
    await written(stores)
    numbers.put("alice", None)
    await written(stores)
    assert await numbers.get("alice") is None
    numbers.put("alice", None)
    numbers.put("alice", 2)
    await written(stores)
    assert await numbers.get("alice") == 2


async def test_in_memory_nothing_has_to_wait(tmp_path: Path) -> None:
    stores = open_storage("memory:", tmp_path).for_host("example.com")
    numbers = stores.keyvalue("numbers", int)
    gathering = stores.gather()
    with gathering:
        numbers.put("alice", 1)
    assert not gathering
    gathering.finish()
    assert await numbers.get("alice") == 1 and stores.settled(gathered=True) is None
    numbers.put("alice", None)
    assert await numbers.get("alice") is None
