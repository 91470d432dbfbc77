"""The servers that are compared, each started alike: an empty directory and accounts in, a `Peer` out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench import crowds
from bench.measure import Needs
from peers import Peer, ejabberd, prosody
from servers import Program, program
from xmppws import __version__

FILE: Final = """
data_dir = "{directory}"
admin_socket = ""
metrics.listen = []
modules_disabled = {disabled}
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[hosts."localhost"]
http_host = ["127.0.0.1"]
"""

Start = Callable[[Path, Mapping[str, str]], AbstractAsyncContextManager[Peer]]


@asynccontextmanager
async def xmppws(directory: Path, accounts: Mapping[str, str], *, archives: bool = False) -> AsyncIterator[Peer]:
    """Run this server as its users do, with archives if the others have them, and with the defaults in all else."""
    file = _file(directory, disabled=[] if archives else ["mam"])
    listed = directory / "accounts"
    listed.write_text("".join(f"{name}@localhost {password}\n" for name, password in accounts.items()))
    command = (sys.executable, "-m", "xmppws", "user", "add", "-c", str(file), "--file", str(listed))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    if status := await process.wait():
        raise RuntimeError(f"xmppws user add ended with {status}")
    async with program(file) as server:
        yield _peer(server)


@asynccontextmanager
async def xmppws_with_pages(directory: Path, accounts: Mapping[str, str]) -> AsyncIterator[Peer]:
    """Run this server with the module for pages, whose tokens make the accounts."""
    async with program(_file(directory, ["mam"], crowds.SETTINGS)) as server:
        yield _peer(server)


def _file(directory: Path, disabled: list[str], of_host: str = "") -> Path:
    file = directory / "xmppws.toml"
    file.write_text(FILE.format(directory=directory, disabled=disabled) + of_host, encoding="utf-8")
    return file


def _peer(server: Program) -> Peer:
    return Peer("xmppws", __version__, server.process.pid, server.port, c2s_port=0)


OURS: Final = "xmppws"
SERVERS: Final[Mapping[Needs, Mapping[str, Start]]] = {
    Needs.ACCOUNTS: {OURS: xmppws, "prosody": prosody, "ejabberd": ejabberd},
    Needs.ARCHIVES: {
        OURS: partial(xmppws, archives=True),
        "prosody": partial(prosody, archives=True),
        "ejabberd": partial(ejabberd, archives=True),
    },
    Needs.PAGES: {OURS: xmppws_with_pages},
}
