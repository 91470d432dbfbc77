"""Listening sockets: TCP, Unix, or handed over by systemd, each said in the words of the configuration."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

from xmppws.config import Address
from xmppws.http import unix_socket
from xmppws.http.systemd import Inherited

log = logging.getLogger("xmppws.listeners")

DEFAULT_MODE: Final = 0o660
_BACKLOG: Final = 1024


class ListenError(Exception):
    """The server cannot listen; the text is for the sysadmin."""


class Sockets:
    """All that a server listens on. `inherited` are the sockets that systemd handed over."""

    def __init__(self, inherited: Inherited) -> None:
        self._inherited = inherited
        self._used: set[str] = set()
        self._stack = ExitStack()

    async def listen(
        self,
        option: str,
        where: Address,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        mode: int = DEFAULT_MODE,
        **tls: Any,
    ) -> list[Address]:
        """Listen, and return the addresses, with the ports that port 0 became.

        `option` is where the configuration asks for it, `mode` that of a Unix socket, `tls` what `create_server` has
        for it. Raises `ListenError`; what is open by then is for `close` to close.
        """
        found: dict[Address, None] = {}
        try:
            async for server in self._servers(option, where, factory, mode, {"backlog": _BACKLOG, **tls}):
                self._stack.callback(server.close)
                found |= dict.fromkeys(_addresses(server, where))
        except OSError as error:
            raise ListenError(f"{option}: cannot listen on {where}: {_reason(error)}") from None
        return list(found)

    def close(self) -> None:
        """Listen no more."""
        self._stack.close()

    def warn_of_unused(self) -> None:
        """Log which sockets were handed over for nothing: whoever connects to them waits forever."""
        for name in sorted(self._inherited.keys() - self._used):
            log.warning('systemd handed over the socket %s, but no address is "systemd:%s"', name, name)

    async def _servers(
        self,
        option: str,
        where: Address,
        factory: Callable[[], asyncio.BaseProtocol],
        mode: int,
        options: dict[str, Any],
    ) -> AsyncIterator[asyncio.Server]:
        loop = asyncio.get_running_loop()
        if where.name:
            for sock in self._handed_over(option, where.name):
                create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
                yield await create(factory, sock=sock, **options)
        elif where.path:
            sock, remove = unix_socket.bind(where.path, mode)
            self._stack.callback(remove)
            yield await loop.create_unix_server(factory, sock=sock, **options)
        else:
            # An IPv6 socket takes no IPv4 connections: asyncio sets IPV6_V6ONLY.
            yield await loop.create_server(factory, where.host, where.port, **options)

    def _handed_over(self, option: str, name: str) -> tuple[socket.socket, ...]:
        if name not in self._inherited:
            others = ", ".join(sorted(self._inherited)) or "none"
            raise ListenError(f"{option}: systemd handed over no socket {name!r}; those it did: {others}")
        self._used.add(name)
        return self._inherited[name]


def _addresses(server: asyncio.Server, asked: Address) -> Iterator[Address]:
    for sock in server.sockets:
        name = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            yield Address(path=asked.path or os.fsdecode(name))
        else:
            yield Address(asked.host or name[0], name[1])


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program is listening there"
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)
