"""What was acknowledged is there after the process is killed, and processes may share the file."""

import asyncio
import sqlite3
import sys
from pathlib import Path
from random import Random

import pytest

from xmppws.storage import open_storage

# Appends without an end, 16 at a time, and prints each number as soon as its write returned.
WRITER = """
import asyncio, sys
from pathlib import Path
from xmppws.storage import open_storage

async def write(archive, items, numbers):
    for number in numbers:
        entry = archive.append("alice", str(number).encode(), when=1.7e9, with_="bob")
        await items.set(str(number), number)
        await entry
        print(number, flush=True)

async def main():
    storage = open_storage("sqlite:", Path(sys.argv[1]))
    await storage.open()
    stores = storage.for_host("example.com")
    archive, items = stores.archive("messages"), stores.keyvalue("items", int)
    numbers = iter(range(int(sys.argv[2]), int(sys.argv[3])))
    await asyncio.gather(*[write(archive, items, numbers) for _ in range(16)])
    await storage.close()

asyncio.run(main())
"""


async def start(data_dir: Path, first: int, end: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(data_dir), str(first), str(end), stdout=asyncio.subprocess.PIPE
    )


async def stored(data_dir: Path) -> tuple[list[int], list[int]]:
    """Return the numbers in the archive and in the key-value store."""
    storage = open_storage("sqlite:", data_dir)
    await storage.open()
    stores = storage.for_host("example.com")
    entries = await stores.archive("messages").page("alice", limit=1_000_000)
    owners = await stores.keyvalue("items", int).owners()
    await storage.close()
    return sorted(int(entry.data) for entry in entries), sorted(map(int, owners))


def check_integrity(data_dir: Path) -> None:
    connection = sqlite3.connect(data_dir / "xmppws.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@pytest.mark.parametrize("seed", range(4))
async def test_no_acknowledged_write_is_lost_when_the_process_is_killed(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    acknowledged: list[int] = []
    for round_ in range(3):
        process = await start(tmp_path, round_ * 1_000_000, (round_ + 1) * 1_000_000)
        assert process.stdout is not None
        for _ in range(random.randrange(1, 400)):
            acknowledged.append(int(await process.stdout.readline()))
        process.kill()
        acknowledged.extend(
            [int(line) for line in (await process.stdout.read()).splitlines(keepends=True) if line[-1:] == b"\n"]
        )
        assert await process.wait() == -9
    check_integrity(tmp_path)
    archived, set_ = await stored(tmp_path)
    for numbers in (archived, set_):
        assert set(acknowledged) <= set(numbers)
        assert len(numbers) == len(set(numbers))


async def test_two_processes_write_at_once(tmp_path: Path) -> None:
    """They also create the file at once."""
    processes = [await start(tmp_path, 0, 500), await start(tmp_path, 500, 1000)]
    outputs = await asyncio.gather(*[process.communicate() for process in processes])
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(int(line) for output, _ in outputs for line in output.splitlines()) == list(range(1000))
    check_integrity(tmp_path)
    assert await stored(tmp_path) == (list(range(1000)), list(range(1000)))
