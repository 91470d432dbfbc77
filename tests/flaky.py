"""A TCP proxy whose connections are cut, or fall silent first, when a test wants that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random


class Flaky:
    """Listens on `port` and forwards to `target`, a port of 127.0.0.1; while that is 0, connections wait."""

    def __init__(self, random: Random) -> None:
        self.port = 0
        self._target = 0
        self._has_target = asyncio.Event()
        self._random = random
        self._pairs: list[Pair] = []

    @property
    def target(self) -> int:
        return self._target

    @target.setter
    def target(self, port: int) -> None:
        self._target = port
        if port:
            self._has_target.set()
        else:
            self._has_target.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._has_target.wait()
        try:
            onward = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = Pair(writer, onward[1])
        self._pairs.append(pair)
        await asyncio.gather(pair.pump(reader, onward[1]), pair.pump(onward[0], writer))
        self._pairs.remove(pair)
        pair.abort()

    def cut(self) -> bool:
        """Cut a connection at random, one in three after it has swallowed what comes; tell whether there was one."""
        if not self._pairs:
            return False
        pair = self._random.choice(self._pairs)
        if self._random.random() < 0.33:
            pair.silent = True
            asyncio.get_running_loop().call_later(self._random.uniform(0.05, 0.4), pair.abort)
        else:
            pair.abort()
        return True

    def cut_all(self) -> None:
        """Cut all connections."""
        for pair in list(self._pairs):
            pair.abort()


class Pair:
    """A client's connection and the one to the server; while it is `silent` nothing passes."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.silent = False
        self._writers = writers

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(2**16):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        writer.close()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def flaky(random: Random) -> AsyncIterator[Flaky]:
    """Run such a proxy until the block ends."""
    proxy = Flaky(random)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut_all()
        await server.wait_closed()
