"""Scripts of tests/e2e/js under Node.js, told what to do and telling what happens in lines of JSON."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "e2e" / "js"


class Script:
    """A running script."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.process = process
        self.name = name

    async def do(self, action: str, **facts: Any) -> None:
        """Ask the script for something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": action, **facts}).encode() + b"\n")
        await self.process.stdin.drain()

    async def event(self, *names: str, timeout: float = 20) -> dict[str, Any]:
        """Return the next event of one of these names, dropping others."""
        async with asyncio.timeout(timeout):
            while True:
                assert self.process.stdout is not None
                line = await self.process.stdout.readline()
                assert line, f"{self.name} ended while the test waited for {' or '.join(names)}; see its stderr"
                event: dict[str, Any] = json.loads(line)
                if event["event"] in names:
                    return event

    async def end(self) -> int:
        """Close the script's stdin, and return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.communicate()
        return await self.process.wait()


@asynccontextmanager
async def script(name: str, *args: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Script]:
    """Run a script until the block ends; skip the test where it cannot run."""
    process = await asyncio.create_subprocess_exec(
        _node(), str(SCRIPTS / name), *args, stdin=PIPE, stdout=PIPE, env=env, limit=2**24
    )
    try:
        yield Script(process, name)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing; to run this test: apt-get install -y --no-install-recommends nodejs npm")
    if not (SCRIPTS / "node_modules").is_dir():
        pytest.skip("tests/e2e/js/node_modules is missing; to run this test: cd tests/e2e/js && npm ci")
    return node
