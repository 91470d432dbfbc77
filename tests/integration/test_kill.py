"""Clients that talk while connections are cut, and the server is restarted and killed: what was acknowledged is there.

Every run prints its seed; `KILL_SEED` repeats one.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random, SystemRandom

import pytest

from flaky import Flaky, flaky
from servers import Program, add_accounts, program
from talking import Account, Talker
from waiting import until

FILE = """
data_dir = "{directory}"
admin_socket = ""
metrics.listen = []
limits.exempt = ["127.0.0.1"]
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[c2s]
ping_interval = "1s"
pong_timeout = "1s"
[hosts."localhost"]
http_host = ["127.0.0.1", "localhost"]
"""


class Trouble:
    """What happens to a server and the connections to it. `done` counts it."""

    def __init__(self, file: Path, proxy: Flaky, random: Random, stack: AsyncExitStack) -> None:
        self.done: Counter[str] = Counter()
        self._file = file
        self._proxy = proxy
        self._random = random
        self._stack = stack
        self._server: Program | None = None
        self.problems: list[str] = []

    async def start(self) -> None:
        """Start the server, behind the proxy."""
        self._server = await self._stack.enter_async_context(program(self._file))
        self._proxy.target = self._server.port

    async def make(self, cuts: int, restarts: int, kills: int) -> None:
        """Make trouble at random moments."""
        kinds = ["cut"] * cuts + ["restart"] * restarts + ["kill"] * kills
        self._random.shuffle(kinds)
        for kind in kinds:
            await asyncio.sleep(self._random.uniform(0.05, 0.5))
            if kind == "cut":
                await until(self._proxy.cut)
            else:
                await self._restart(signal.SIGTERM if kind == "restart" else signal.SIGKILL)
            self.done[kind] += 1

    async def _restart(self, signum: int) -> None:
        server = self._server
        assert server is not None
        code = await server.stop(signum)
        if signum == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code == 0, server.lines
        self._look_at(server)
        await self.start()

    def _look_at(self, server: Program) -> None:
        self.problems += [line for line in server.lines if " ERROR " in line or "Traceback" in line]

    async def stop(self) -> None:
        """End the server, and look what it has to say."""
        assert self._server is not None
        assert await self._server.stop() == 0
        self._look_at(self._server)


async def talk(directory: Path, seed: int, *, messages: int, cuts: int, restarts: int, kills: int) -> None:
    random = Random(seed)
    file = directory / "xmppws.toml"
    file.write_text(FILE.format(directory=directory))
    await add_accounts(file)
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(flaky(random))
        trouble = Trouble(file, proxy, random, stack)
        await trouble.start()
        url = f"ws://127.0.0.1:{proxy.port}/xmpp-websocket"
        alice = Talker(url, "alice", "bob", messages, Random(seed + 1))
        bob = Talker(url, "bob", "alice", messages, Random(seed + 2))
        talks = [asyncio.ensure_future(each.run()) for each in (alice, bob)]
        await trouble.make(cuts, restarts, kills)
        await until(lambda: (alice.is_done and bob.is_done) or any(each.done() for each in talks), 60)
        assert not [each.exception() for each in talks if each.done()]
        with suppress(TimeoutError):
            # What is missing then is told below.
            await until(lambda: all(len(each.account.seen) == messages for each in (alice, bob)), 5)
        for each in talks:
            each.cancel()
        await asyncio.wait(talks)
        for talker in (alice, bob):
            await talker.read_archive()
        await trouble.stop()
        print(f"\nseed {seed}: {messages} messages each way, {dict(trouble.done)}")
        judge(alice.account, bob.account)
        judge(bob.account, alice.account)
        assert trouble.problems == []


def judge(sender: Account, reader: Account) -> None:
    """Make sure that the reader has seen what the sender knows to be delivered, once and in order."""
    lost = sorted(sender.acknowledged - reader.seen.keys())
    doubled = sorted(number for number, ids in reader.seen.items() if len(ids) > 1)
    unexplained = sorted(set(doubled) - sender.sent_again)
    archived = Counter(reader.archive)
    print(
        f"{sender.name} to {reader.name}: {len(sender.acknowledged)} acknowledged, {len(lost)} lost,",
        f"{len(unexplained)} doubled; {len(sender.sent_again)} were sent again, {len(doubled)} of them came twice,",
        f"{len(reader.repeated)} were shown again;",
        f"{reader.name} resumed {reader.resumed} times, in vain {reader.failed}",
    )
    assert lost == [] and unexplained == []
    assert reader.live == sorted(reader.live)
    by_id = sorted(reader.seen, key=lambda number: reader.seen[number][0])
    assert by_id == sorted(reader.seen)
    assert sender.acknowledged <= archived.keys()
    # `h` tells the sender after a crash, too, what it need not send again.
    assert [number for number, times in archived.items() if times > 1] == []


def seeds(number: int) -> list[int]:
    given = os.environ.get("KILL_SEED")
    return [int(given)] if given else [SystemRandom().randrange(10**6) for _ in range(number)]


async def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    (seed,) = seeds(1)
    await talk(tmp_path, seed, messages=150, cuts=6, restarts=2, kills=2)


@pytest.mark.soak
async def test_nothing_is_lost_or_doubled_for_long(tmp_path: Path) -> None:
    for seed in seeds(20):
        directory = tmp_path / str(seed)
        directory.mkdir()
        await talk(directory, seed, messages=1000, cuts=40, restarts=8, kills=8)
