"""Other people's programs: how tests find, start and end them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import unittest
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType

SECONDS_TO_START = 60
# Nothing that a server has stored is needed any more, or it was asked for with `kill`.
SECONDS_TO_STOP = 5

_NOTHING: Mapping[str, str] = MappingProxyType({})


async def stop(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Ask a process to end, and end its whole group when it does not in time. It leads a group of its own."""
    try:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def installed(command: str, package: str = "") -> str:
    """Return where a command is. `SkipTest` where its package is not installed."""
    found = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        package = package or command
        raise unittest.SkipTest(f"{package} is not installed: apt install --no-install-recommends {package}")
    return found


def package_version(package: str) -> str:
    """Return the version of an installed package of Debian's."""
    command = ("dpkg-query", "--show", "--showformat=${Version}", package)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def free_ports(count: int) -> list[int]:
    """Find ports of 127.0.0.1 on which nobody listens; they are held at the same time so that they differ."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Daemon:
    """A server that can be started again. It is ready when its log, which it may write itself, holds all of `ready`."""

    def __init__(
        self, command: Sequence[str], log: Path, ready: Sequence[str], environment: Mapping[str, str] = _NOTHING
    ) -> None:
        self._command = command
        self._log = log
        self._ready = ready
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Run it until `stop` or `kill`, and wait until it is ready."""
        with self._log.open("ab") as output:
            before = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        try:
            await self._is_ready(self._process, before)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None:
            await stop(self._process, SECONDS_TO_STOP)

    async def kill(self) -> None:
        """End it and its children at once, as a crash would."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def logged(self, text: str) -> None:
        """Wait until its log holds a text."""
        await self._holds((text,), 0)

    async def _is_ready(self, process: asyncio.subprocess.Process, offset: int) -> None:
        waiting = asyncio.ensure_future(self._holds(self._ready, offset))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait((waiting, ended), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                text = self._log.read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"it ended with {process.returncode} before it was ready:\n{text}")
            await waiting
        finally:
            waiting.cancel()
            ended.cancel()

    async def _holds(self, texts: Sequence[str], offset: int) -> None:
        """Look again and again: a log file tells nobody that it has grown."""
        async with asyncio.timeout(SECONDS_TO_START):
            while not all(text.encode() in self._log.read_bytes()[offset:] for text in texts):
                await asyncio.sleep(0.05)
