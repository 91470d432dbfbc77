"""Take a connection over from aiohttp once it is a WebSocket.

A connection that stays with aiohttp costs 14 to 16 KiB for as long as it is open: the request, its task, parser and
writer are all held. Handing the transport to one small protocol of ours frees all of that. Only public names of aiohttp
are used, and `self_test` proves at start that they still do what this needs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import __version__, web
from aiohttp.abc import AbstractStreamWriter

from xmppws.http.accepted import Accepted


class HandoffError(Exception):
    """The installed aiohttp does not work with this hand-off."""


class _Tail:
    """Collects what arrives behind the request head, in aiohttp's role of a parser."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


class _HandedOver(web.StreamResponse):
    """Tells aiohttp that the response is done, and writes nothing."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def is_gone(request: web.Request) -> bool:
    """Tell whether the peer has left while its request was waiting: there is nothing to hand over then."""
    return request.transport is None or request.transport.is_closing()


def hand_over(request: web.Request, head: bytes, protocol: asyncio.Protocol) -> web.StreamResponse:
    """Write the response head and give the transport to `protocol`, with what has arrived already.

    Return what the request handler must return. The peer must not be gone, see `is_gone`.
    """
    transport, old = request.transport, request.protocol
    assert transport is not None
    # Drains the bytes behind the head, and ends the pause of reading that aiohttp makes when there are many.
    tail = _Tail()
    old.set_parser(tail)  # type: ignore[arg-type]  # Its two methods are all that is called.
    # From here to the end nothing may wait: no byte may arrive between two owners.
    transport.write(head)
    before = transport.get_protocol()
    if isinstance(before, Accepted):
        before.handed_over()
    old.transport = None
    transport.set_protocol(protocol)
    old.connection_lost(None)
    protocol.connection_made(transport)
    if tail.data:
        protocol.data_received(tail.data)
    return _HandedOver()


class _Recorder(asyncio.Transport):
    """A transport that goes nowhere and remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = b""
        self.protocol: asyncio.BaseProtocol | None = None
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self.protocol is not None
        return self.protocol

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class _Receiver(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


async def self_test() -> None:
    """Hand over one made-up connection.

    Raises `HandoffError`, naming aiohttp's version, unless every step had its effect.
    """
    receiver, transport = _Receiver(), _Recorder()

    async def handler(request: web.Request) -> web.StreamResponse:
        return hand_over(request, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", receiver)

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        server = runner.server
        assert server is not None
        first = server()
        transport.set_protocol(first)
        first.connection_made(transport)
        first.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\ntail")
        for _ in range(10):
            await asyncio.sleep(0)
        written = transport.written
        _check("the response", written.startswith(b"HTTP/1.1 101 ") and written.count(b"HTTP/1.1") == 1)
        _check("the transport", transport.protocol is receiver and not transport.closed and transport.reading)
        _check("the bytes behind the request", receiver.received == b"tail")
        _check("the old owner", not server.connections)
    finally:
        await runner.cleanup()


def _check(what: str, right: bool) -> None:
    if not right:
        raise HandoffError(f"aiohttp {__version__} does not hand over {what}; install a version that setup.cfg allows")
