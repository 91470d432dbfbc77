"""A server whose admin socket the real command line uses."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from servers import Program, add_accounts, program

FILE = """
data_dir = "{directory}/data"
admin_socket = "{directory}/admin.sock"
plugin_paths = ["{directory}/modules"]
metrics.listen = []
log.audit_file = "audit.log"
log.level = "{level}"
c2s.resume_timeout = "{resume_timeout}"
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[hosts."localhost"]
http_host = ["127.0.0.1", "localhost"]
modules_enabled = ["roster", "presence", "subscriptions", "offline", "disco", "ping", "session", "tally"]
allowed_origins = ["{origin}"]
"""
MODULE = """
from xmppws.core.admin import AdminError, admin_command
from xmppws.core.module import Module


class Tally(Module):
    name = "tally"

    @admin_command("tally", "Count the arguments.")
    async def tally(self, args: list[str]) -> list[dict[str, object]]:
        if args == ["nothing"]:
            raise AdminError("Nothing cannot be counted")
        if args == ["broken"]:
            raise RuntimeError("secret detail")
        return [{"counted": len(args), "by": "first"}]
"""


class Served:
    """A server with its configuration; `run` runs a command on it."""

    def __init__(self, directory: Path, server: Program) -> None:
        self.directory = directory
        self.file = directory / "xmppws.toml"
        self.socket = directory / "admin.sock"
        self.server = server

    async def start(self, *arguments: str, stdin: int | None = None) -> asyncio.subprocess.Process:
        return await start(self.file, *arguments, stdin=stdin)

    async def run(self, *arguments: str) -> str:
        status, out, err = await run(self.file, *arguments)
        assert (status, err) == (0, ""), err
        return out

    async def rows(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.run(*arguments, "--json")).splitlines()]

    async def refused(self, *arguments: str) -> str:
        status, out, err = await run(self.file, *arguments)
        assert (status, out) == (1, "") and "Traceback" not in err
        return err

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            yield reader, writer
        finally:
            writer.close()
            await writer.wait_closed()

    async def ask(self, line: bytes) -> dict[str, Any]:
        async with self.connection() as (reader, writer):
            writer.write(line)
            answer: dict[str, Any] = json.loads(await reader.readline())
            return answer


async def start(file: Path, *arguments: str, stdin: int | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xmppws", *arguments, "-c", str(file)),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(file: Path, *arguments: str) -> tuple[int | None, str, str]:
    process = await start(file, *arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def configure(directory: Path, level: str = "info", origin: str = "*", resume_timeout: str = "10m") -> Path:
    file = directory / "xmppws.toml"
    file.write_text(FILE.format(directory=directory, level=level, origin=origin, resume_timeout=resume_timeout))
    return file


@asynccontextmanager
async def administered(directory: Path, **options: str) -> AsyncIterator[Served]:
    """Run a server with the accounts of `PASSWORDS`, and with the module `tally`; options go to `configure`."""
    (directory / "modules").mkdir()
    (directory / "modules" / "tally.py").write_text(MODULE)
    file = configure(directory, **options)
    await add_accounts(file)
    async with program(file) as server:
        yield Served(directory, server)
