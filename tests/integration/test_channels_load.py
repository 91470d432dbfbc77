"""A thousand pages in twenty full channels, and pages that do not read, on a server in a process of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

import pytest

from bench.generator import Client, Clients, text
from bench.machine import allow_many_files, anonymous_kib
from jose import SECRET, hs256, token
from servers import Program, program

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells what a process has")

CHANNELS: Final = 20
USERS: Final = 50
PAGES: Final = CHANNELS * USERS
EACH: Final = 2
SLOW: Final = 25
# Of those, who read again after so many messages.
LATE: Final = 5
CAUGHT_UP: Final = 20
LARGE: Final = "x" * 50_000
SEND_BUFFER: Final = 256 * 1024
# Of a page in a full channel, with its session, its place in the room, and its part of the channel.
PAGE_KIB: Final = 20
# What a round may leave behind for good: memory that is free, but in pieces.
LEFT_KIB: Final = 8 * 1024
AT_A_TIME: Final = 20
FILE: Final = f"""
data_dir = "%s"
admin_socket = ""
metrics.listen = []
storage.url = "memory:"
c2s.max_send_buffer = {SEND_BUFFER}
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[hosts.localhost]
http_host = ["127.0.0.1"]
authentication = ["jwt"]
modules_enabled = ["default", "channels"]
jwt.secret = "{SECRET}"
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Program]:
    allow_many_files()
    file = tmp_path / "xmppws.toml"
    file.write_text(FILE % tmp_path)
    async with program(file) as started:
        yield started
        assert not [line for line in started.lines if "ERROR" in line or "Traceback" in line]


class Page:
    """One page of a user in a channel; `order` is a hash over all messages as they came, `seen` what they were."""

    def __init__(self, clients: Clients, user: str, channel: str) -> None:
        self.channel = channel
        self.user = user
        self.is_in = False
        self.seen: list[tuple[str, int]] = []
        self.order = blake2b()
        shown = token({"sub": user, "exp": time.time() + 600}, hs256())
        self.client: Client = clients.connect(self._opened, f"/ws?token={shown}")

    def ask(self, type: str, **more: object) -> None:
        self.client.send(text(json.dumps({"type": type, "channel": self.channel, "event": "load", **more}).encode()))

    def _opened(self, payloads: list[bytes]) -> None:
        self.client.receive = self._receive
        self.ask("subscribe")

    def _receive(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(b'{"type":"message"'):
                self.seen.append(read(payload))
                self.order.update(payload)
            elif payload.startswith(b'{"type":"subscribed"'):
                self.is_in = True
            else:
                assert payload.startswith((b'{"type":"enter"', b'{"type":"leave"')), payload


@lru_cache(maxsize=10_000)
def read(payload: bytes) -> tuple[str, int]:
    """Return who has sent a message, and its number. All copies are alike."""
    message = json.loads(payload)
    sender = message["data"]["from"]
    assert message["sender"] == {"id": f"{sender}@localhost", "nick": sender}
    return sender, message["data"]["number"]


def arrive(clients: Clients, places: Iterable[tuple[str, str]]) -> list[Page]:
    """Let users enter channels, some at a time."""
    found: list[Page] = []
    for user, channel in places:
        found.append(Page(clients, user, channel))
        if len(found) % AT_A_TIME == 0:
            clients.run_until(lambda: all(page.is_in for page in found[-AT_A_TIME:]))
    clients.run_until(lambda: all(page.is_in for page in found))
    return found


def round_(server: Program) -> tuple[float, float, float]:
    """Let all come, speak and go; return KiB of the server when they are in, when they have spoken, and afterwards."""
    pid = server.process.pid
    with closing(Clients(server.port)) as clients:
        places = [(f"user{user}", f"Room {channel}") for user in range(USERS) for channel in range(CHANNELS)]
        pages = arrive(clients, places)
        entered = anonymous_kib(pid)
        for number in range(EACH):
            for page in pages:
                page.ask("publish", data={"from": page.user, "number": number})
        clients.run_until(lambda: len(pages[0].seen) == EACH * USERS and has_all(pages, EACH * USERS))
        # One that comes twice would come now.
        clients.run_for(0.2)
        spoken = anonymous_kib(pid)
        check(pages)
        for page in pages:
            clients.disconnect(page.client)
        last = arrive(clients, [("last", "Other")])
        clients.run_for(0.5)
        assert last[0].seen == []
        return entered, spoken, anonymous_kib(pid)


def has_all(pages: list[Page], count: int) -> bool:
    return all(len(page.seen) == count for page in pages)


def check(pages: list[Page]) -> None:
    """See that everything has arrived once, and in one order in each channel."""
    for channel in {page.channel for page in pages}:
        inside = [page for page in pages if page.channel == channel]
        assert len({page.order.digest() for page in inside}) == 1
        seen = inside[0].seen
        assert len(seen) == len(set(seen)) == EACH * USERS
        for page in inside:
            assert [number for user, number in seen if user == page.user] == list(range(EACH))


@pytest.mark.timeout(150)
async def test_a_thousand_pages_take_bounded_memory(server: Program) -> None:
    with closing(Clients(server.port)) as clients:
        await asyncio.to_thread(arrive, clients, [("first", "Other")])
    empty = await asyncio.to_thread(anonymous_kib, server.process.pid)
    first = await asyncio.to_thread(round_, server)
    second = await asyncio.to_thread(round_, server)
    print(f"KiB: {empty} empty; entered, spoken, gone: {first}, again {second}")
    print(f"KiB a page: {(first[0] - empty) / PAGES:.1f} entered, {(first[1] - empty) / PAGES:.1f} spoken")
    assert max(*first, *second) - empty < PAGES * PAGE_KIB
    assert second[1] - first[1] < LEFT_KIB
    assert second[2] - first[2] < LEFT_KIB


async def test_pages_that_do_not_read(server: Program) -> None:
    """The others get everything at once; who catches up gets it too, who does not is ended, and costs no more."""
    await asyncio.to_thread(slow_readers, server)
    await server.logged("slow-reader")
    ended = [line for line in server.lines if "slow-reader" in line]
    assert len(ended) == SLOW - LATE


def slow_readers(server: Program) -> None:
    pid = server.process.pid
    with closing(Clients(server.port)) as clients:
        pages = arrive(clients, [(f"user{user}", "Slow") for user in range(USERS)])
        fast, late, slow = pages[SLOW:], pages[:LATE], pages[LATE:SLOW]
        before = most = anonymous_kib(pid)
        for page in slow:
            page.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for page in pages[:SLOW]:
            clients.stop_reading(page.client)
        number = 0
        while not number or len([line for line in server.lines if "slow-reader" in line]) < len(slow):
            fast[0].ask("publish", data={"from": fast[0].user, "number": number, "more": LARGE})
            number += 1
            clients.run_until(lambda seen=number: has_all(fast, seen))  # type: ignore[misc]
            most = max(most, anonymous_kib(pid))
            if number == CAUGHT_UP:
                for page in late:
                    clients.read_again(page.client)
                clients.run_until(lambda: has_all(late, CAUGHT_UP))
        print(f"{number} messages, {before} KiB before, at most {most}")
        clients.run_until(lambda: has_all(late, number))
        assert len({page.order.digest() for page in (*fast, *late)}) == 1
        assert most - before < SLOW * SEND_BUFFER / 1024 * 2 + LEFT_KIB
