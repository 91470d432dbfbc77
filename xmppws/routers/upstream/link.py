"""One connection to an upstream server: its bytes in, elements out, and the other way.

| phase  | what arrives goes to                                                 |
|--------|----------------------------------------------------------------------|
| AWAITS | who awaits `next`: a header, features, `<proceed/>`, one at a time   |
| FLOWS  | the `Sink`: all elements of a read at once                           |
| OVER   | nobody                                                               |
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol, cast

from xmppws.errors import StreamError
from xmppws.routers.upstream.errors import UpstreamError
from xmppws.stream.tcp_check import Checks
from xmppws.stream.tcp_reader import Closed, Event, Reader
from xmppws.xml import ns

# Options of TCP, in seconds and milliseconds: a server that acknowledges nothing for a minute is gone (RFC 5482), and
# so is one that is idle and answers no probe. Other systems than Linux have not all of them.
_KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": 60,
        "TCP_KEEPINTVL": 15,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": 60_000,
    }.items()
    if hasattr(socket, name)
}


class Phase(Enum):
    AWAITS = "awaits"
    FLOWS = "flows"
    OVER = "over"


class Sink(Protocol):
    """Takes what an established stream brings."""

    def arrived(self, elements: Sequence[bytes]) -> None:
        """Take elements, each one a message of RFC 7395."""

    def lost(self, error: UpstreamError | StreamError | None) -> None:
        """Learn, once, that the connection is over: None after `</stream:stream>`."""

    def accepts(self, ready: bool) -> None:
        """Learn that the server reads too slowly (False) or has caught up (True)."""


class Link(asyncio.Protocol):
    """The protocol of one connection. `sink` is set when it is handed over."""

    __slots__ = ("_arrived", "_awaited", "_error", "_phase", "_reader", "_sink", "_transport")

    def __init__(self, max_size: int, checks: Checks) -> None:
        self._reader = Reader(ns.CLIENT, max_size, checks)
        self._phase = Phase.AWAITS
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        # While somebody awaits events one by one.
        self._arrived: deque[Event] = deque()
        self._awaited: asyncio.Future[None] | None = None
        self._error: UpstreamError | StreamError | None = None

    # --- What the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, or the one that takes its place with TLS."""
        self._transport = cast(asyncio.Transport, transport)
        found = transport.get_extra_info("socket")
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                found.setsockopt(socket.IPPROTO_TCP, option, value)

    def data_received(self, data: bytes) -> None:
        """Read elements."""
        reader = self._reader
        reader.feed(data)
        elements: list[bytes] = []
        try:
            while (event := reader.next()) is not None:
                if self._phase is Phase.FLOWS and isinstance(event, bytes):
                    elements.append(event)
                else:
                    self._take(event)
        except StreamError as error:
            self._deliver(elements)
            self._fail(error)
            return
        self._deliver(elements)
        if self._phase is Phase.OVER:
            self._end(None)

    def eof_received(self) -> bool | None:
        """Learn that the server sends no more."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the connection is gone."""
        self._transport = None
        why = "" if exc is None else f": {exc}"
        self._fail(UpstreamError(f"it closed the connection{why}"))

    def pause_writing(self) -> None:
        """Learn that the server reads too slowly."""
        if self._sink is not None:
            self._sink.accepts(False)

    def resume_writing(self) -> None:
        """Learn that it has caught up."""
        if self._sink is not None:
            self._sink.accepts(True)

    # --- What its owner calls ---

    @property
    def transport(self) -> asyncio.Transport:
        """The transport. Raises `UpstreamError` when it is gone."""
        if self._transport is None:
            raise self._error if isinstance(self._error, UpstreamError) else UpstreamError("it closed the connection")
        return self._transport

    @property
    def buffered(self) -> int:
        """How many bytes have come that nobody has taken."""
        return self._reader.buffered + len(self._arrived)

    async def next(self) -> Event:
        """Return the next event. Raises `UpstreamError` or `StreamError` when there is none any more."""
        while not self._arrived:
            if self._error is not None:
                raise self._error
            self._awaited = asyncio.get_running_loop().create_future()
            await self._awaited
        return self._arrived.popleft()

    def flow(self, sink: Sink) -> None:
        """Hand all that comes from now on to a sink, and what has come unasked."""
        self._phase = Phase.FLOWS
        self._sink = sink
        early = [event for event in self._arrived if isinstance(event, bytes)]
        self._arrived.clear()
        self._deliver(early)
        if self._error is not None:
            self._end(self._error)

    def restart(self) -> None:
        """Await a fresh header, and what follows it, one by one."""
        self._reader.restart()
        if self._phase is Phase.FLOWS:
            self._phase = Phase.AWAITS

    def send(self, data: bytes) -> None:
        """Send bytes. Does nothing on a connection that is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def pause(self, ready: bool) -> None:
        """Stop reading from the server (False), or read again (True)."""
        if self._transport is not None:
            if ready:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def close(self) -> None:
        """Let what was sent reach the server, then end the connection. The sink hears no more."""
        self._sink = None
        self._phase = Phase.OVER
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once. The sink hears no more."""
        self._sink = None
        self._phase = Phase.OVER
        if self._transport is not None:
            self._transport.abort()

    def _take(self, event: Event) -> None:
        if self._phase is Phase.OVER:
            return
        if isinstance(event, Closed) and self._phase is Phase.FLOWS:
            self._phase = Phase.OVER
            return
        self._arrived.append(event)
        self._wake()

    def _wake(self) -> None:
        if self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            if not awaited.done():
                awaited.set_result(None)

    def _deliver(self, elements: list[bytes]) -> None:
        if elements and self._sink is not None:
            self._sink.arrived(elements)

    def _fail(self, error: UpstreamError | StreamError) -> None:
        self._error = self._error or error
        self._wake()
        if self._phase is Phase.FLOWS:
            self._end(error)

    def _end(self, error: UpstreamError | StreamError | None) -> None:
        sink, self._sink = self._sink, None
        self._phase = Phase.OVER
        if self._transport is not None:
            self._transport.close()
        if sink is not None:
            sink.lost(error)
