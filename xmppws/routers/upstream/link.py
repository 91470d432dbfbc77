"""One connection to an upstream server: its bytes in, elements out, and the other way.

| phase  | what arrives goes to                                                 |
|--------|----------------------------------------------------------------------|
| AWAITS | who awaits `next`: a header, features, `<proceed/>`, one at a time   |
| FLOWS  | the `Sink`: the elements of a read, many at once                     |
| OVER   | nobody                                                               |

A read may bring ten thousand elements. Only some are handled at a time: then others have their turn, and nothing more
is read meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol, cast

from xmppws.core.tcp import keep_alive
from xmppws.errors import StreamError
from xmppws.routers.upstream.errors import UpstreamError
from xmppws.stream.tcp_check import Checks
from xmppws.stream.tcp_reader import Closed, Event, Reader
from xmppws.xml import ns

# Elements of one connection that are handled before others have their turn.
_AT_ONCE: Final = 64
# Seconds for which what was sent may be on its way to a server that reads nothing.
_LINGER: Final = 5.0


class Phase(Enum):
    AWAITS = "awaits"
    FLOWS = "flows"
    OVER = "over"


class Sink(Protocol):
    """Takes what an established stream brings."""

    def stanza(self, stanza: bytes) -> None:
        """Take a stanza that came alone."""

    def arrived(self, elements: Sequence[bytes]) -> None:
        """Take elements, each one a message of RFC 7395."""

    def lost(self, error: UpstreamError | StreamError | None) -> None:
        """Learn, once, that the connection is over: None after `</stream:stream>`."""

    def accepts(self, ready: bool) -> None:
        """Learn that the server reads too slowly (False) or has caught up (True)."""


class Link(asyncio.Protocol):
    """The protocol of one connection. `sink` is set when it is handed over."""

    __slots__ = (
        "_arrived",
        "_awaited",
        "_error",
        "_is_behind",
        "_is_stopped",
        "_later",
        "_phase",
        "_reader",
        "_sink",
        "_transport",
        "_turn",
    )

    def __init__(self, max_size: int, checks: Checks) -> None:
        self._reader = Reader(ns.CLIENT, max_size, checks)
        self._phase = Phase.AWAITS
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        # While somebody awaits events one by one, a few. An empty deque would keep ten times the memory of a list.
        self._arrived: list[Event] = []
        self._awaited: asyncio.Future[None] | None = None
        self._error: UpstreamError | StreamError | None = None
        # Whether the reader holds events that wait for their turn; what has come behind them; when the turn is.
        self._is_behind = False
        self._later = b""
        self._turn: asyncio.Handle | None = None
        # Whether the owner wants nothing more for now.
        self._is_stopped = False

    # --- What the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, or the one that takes its place with TLS."""
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        """Read elements."""
        if (
            self._phase is Phase.FLOWS
            and not self._is_behind
            and self._sink is not None
            and (stanza := self._reader.whole(data)) is not None
        ):
            self._sink.stanza(stanza)
            return
        if self._phase is Phase.OVER:
            return
        if self._is_behind:
            # The transport had it already when it was told to stop.
            self._later += data
            return
        self._reader.feed(data)
        if self._read():
            self._control_reading()
            self._take_turns()

    def eof_received(self) -> bool | None:
        """Learn that the server sends no more."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the connection is gone. What was received before is still handed on."""
        self._transport = None
        while self._is_behind and self._phase is not Phase.OVER:
            self._read()
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
        return self._reader.buffered + len(self._arrived) + len(self._later)

    async def next(self) -> Event:
        """Return the next event. Raises `UpstreamError` or `StreamError` when there is none any more."""
        while not self._arrived:
            if self._error is not None:
                raise self._error
            self._awaited = asyncio.get_running_loop().create_future()
            await self._awaited
        return self._arrived.pop(0)

    def flow(self, sink: Sink) -> None:
        """Hand all that comes from now on to a sink, and what has come unasked."""
        self._phase = Phase.FLOWS
        self._sink = sink
        early = [event for event in self._arrived if isinstance(event, bytes)]
        is_closed = any(isinstance(event, Closed) for event in self._arrived)
        self._arrived.clear()
        if early:
            sink.arrived(early)
        if is_closed or self._error is not None:
            self._end(None if is_closed else self._error)

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
        self._is_stopped = not ready
        self._control_reading()
        if self._is_behind:
            self._take_turns()

    def close(self) -> None:
        """Let what was sent reach the server, then end the connection. The sink hears no more."""
        self._sink = None
        self._phase = Phase.OVER
        self._close()

    def abort(self) -> None:
        """End the connection at once. The sink hears no more."""
        self._sink = None
        self._phase = Phase.OVER
        if self._transport is not None:
            self._transport.abort()

    def _read(self) -> bool:
        """Read some elements, and return whether there may be more."""
        elements: list[bytes] = []
        error: StreamError | None = None
        try:
            self._is_behind = self._read_into(elements)
        except StreamError as found:
            self._is_behind, error = False, found
        if elements and self._sink is not None:
            self._sink.arrived(elements)
        if error is not None:
            self._fail(error)
        elif self._phase is Phase.OVER:
            self._end(None)
        return self._is_behind

    def _read_into(self, elements: list[bytes]) -> bool:
        reader = self._reader
        for _ in range(_AT_ONCE):
            if (event := reader.next()) is None:
                later, self._later = self._later, b""
                reader.feed(later)
                return bool(later)
            if self._phase is Phase.FLOWS and isinstance(event, bytes):
                elements.append(event)
            else:
                self._take(event)
        return True

    def _take_turns(self) -> None:
        if self._turn is None and not self._is_stopped:
            self._turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._phase is Phase.OVER or self._is_stopped:
            return
        if self._read():
            self._take_turns()
        else:
            self._control_reading()

    def _control_reading(self) -> None:
        if self._transport is not None and self._phase is not Phase.OVER:
            if self._is_stopped or self._is_behind:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

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

    def _fail(self, error: UpstreamError | StreamError) -> None:
        self._error = self._error or error
        self._wake()
        if self._phase is Phase.FLOWS:
            self._end(error)

    def _end(self, error: UpstreamError | StreamError | None) -> None:
        sink, self._sink = self._sink, None
        self._phase = Phase.OVER
        self._close()
        if sink is not None:
            sink.lost(error)

    def _close(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            # What waits there would be waited for as long as the server likes.
            if transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(_LINGER, transport.abort)
            transport.close()
