"""One contract for all storages."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from xmppws.core.stores import AlreadyExists, Archive, Entry, KeyValue, Map, Storage, StorageError, Stores
from xmppws.storage import open_storage

NOON = 1_700_000_000.123


class Item(msgspec.Struct):
    name: str
    groups: list[str] = []


@pytest.fixture(params=["memory:", "sqlite:"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    storage = open_storage(request.param, tmp_path)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
def stores(storage: Storage) -> Stores:
    return storage.for_host("example.com")


@pytest.fixture
def items(stores: Stores) -> KeyValue[Item]:
    return stores.keyvalue("items", Item)


@pytest.fixture
def roster(stores: Stores) -> Map[Item]:
    return stores.map("roster", Item)


@pytest.fixture
def archive(stores: Stores) -> Archive:
    return stores.archive("messages")


async def test_keyvalue_keeps_the_last_value(items: KeyValue[Item]) -> None:
    assert await items.get("alice") is None
    await items.set("alice", Item("A"))
    await items.set("alice", Item("Ä\x00", ["friends"]))
    assert await items.get("alice") == Item("Ä\x00", ["friends"])
    assert await items.delete("alice") is True
    assert await items.delete("alice") is False
    assert await items.get("alice") is None


async def test_what_is_stored_is_a_copy(items: KeyValue[Item]) -> None:
    item = Item("A", ["friends"])
    await items.set("alice", item)
    item.groups.append("foes")
    assert await items.get("alice") == Item("A", ["friends"])


async def test_keyvalue_add_never_overwrites(items: KeyValue[Item]) -> None:
    added = await asyncio.gather(*[items.add("alice", Item(str(n))) for n in range(5)])
    assert added == [True, False, False, False, False]
    assert await items.get("alice") == Item("0")


async def test_keyvalue_many(items: KeyValue[Item]) -> None:
    await items.set_many({})
    await items.set_many({"bob": Item("B"), "alice": Item("A")})
    with pytest.raises(AlreadyExists, match="2 already there: alice, bob") as caught:
        await items.add_many({"carol": Item("C"), "alice": Item("X"), "bob": Item("X")})
    assert caught.value.owners == ["alice", "bob"]
    assert await items.owners() == ["alice", "bob"]
    assert await items.get("alice") == Item("A")
    await items.add_many({"carol": Item("C"), "Zoe": Item("Z"), "": Item("")})
    assert await items.owners() == ["", "Zoe", "alice", "bob", "carol"]


async def test_keyvalue_update_is_of_what_is_there(items: KeyValue[Item]) -> None:
    assert await items.update("alice", lambda item: item) is None
    await items.set("alice", Item("A"))
    assert await items.update("alice", lambda _: None) is None
    assert await items.update("alice", lambda item: Item(f"{item.name}B")) == Item("A")
    assert await items.get("alice") == Item("AB")


async def test_keyvalue_updates_at_once_lose_nothing(items: KeyValue[Item]) -> None:
    await items.set("alice", Item("A"))

    async def add(group: str) -> None:
        await items.update("alice", lambda item: Item("A", [*item.groups, group]))

    await asyncio.gather(*map(add, "123456"))
    alice = await items.get("alice")
    assert alice is not None and sorted(alice.groups) == list("123456")


async def test_keyvalue_page(items: KeyValue[Item]) -> None:
    assert await items.page(None, 2) == {}
    await items.set_many({name: Item(name) for name in ("bob", "", "Zoe", "alice")})
    assert list(await items.page(None, 3)) == ["", "Zoe", "alice"]
    assert await items.page("alice", 3) == {"bob": Item("bob")}
    assert await items.page("", 1) == {"Zoe": Item("Zoe")}
    assert await items.page("bob", 1) == {}


async def test_stores_are_apart_by_host_and_name_and_shape(storage: Storage, items: KeyValue[Item]) -> None:
    await items.set("alice", Item("A"))
    stores, other_host = storage.for_host("example.com"), storage.for_host("example.org")
    assert await stores.keyvalue("items", Item).get("alice") == Item("A")
    assert await stores.keyvalue("other", Item).owners() == []
    assert await stores.map("items", Item).all("alice") == {}
    assert await other_host.keyvalue("items", Item).owners() == []


async def test_value_of_another_type_is_an_error_in_words(stores: Stores, items: KeyValue[Item]) -> None:
    await items.set("alice", Item("A"))
    with pytest.raises(StorageError, match="the value of 'alice' in store items cannot be read: Expected `int`"):
        await stores.keyvalue("items", int).get("alice")


async def test_map(roster: Map[Item]) -> None:
    await roster.set("alice", "bob@example.org", Item("Bob"))
    await roster.set("alice", "", Item("empty"))
    await roster.set("alice", "bob@example.org", Item("Bobby"))
    await roster.set("bob", "alice@example.com", Item("Alice"))
    assert await roster.get("alice", "bob@example.org") == Item("Bobby")
    assert await roster.get("alice", "carol@example.org") is None
    assert list(await roster.all("alice")) == ["", "bob@example.org"]
    assert await roster.delete("alice", "") is True
    assert await roster.delete("alice", "") is False
    assert await roster.replace("alice", "bob@example.org", Item("Rob")) is True
    assert await roster.get("alice", "bob@example.org") == Item("Rob")
    assert await roster.replace("alice", "carol@example.org", Item("Carol")) is False
    assert await roster.replace("nobody", "bob@example.org", Item("Bob")) is False
    assert (await roster.get("alice", "carol@example.org"), await roster.all("nobody")) == (None, {})
    await roster.clear("alice")
    await roster.clear("nobody")
    assert await roster.all("alice") == {}
    assert await roster.all("bob") == {"alice@example.com": Item("Alice")}


async def filled(archive: Archive) -> list[str]:
    """Append six entries, a second apart, with bob and carol in turn; return their ids."""
    return [
        await archive.append("alice", str(n).encode(), when=NOON + n, with_=("bob", "carol")[n % 2]) for n in range(6)
    ]


async def test_archive_entry_comes_back_whole(archive: Archive) -> None:
    id = await archive.append("alice", b"<\x00\xff", when=NOON, with_="bob@example.org")
    assert await archive.get("alice", id) == Entry(id, NOON, "bob@example.org", b"<\x00\xff")
    assert await archive.get("bob", id) is None


async def test_archive_ids_sort_by_time_then_by_order(archive: Archive) -> None:
    late, early = await archive.append("alice", b"l", when=NOON, with_=""), archive.next_id(NOON - 0.001)
    await archive.append("alice", b"e", when=NOON - 0.001, with_="", id=early)
    many = [await archive.append("alice", b"m", when=NOON, with_="") for _ in range(20)]
    assert [early, late, *many] == sorted([early, late, *many])
    assert [entry.id for entry in await archive.page("alice", limit=50)] == [early, late, *many]


async def test_archive_pages(archive: Archive) -> None:
    ids = await filled(archive)

    async def page(**bounds: object) -> str:
        return "".join([entry.data.decode() for entry in await archive.page("alice", **{"limit": 9} | bounds)])  # type: ignore[arg-type]

    assert await page() == "012345"
    assert await page(limit=2) == "01"
    assert await page(limit=0) == ""
    assert await page(limit=2, newest_first=True) == "54"
    assert await page(after=ids[1], limit=2) == "23"
    assert await page(before=ids[4], limit=2, newest_first=True) == "32"
    assert await page(after=ids[0], before=ids[3]) == "12"
    assert await page(with_="carol") == "135"
    assert await page(with_="carol", before=ids[5], newest_first=True, limit=1) == "3"
    assert await page(start=NOON + 1, end=NOON + 3) == "123"
    assert await page(start=NOON + 1.001, end=NOON + 2.999) == "2"
    assert await page(start=NOON + 1, after=ids[0], with_="bob", end=NOON + 4) == "24"
    assert await page(with_="dave") == ""
    assert await archive.page("bob", limit=5) == []


async def test_archive_remove(archive: Archive) -> None:
    ids = await filled(archive)
    assert await archive.remove("alice", before=NOON + 1) == 1
    assert await archive.remove("alice", ids=[ids[0], ids[1], ids[4]], before=NOON + 3) == 1
    assert await archive.remove("alice", ids=[]) == 0
    assert await archive.remove("bob") == 0
    assert [entry.id for entry in await archive.page("alice", limit=9)] == ids[2:]
    assert await archive.remove("alice", ids=[ids[2], ids[2], *map(str, range(2000))]) == 1
    assert await archive.count("alice") == 3
    assert await archive.owners() == ["alice"]
    assert await archive.remove("alice") == 3
    assert await archive.count("alice") == 0
    assert await archive.owners() == []


@pytest.mark.parametrize("id", ["", "x", "0" * 24, "é" * 24])
async def test_archive_refuses_ids_of_others(archive: Archive, id: str) -> None:
    with pytest.raises(ValueError, match="was not made by next_id"):
        archive.append("alice", b"", when=NOON, with_="", id=id)


@pytest.mark.parametrize("when", [-1.0, 1e12])
async def test_archive_refuses_times_it_cannot_sort(archive: Archive, when: float) -> None:
    with pytest.raises(ValueError, match="is not between the years"):
        archive.append("alice", b"", when=when, with_="")


async def test_appending_twice_fails_and_makes_no_noise_when_not_awaited(archive: Archive) -> None:
    id = await archive.append("alice", b"first", when=NOON, with_="bob")
    archive.append("alice", b"second", when=NOON, with_="bob", id=id)
    with pytest.raises(StorageError):
        await archive.append("alice", b"third", when=NOON, with_="bob", id=id)
    gc.collect()  # would warn of an exception that was never retrieved
    assert [entry.data for entry in await archive.page("alice", limit=5)] == [b"first"]


async def test_purge_takes_one_owner_out_of_all_stores(
    storage: Storage, stores: Stores, items: KeyValue[Item], roster: Map[Item], archive: Archive
) -> None:
    elsewhere = storage.for_host("example.org").keyvalue("items", Item)
    for owner in ("alice", "bob"):
        await items.set(owner, Item("A"))
        await roster.set(owner, "carol", Item("C"))
        await archive.append(owner, b"", when=NOON, with_="carol")
        await elsewhere.set(owner, Item("A"))
    await stores.purge("alice")
    assert await items.owners() == await archive.owners() == ["bob"]
    assert await roster.all("alice") == {}
    assert len(await roster.all("bob")) == 1
    assert await elsewhere.owners() == ["alice", "bob"]


async def test_storage_can_be_opened_again(storage: Storage, items: KeyValue[Item]) -> None:
    await items.set("alice", Item("A"))
    await storage.close()
    await storage.open()
    assert await storage.for_host("example.com").keyvalue("items", Item).get("alice") == Item("A")


@pytest.mark.parametrize("url", ["", "xmppws.sqlite", "mysql://host/db", "sqlite://host/db"])
def test_unknown_url_is_refused_in_words(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match=r'unknown storage ".*": use "sqlite:"'):
        open_storage(url, tmp_path)
