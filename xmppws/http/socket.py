"""One WebSocket: frames in, frames out, keep-alive, and the closing handshake.

Theory of operation. A socket is a protocol on a transport, without task, timer, queue or lock of its own. What the
transport gives is fed to the frame reader, and each message is handed to `message`. When that has to wait, further
messages stay in the reader until it is done, so that one socket keeps one order. Subclasses say what a message means.

| state   | meaning                                                 | ends by                             |
|---------|---------------------------------------------------------|-------------------------------------|
| OPEN    | messages pass                                           | whatever the subclass finds due     |
| CLOSING | our close frame was sent; what arrives is dropped       | the client's close frame, deadline  |
| CLOSED  | the transport is gone                                   |                                     |
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final, cast

from xmppws.core.admin import ConnectionFacts
from xmppws.core.limits import Allowance
from xmppws.errors import (
    ConnectionTimeout,
    End,
    Reason,
    Side,
    StreamError,
    StreamInternalServerError,
    StreamResourceConstraint,
)
from xmppws.http.proxies import Client
from xmppws.stream.frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    close_frame,
    control_frame,
    read_close,
)
from xmppws.stream.keepalive import Due, KeepAlive

if TYPE_CHECKING:
    from xmppws.http.endpoint import Endpoint

log = logging.getLogger("xmppws.connection")

_MAX_HELD: Final = 64 * 1024
# Frames of one socket that are handled before others have their turn: a read may bring ten thousands.
_FRAMES_AT_ONCE: Final = 64
_NO_STATUS: Final = 1005


class State(Enum):
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Hold(IntEnum):
    """Why nothing is read: bits, because reasons overlap."""

    WAIT = 1
    """A message is handled that has to wait for something."""
    HANDLER = 2
    """The handler asked for it."""
    TURN = 4
    """Other sockets have their turn."""
    PACE = 8
    """The client has sent more than it may in a second."""


class _Refill:
    """Asks, when a second has passed, whether a socket may go on."""

    __slots__ = ("_refill", "due")

    def __init__(self, refill: Callable[[float], float | None]) -> None:
        self._refill = refill
        self.due = 0

    def check(self, now: float) -> float | None:
        return self._refill(now)


class WebSocket(asyncio.Protocol, ABC):
    """A client's WebSocket.

    `ended` is how it ended, or None; `name` is who logged in, or ""; `occupies` is the virtual host that it counts to,
    or "" while that is not known.
    """

    __slots__ = (
        "_allowance",
        "_allowances",
        "_bytes",
        "_deadline",
        "_endpoint",
        "_filled",
        "_frames",
        "_held",
        "_lost",
        "_reader",
        "_since",
        "_stalled",
        "_state",
        "_transport",
        "address",
        "due",
        "ended",
        "id",
        "keepalive",
        "name",
        "network",
        "occupies",
        "secure",
    )

    def __init__(
        self, endpoint: Endpoint, client: Client, id: str, *, occupies: str, limit: int, deadline: float
    ) -> None:
        now = endpoint.deadlines.now
        self._endpoint = endpoint
        self.id = id
        self.address = client.address
        self.network = client.network
        self.secure = client.secure
        self.occupies = occupies
        self.name = ""
        self.due = 0
        self.keepalive = KeepAlive(now)
        self.ended: End | None = None
        self._since = self._filled = now
        self._allowances = endpoint.paces.allowances(client)
        self._allow(self._allowances.stranger)
        self._deadline = deadline
        self._held = 0
        self._lost: End | None = None
        self._stalled: float | None = None
        self._state = State.OPEN
        self._reader = FrameReader(limit, endpoint.unmask)
        self._transport: asyncio.Transport | None = None

    @property
    def stage(self) -> str:
        """How far the connection has come, for the metrics."""
        return self._state.value

    @property
    def host(self) -> str:
        """The virtual host, or "" where it is not known yet."""
        return ""

    def facts(self) -> ConnectionFacts:
        """Return what there is to know of the connection now."""
        now, keepalive = self._endpoint.deadlines.clock(), self.keepalive
        return ConnectionFacts(
            id=self.id,
            host=self.host,
            user=self.name,
            state=self.stage,
            address=self.address,
            secure=self.secure,
            lasted=now - self._since,
            idle=now - keepalive.received,
            round_trip=keepalive.round_trip,
            queue_bytes=self.waiting,
        )

    @property
    def waiting(self) -> int:
        """How many bytes the client has yet to take."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def count_login(self) -> float:
        """Count an attempt to log in: 0, or after how many seconds the client's address may make another."""
        return self._endpoint.paces.logins.take(self.network) if self._allowances.limited else 0.0

    # --- what subclasses say ---

    @abstractmethod
    def message(self, payload: bytes) -> Awaitable[None] | None:
        """Take a text message. A `StreamError` raised or awaited is handed to `fail`."""

    @abstractmethod
    def fail(self, error: StreamError) -> None:
        """End the socket because of an error, telling the client as its protocol has it."""

    @abstractmethod
    def check_open(self, now: float) -> float | None:
        """Do what is due on an open socket, and return when to be asked again, or None for never."""

    @abstractmethod
    def writable(self, ready: bool) -> None:
        """Learn that the client reads too slowly (False) or has caught up (True)."""

    @abstractmethod
    def over(self, end: End) -> None:
        """Learn, once, how the socket ended. Nothing can be sent any more."""

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over."""
        self._transport = cast(asyncio.Transport, transport)
        self._endpoint.add(self, self._deadline)

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        now = self._endpoint.deadlines.now
        self.keepalive.received = now
        if now != self._filled:
            self._fill(now)
        self._bytes -= len(data)
        if not self._held and (message := self._reader.whole(data)) is not None:
            try:
                self._take(message)
            except Exception as error:
                self._failed(error)
            if self._frames < 0 or self._bytes < 0:
                self._slow_down()
            return
        self._reader.feed(data)
        if not self._held:
            self._read()
        elif self._reader.buffered > _MAX_HELD and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool | None:
        """Learn that the client sends no more: without a close frame that is the end."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the transport is gone. What was received before is still handled."""
        self._transport = None
        self._lost = End(Reason.CONNECTION_LOST, Side.NETWORK, "" if exc is None else type(exc).__name__)
        self._release(Hold.HANDLER)

    def pause_writing(self) -> None:
        """Learn that the client reads more slowly than it is written to."""
        self._stalled = self._endpoint.deadlines.now
        self.writable(False)

    def resume_writing(self) -> None:
        """Learn that the client has caught up."""
        self._stalled = None
        self.writable(True)

    # --- what the sweep calls ---

    def check(self, now: float) -> float | None:
        """Do what is due."""
        if self._state is State.OPEN:
            return self.check_open(now)
        if now < self._deadline:
            return self._deadline
        self.abort()
        return None

    def check_alive(self, now: float) -> float | None:
        """Ping and probe a client that has logged in, or end what does not answer."""
        intervals = self._endpoint.intervals
        if self._stalled is not None:
            # Nothing is read from a client that does not read, so pongs show nothing.
            until = self._stalled + intervals.ping_interval + intervals.pong_timeout
            if now < until:
                return until
            self.fail(StreamResourceConstraint("Too little of what was sent was read"))
            return None
        if self._held:
            return now + intervals.ping_interval
        due = self.keepalive.check(now, intervals)
        if due is Due.PING:
            self.write(control_frame(PING))
        elif due is Due.PROBE:
            self.probe()
        elif due is Due.PONG_TIMEOUT:
            self.fail(ConnectionTimeout("A WebSocket ping was not answered", Reason.PONG_TIMEOUT))
            return None
        elif due is Due.READ_TIMEOUT:
            self.fail(ConnectionTimeout("An XMPP ping was not answered", Reason.READ_TIMEOUT))
            return None
        return self.keepalive.next(intervals)

    @abstractmethod
    def probe(self) -> None:
        """Ask the client for a message: it has sent none for long."""

    # --- reading ---

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        if self._lost is not None:
            # No more will come: what is left is handled, so that the end can be.
            return
        self._held |= Hold.HANDLER
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        self._release(Hold.HANDLER)

    def _read(self) -> None:
        left = _FRAMES_AT_ONCE
        try:
            while not self._held and (frame := self._reader.next()) is not None:
                left -= 1
                if self._frames < 1 or self._bytes < 0:
                    self._slow_down()
                if not left:
                    self._held |= Hold.TURN
                    asyncio.get_running_loop().call_soon(self._release, Hold.TURN)
                opcode, payload = frame
                if opcode == TEXT:
                    self._take(payload)
                else:
                    self._frames -= 1
                    self._control(opcode, payload)
        except FrameError as error:
            self.broken(error)
        except Exception as error:
            self._failed(error)

    def _take(self, payload: bytes) -> None:
        self._frames -= 1
        if self._state is State.OPEN:
            pending = self.message(payload)
            if pending is not None:
                self.wait_for(pending)

    def wait_for(self, pending: Awaitable[None]) -> None:
        """Handle no further message until something is done. A `StreamError` that it raises is handed to `fail`."""
        self._held |= Hold.WAIT
        asyncio.ensure_future(pending).add_done_callback(self._waited)

    def _allow(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._frames = allowance.frames * allowance.burst
        self._bytes = allowance.bytes * allowance.burst

    def _slow_down(self) -> None:
        # Nothing is dropped: what the client sends waits in its own socket.
        if self._held & Hold.PACE:
            return
        self._held |= Hold.PACE
        if self._transport is not None:
            self._transport.pause_reading()
        self._endpoint.slowed_down(self)
        self._endpoint.deadlines.add(_Refill(self._go_on), self._endpoint.deadlines.now + 1)

    def _go_on(self, now: float) -> float | None:
        self._fill(now)
        if self._transport is not None and (self._frames < 1 or self._bytes < 0):
            return now + 1
        self._release(Hold.PACE)
        return None

    def _fill(self, now: float) -> None:
        allowance, seconds = self._allowance, now - self._filled
        self._filled = now
        self._frames = min(self._frames + seconds * allowance.frames, allowance.frames * allowance.burst)
        self._bytes = min(self._bytes + seconds * allowance.bytes, allowance.bytes * allowance.burst)

    def _waited(self, task: asyncio.Future[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
        self._release(Hold.WAIT)

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, StreamError):
            log.error("id=%s: a message could not be handled", self.id, exc_info=error, extra={"id": self.id})
            error = StreamInternalServerError("The server made a mistake")
        self.fail(error)

    def _release(self, hold: Hold) -> None:
        self._held &= ~hold
        if not self._held:
            self._read()
        self._settle()

    def _settle(self) -> None:
        """When nothing is left to wait for, go on reading, or end what has lost its transport."""
        if self._held:
            return
        if self._lost is not None:
            lost, self._lost = self._lost, None
            self._state = State.CLOSED
            self.end_with(lost)
            self._endpoint.remove(self)
        elif self._transport is not None:
            self._transport.resume_reading()

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.write(control_frame(PONG, payload))
        elif opcode == PONG:
            round_trip = self.keepalive.ponged(self._endpoint.deadlines.clock())
            if round_trip is not None:
                self._endpoint.round_trips[self.host].observe(round_trip)
        elif opcode == CLOSE:
            code, reason = read_close(payload)
            self.end_with(End(Reason.CLIENT_GONE, Side.CLIENT, f"{code} {reason}".strip()))
            # RFC 6455 section 5.5.1: a close is answered with the same code, unless it is itself the answer.
            self.write(close_frame(1000 if code == _NO_STATUS else code))
            self._state = State.CLOSING
            if self._transport is not None:
                self._transport.close()

    # --- writing and ending ---

    def write(self, frames: bytes) -> None:
        """Write frames, unless the closing handshake has begun."""
        transport = self._transport
        if transport is None or self._state is not State.OPEN:
            return
        self.keepalive.sent = self._endpoint.deadlines.now
        transport.write(frames)
        if self._stalled is not None and transport.get_write_buffer_size() > self._endpoint.limits.max_send_buffer:
            self.end_with(StreamResourceConstraint().end)
            self._state = State.CLOSED
            transport.abort()

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; the transport is dropped if it is not finished in time."""
        self.write(close_frame(code, reason))
        self._state = State.CLOSING
        self.due_in(self._endpoint.limits.close_timeout)

    def broken(self, error: FrameError) -> None:
        """Fail the connection (RFC 6455 section 7.1.7): what follows a broken frame cannot be read."""
        # In every state, or what follows would be kept.
        self._reader.stop()
        if self._state is not State.OPEN:
            return
        self.end_with(End(error.reason, Side.SERVER, f"{error.reason.id}: {error}"))
        self.close(error.reason.code, f"{error.reason.id}: {error}")
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def abort(self) -> None:
        """Drop the transport at once."""
        if self._transport is not None:
            self._transport.abort()

    def due_in(self, seconds: float) -> None:
        """Set the deadline, and have it checked."""
        self._deadline = self._endpoint.deadlines.now + seconds
        self._endpoint.deadlines.move(self, self._deadline)

    def end_with(self, end: End) -> None:
        """Note, once, how the socket ended, and tell the log and the subclass."""
        if self.ended is None:
            self.ended = end
            self._endpoint.over(self, end, self._endpoint.deadlines.now - self._since)
            try:
                self.over(end)
            except Exception:
                # Whoever looks after the socket must not be kept from it.
                log.exception("id=%s: the end could not be handled", self.id, extra={"id": self.id})
