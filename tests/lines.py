"""Programs that are told what to do, and tell what happens, in lines of JSON."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any


class Script:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.process = process
        self.name = name

    async def do(self, action: str, **facts: Any) -> None:
        """Ask the program for something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": action, **facts}).encode() + b"\n")
        await self.process.stdin.drain()

    async def next(self) -> dict[str, Any]:
        """Return the next event."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, f"{self.name} ended; see its stderr"
        event: dict[str, Any] = json.loads(line)
        return event

    async def event(self, *names: str, timeout: float = 20) -> dict[str, Any]:
        """Return the next event of one of these names, dropping others."""
        async with asyncio.timeout(timeout):
            while (event := await self.next())["event"] not in names:
                pass
            return event

    async def end(self) -> int:
        """Close the program's stdin, and return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.communicate()
        return await self.process.wait()


@asynccontextmanager
async def started(*command: str, name: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Script]:
    """Run a program until the block ends."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=env, limit=2**24)
    try:
        yield Script(process, name)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
