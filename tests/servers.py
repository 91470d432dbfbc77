"""Start the real server for a test: inside the test's loop, or as the program that users start."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from xmppws.app import Server
from xmppws.auth.account import Account
from xmppws.config import C2S, Config, Host, HostC2S, Http, Metrics, Pace, Storage
from xmppws.config.options import options
from xmppws.core.auth import Accounts
from xmppws.core.host import Host as LocalHost

PASSWORDS = {"alice": "wonder land", "bob": "bauen & söhne", "carol": "c"}


def config(
    *,
    hosts: dict[str, Host] | None = None,
    http: dict[str, Any] | None = None,
    pace: Pace | None = None,
    **c2s: Any,
) -> Config:
    """Build a configuration.

    Host localhost in memory on a free port, streams taken as secure, unless said otherwise.
    """
    settings = {"listen": ("127.0.0.1:0",), "consider_websocket_secure": True, **(http or {})}
    # A file's hosts take over what [c2s] says.
    limits = HostC2S(**{name: value for name, value in c2s.items() if name in options(HostC2S)})
    hosts = hosts or {"localhost": Host(http_host=("localhost", "127.0.0.1"))}
    return Config(
        data_dir=Path("/nonexistent"),
        admin_socket="",
        http=Http(**settings),
        # Many tests leave sockets behind that nobody closes.
        c2s=C2S(**{"close_timeout": 1.0, **c2s}),
        limits=pace or Pace(),
        storage=Storage(url="memory:"),
        metrics=Metrics(listen=()),
        hosts=MappingProxyType(
            {domain: replace(host, c2s=limits) if host.c2s == HostC2S() else host for domain, host in hosts.items()}
        ),
    )


class Running:
    """A server in this process; `url` is its endpoint on the first listener."""

    def __init__(self, server: Server) -> None:
        self.server = server
        where = server.addresses[0]
        self.http = f"http://{where.host or 'localhost'}:{where.port}"
        self.url = self.http.replace("http", "ws", 1) + "/xmpp-websocket"
        self.port = where.port


@asynccontextmanager
async def running(settings: Config | None = None, *, new_accounts: bool = True) -> AsyncIterator[Running]:
    """Run a server in this process, with the accounts of `PASSWORDS` on every local host that keeps accounts."""
    server = Server(settings or config())
    await server.start()
    try:
        for host in server.hosts.values() if new_accounts else ():
            await _add_all(host)
        yield Running(server)
    finally:
        await server.stop()


# What the server keeps of `PASSWORDS`. Deriving keys is slow by design, and every test needs the same ones.
_made: dict[str, Account] = {}


async def _add_all(host: LocalHost) -> None:
    kept = host.stores.keyvalue("accounts", Account)
    for provider in host.providers:
        if isinstance(provider, Accounts):
            if _made:
                await kept.add_many(_made)
                await provider.refresh()
            else:
                await provider.create_many(PASSWORDS)
                _made.update({name: account for name in PASSWORDS if (account := await kept.get(name)) is not None})


class Program:
    """`xmppws serve` as a process of its own. `lines` is what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.port = 0
        self._grown = asyncio.Event()
        self._reader = asyncio.ensure_future(self._read())

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/xmpp-websocket"

    async def logged(self, pattern: str, timeout: float = 20) -> re.Match[str]:
        """Wait until a line of the log matches."""
        async with asyncio.timeout(timeout):
            while True:
                self._grown.clear()
                for line in self.lines:
                    if match := re.search(pattern, line):
                        return match
                await self._grown.wait()

    async def stop(self, signum: int = signal.SIGTERM) -> int:
        """End the process and return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signum)
        code = await self.process.wait()
        await self._reader
        return code

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip("\n"))
            self._grown.set()


@asynccontextmanager
async def program(file: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """Run `xmppws serve -c FILE` until the block ends. The file listens on 127.0.0.1:0 or a unix socket."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "xmppws", "serve", "-c", str(file), env=environment, stderr=asyncio.subprocess.PIPE
    )
    started = Program(process)
    try:
        where = await started.logged(r"listens on (\S+?),")
        started.port = int(where[1].rpartition(":")[2]) if not where[1].startswith("unix:") else 0
        yield started
    finally:
        await started.stop()


async def add_accounts(file: Path, environment: Mapping[str, str] | None = None) -> None:
    """Add the accounts of `PASSWORDS` with the command line."""
    accounts = file.with_suffix(".accounts")
    accounts.write_text("".join(f"{name}@localhost {password}\n" for name, password in PASSWORDS.items()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xmppws", "user", "add", "-c", str(file), "--file", str(accounts)), env=environment
    )
    assert await process.wait() == 0
