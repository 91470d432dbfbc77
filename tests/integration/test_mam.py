"""XEP-0313 on SQLite: what was sent is found at once, and large archives are as fast as small ones."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from time import perf_counter, time
from typing import Any
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from clients import CLIENT, Client, logged_in
from servers import PASSWORDS, config, running
from xmppws.config import Storage
from xmppws.core.stores import Archive
from xmppws.modules.mam.expiry import Expiry
from xmppws.modules.mam.pages import read_page
from xmppws.modules.mam.query import read_query
from xmppws.storage.ids import ArchiveIds
from xmppws.storage.sql import SqlStorage
from xmppws.storage.sqlite import SqliteDatabase
from xmppws.xml.delay import timestamp
from xmppws.xml.parser import reparse

MAM = "{urn:xmpp:mam:2}"
RSM = "{http://jabber.org/protocol/rsm}"
BEGAN = 1_600_000_000.0
STEP = 10.0
CONTACTS = 100
DATA = b'<message to="alice@localhost" from="bob@localhost/b" xmlns="jabber:client"><body>%s</body></message>' % (
    b"x" * 150
)


# --- on sockets ---


async def page(client: Client, rsm: str = "") -> tuple[list[ElementTree.Element], ElementTree.Element]:
    """Ask for a page; return the archived messages and the end."""
    result_set = f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>" if rsm else ""
    await client.send(
        f"<iq xmlns='jabber:client' type='set' id='q'><query xmlns='urn:xmpp:mam:2'>{result_set}</query></iq>"
    )
    messages: list[ElementTree.Element] = []
    while True:
        stanza = await client.receive()
        if stanza.tag == f"{CLIENT}iq" and stanza.get("id") == "q":
            fin = stanza.find(f"{MAM}fin")
            assert fin is not None, ElementTree.tostring(stanza)
            return messages, fin
        found = stanza.find(f".//{{urn:xmpp:forward:0}}forwarded/{CLIENT}message")
        if found is not None:
            messages.append(found)


async def test_what_was_just_sent_or_delivered_is_there(tmp_path: Path) -> None:
    settings = replace(config(), storage=Storage(url=f"sqlite:{tmp_path / 'data.sqlite'}"))
    async with running(settings) as server, AsyncExitStack() as stack:
        alice, bob = [
            await stack.enter_async_context(logged_in(server.url, name, PASSWORDS[name])) for name in ("alice", "bob")
        ]
        for number in range(30):
            await alice.message(bob.jid, f"message {number}")
        messages, fin = await page(alice)
        assert [each.findtext(f"{CLIENT}body") for each in messages] == [f"message {n}" for n in range(30)]
        assert fin.get("complete") == "true" and fin.findtext(f"{RSM}set/{RSM}count") == "30"
        for number in range(30, 60):
            await alice.message(bob.jid, f"message {number}")
            message = await bob.receive_until("message")
            while message.findtext(f"{CLIENT}body") != f"message {number}":
                message = await bob.receive_until("message")
            stanza_id = message.find("{urn:xmpp:sid:0}stanza-id")
            assert stanza_id is not None and stanza_id.get("by") == "bob@localhost"
            # It is known the moment it is delivered.
            nothing, fin = await page(bob, f"<after>{stanza_id.get('id')}</after>")
            assert nothing == [] and fin.get("complete") == "true"


# --- large archives ---


def fill(path: Path, number: int, owner: str = "alice") -> list[str]:
    """Put messages into an archive, of all contacts in turn but one from a rare one; return their ids."""
    ids = ArchiveIds()
    made = [ids.next(BEGAN + STEP * index) for index in range(number)]
    rare = number // 2
    rows = (
        ("localhost", owner, "mam", id, f"user{0 if index == rare else index % CONTACTS + 1}@localhost", DATA)
        for index, id in enumerate(made)
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO archive (host, owner, store, id, with_, data) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
    return made


class Watched(SqliteDatabase):
    """Keeps the queries that it is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[tuple[str, Sequence[Any]]] = []

    async def read(self, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        self.asked.append((sql, args))
        return await super().read(sql, args)


def form(fields: dict[str, str]) -> str:
    inside = "".join(f"<field var='{var}'><value>{text}</value></field>" for var, text in fields.items())
    type = "<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
    return f"<x xmlns='jabber:x:data' type='submit'>{type}{inside}</x>"


def rsm(content: str) -> str:
    return f"<set xmlns='http://jabber.org/protocol/rsm'>{content}</set>"


def queries(ids: list[str]) -> dict[str, str]:
    """Return what clients ask, at both ends of an archive and in its middle."""
    middle = ids[len(ids) // 2]
    then = timestamp(BEGAN + STEP * (len(ids) // 2))
    return {
        "first page": "",
        "last page": rsm("<before/>"),
        "after the middle": rsm(f"<after>{middle}</after>"),
        "before the middle": rsm(f"<before>{middle}</before>"),
        "after all but the last ten": rsm(f"<after>{ids[-11]}</after>"),
        "since a time": form({"start": then}),
        "until a time, the last": form({"end": then}) + rsm("<before/>"),
        "between ids": form({"after-id": ids[10], "before-id": ids[-10]}),
        "of a contact": form({"with": "user7@localhost"}),
        "last of a contact": form({"with": "user7@localhost"}) + rsm("<before/>"),
        "by id": form({"ids": middle}),
    }


RARE = form({"with": "user0@localhost"}) + rsm("<before/>")


def steps(path: Path, asked: Sequence[tuple[str, Sequence[Any]]]) -> int:
    """Return how many hundreds of instructions SQLite runs for queries."""
    run = 0

    def count() -> int:
        nonlocal run
        run += 1
        return 0

    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(count, 100)
        for sql, args in asked:
            connection.execute(sql, args).fetchall()
    return run


async def ask(archive: Archive, content: str) -> int:
    query = read_query(reparse(f"<query xmlns='urn:xmpp:mam:2'>{content}</query>".encode()), 100)
    return len((await read_page(archive, "alice", query)).entries)


async def opened(path: Path) -> tuple[Watched, Archive]:
    database = Watched(path)
    await database.open()
    return database, SqlStorage(database).for_host("localhost").archive("mam")


async def costs(path: Path, number: int) -> dict[str, int]:
    """Ask everything of an archive; check that indexes alone are searched, and return what each query costs."""
    database, archive = await opened(path)
    ids = fill(path, number)
    found = {}
    try:
        for name, content in queries(ids).items():
            database.asked.clear()
            entries = await ask(archive, content)
            assert entries == {"after all but the last ten": 10, "by id": 1}.get(name, 50), name
            asked = list(database.asked)
            for sql, args in asked:
                plan = [row[3] for row in await database.read(f"EXPLAIN QUERY PLAN {sql}", args)]
                assert len(plan) == 1 and "SEARCH archive USING INDEX archive_by_time" in plan[0], (name, plan)
                # No sorting, no skipping: the range of one index, in its order.
                assert "OFFSET" not in sql
            found[name] = steps(path, asked)
    finally:
        await database.close()
    return found


async def test_pages_of_large_archives_cost_what_those_of_small_ones_do(tmp_path: Path) -> None:
    small, large = await costs(tmp_path / "small.sqlite", 6000), await costs(tmp_path / "large.sqlite", 60_000)
    for name, cost in large.items():
        assert cost <= small[name] * 1.1 + 2, f"{name}: {small[name]} and {cost}"


async def test_the_measure_can_tell(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    database, _ = await opened(path)
    await database.close()
    fill(path, 5000)
    sql = "SELECT id FROM archive WHERE host = 'localhost' AND owner = 'alice' AND store = 'mam' ORDER BY id LIMIT 5"
    assert steps(path, [(f"{sql} OFFSET 4000", ())]) > 3 * steps(path, [(sql, ())])


@pytest.mark.soak
async def test_a_million_messages(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    database, archive = await opened(path)
    ids = fill(path, 1_000_000)
    try:
        for name, content in (*queries(ids).items(), ("the only one of a contact", RARE)):
            times = []
            for _ in range(7):
                began = perf_counter()
                await ask(archive, content)
                times.append(perf_counter() - began)
            took = sorted(times)[3]
            print(f"{name}: {took * 1000:.1f} ms")
            assert took < (0.05 if name != "the only one of a contact" else 2), f"{name}: {took:.3f} s"
        began = perf_counter()
        assert await archive.count("alice") == 1_000_000
        print(f"count: {(perf_counter() - began) * 1000:.1f} ms")
        began = perf_counter()
        # A thousand of them, so that seconds in all are milliseconds each.
        for index in range(1000):
            await archive.append("alice", DATA, when=BEGAN + STEP * 1_000_000 + index, with_="user1@localhost")
        print(f"append: {perf_counter() - began:.1f} ms each")
        await expire(archive)
    finally:
        await database.close()


async def expire(archive: Archive) -> None:
    """Let them grow too old, while somebody else appends and reads; print how long that one waits."""
    removed: list[int] = []
    expiring = asyncio.ensure_future(Expiry(archive, 0.0, removed.append).round())
    future, waits, began = time() + 1e6, [], perf_counter()
    while sum(removed) < 50_000 and not expiring.done():
        asked = perf_counter()
        await archive.append("bob", DATA, when=future, with_="alice@localhost")
        await ask(archive, rsm("<before/>"))
        waits.append(perf_counter() - asked)
    took = perf_counter() - began
    expiring.cancel()
    await asyncio.gather(expiring, return_exceptions=True)
    waits.sort()
    middle, longest = waits[len(waits) // 2] * 1000, waits[-1] * 1000
    print(f"expiry: {sum(removed) / took:.0f} messages a second; others wait {middle:.1f} ms, {longest:.0f} ms at most")
    assert middle < 50
