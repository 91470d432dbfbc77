"""One WebSocket: frames in, frames out, and the end of it.

Theory of operation. A connection is a protocol on a transport, without task, timer, queue or lock of its own. What the
socket gives is fed to the frame reader; each message is parsed and handed to the framing machine, then to the router's
handler. When a handler has to wait, messages stay in the reader until it is done, so that one stream keeps one order.
`endpoint` holds what all connections share.

| phase       | meaning                                                                        | ends by               |
|-------------|--------------------------------------------------------------------------------|-----------------------|
| NEW         | nothing of XMPP has arrived                                                    | handshake_timeout     |
| STRANGER    | the stream was opened, nobody has logged in                                    | auth_timeout          |
| ESTABLISHED | somebody has logged in                                                         | pings and probes      |
| ENDING      | our `<close/>` was sent, the client's is awaited                               | close_timeout         |
| CLOSING     | our close frame was sent; what arrives is dropped                              | close_timeout         |
| CLOSED      | the socket is gone                                                             |                       |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from enum import IntEnum
from typing import TYPE_CHECKING, Final, cast

from xmppws.core.router import Handler, Request
from xmppws.errors import (
    ConnectionTimeout,
    End,
    HostUnknown,
    Reason,
    Side,
    StreamError,
    StreamInternalServerError,
    StreamPolicyViolation,
    StreamResourceConstraint,
)
from xmppws.http.proxies import Client
from xmppws.http.vhosts import Candidates
from xmppws.stream import framing
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
    text_frame,
)
from xmppws.stream.framing import Framing, Open
from xmppws.stream.keepalive import Due, KeepAlive
from xmppws.xml.parser import Parser

if TYPE_CHECKING:
    from xmppws.http.endpoint import Endpoint

log = logging.getLogger("xmppws.connection")

_MAX_HELD: Final = 64 * 1024
_NOT_SECURE: Final = (
    "This stream is not secure. Use wss; behind a proxy that ends TLS, list the proxy in http.trusted_proxies "
    "and let it set X-Forwarded-Proto, or set http.consider_websocket_secure"
)


class Phase(IntEnum):
    NEW = 1
    STRANGER = 2
    ESTABLISHED = 3
    ENDING = 4
    CLOSING = 5
    CLOSED = 6


class Hold(IntEnum):
    """Why nothing is read: bits, because reasons overlap."""

    WAIT = 1
    HANDLER = 2


class Connection(asyncio.Protocol):
    """A client's WebSocket, and the `Stream` that its handler sees."""

    __slots__ = (
        "_candidates",
        "_deadline",
        "_domain",
        "_endpoint",
        "_framing",
        "_handler",
        "_held",
        "_lost",
        "_parser",
        "_phase",
        "_reader",
        "_request",
        "_since",
        "_stalled",
        "_transport",
        "address",
        "due",
        "end_of_stream",
        "id",
        "keepalive",
        "name",
        "secure",
    )

    def __init__(self, endpoint: Endpoint, client: Client, candidates: Candidates, request: Request, id: str) -> None:
        now = endpoint.deadlines.now
        self._endpoint = endpoint
        self._candidates: Candidates | None = candidates
        self._request: Request | None = request
        self.id = id
        self.address = client.address
        self.secure = client.secure
        self.name = ""
        self.due = 0
        self.keepalive = KeepAlive(now)
        self.end_of_stream: End | None = None
        self._since = now
        self._deadline = now + endpoint.limits.handshake_timeout
        self._domain = ""
        self._framing = Framing()
        self._handler: Handler | None = None
        self._held = 0
        self._lost: End | None = None
        self._stalled: float | None = None
        self._parser = Parser(
            endpoint.vocabulary,
            client.address,
            max_depth=endpoint.limits.max_depth,
            max_elements=endpoint.limits.max_elements,
        )
        self._phase = Phase.NEW
        self._reader = FrameReader(endpoint.limits.max_unauthenticated_size, endpoint.unmask)
        self._transport: asyncio.Transport | None = None

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over."""
        self._transport = cast(asyncio.Transport, transport)
        self._endpoint.add(self, self._deadline)

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        self.keepalive.received = self._endpoint.deadlines.now
        self._reader.feed(data)
        if not self._held:
            self._read()
        elif self._reader.buffered > _MAX_HELD and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool | None:
        """Learn that the client sends no more: without a close frame that is the end."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the socket is gone. What was received before is still handled."""
        self._transport = None
        self._lost = End(Reason.CONNECTION_LOST, Side.NETWORK, "" if exc is None else type(exc).__name__)
        self._release(Hold.HANDLER)

    def abort(self) -> None:
        """Drop the socket at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Learn that the client reads more slowly than it is written to."""
        self._stalled = self._endpoint.deadlines.now
        if self._handler is not None:
            self._handler.writable(False)

    def resume_writing(self) -> None:
        """Learn that the client has caught up."""
        self._stalled = None
        if self._handler is not None:
            self._handler.writable(True)

    # --- what the handler calls: core.router.Stream ---

    def open(self, sender: str, id: str, *messages: bytes) -> None:
        """Answer the client's `<open/>`."""
        if self._phase < Phase.ENDING:
            self._framing.sent(framing.Event.OPEN_SENT)
            self.send(framing.open_message(sender, id), *messages)

    def send(self, *messages: bytes) -> None:
        """Send messages in one write."""
        if self._phase < Phase.ENDING:
            self._write(text_frame(messages[0]) if len(messages) == 1 else b"".join(map(text_frame, messages)))

    def authenticated(self, name: str) -> None:
        """Note that the client has logged in."""
        if self._phase is Phase.STRANGER:
            self.name = name
            self._phase = Phase.ESTABLISHED
            self._reader.limit = self._endpoint.limits.max_stanza_size
            self._endpoint.left_strangers(self)
            self._endpoint.deadlines.move(self, self.keepalive.next(self._endpoint.intervals))

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        self._held |= Hold.HANDLER
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        self._release(Hold.HANDLER)

    def end(self, error: StreamError | None = None) -> None:
        """End the stream: the error, `<close/>`, and then the closing handshake (RFC 7395 sections 3.5 and 3.6)."""
        if self._phase >= Phase.ENDING:
            return
        end = End(Reason.SHUTDOWN, Side.SERVER) if error is None else error.end
        self.send(*self._framing.ending(error, self._domain or self._endpoint.name_of(self._candidates), self.id))
        self._over(end)
        if end.reason.code == 1000:
            self._phase = Phase.ENDING
            self._wait_for_close()
        else:
            self._close_websocket(end.reason.code, end.text)

    # --- what the sweep calls ---

    def check(self, now: float) -> float | None:
        """Do what is due."""
        if self._phase <= Phase.STRANGER:
            return self._check_stranger(now)
        if self._phase is Phase.ESTABLISHED:
            return self._check_alive(now)
        if now < self._deadline:
            return self._deadline
        if self._phase is Phase.ENDING:
            self._close_websocket(1000, Reason.CLOSE_TIMEOUT.id)
            return None  # _close_websocket has set another deadline.
        self.abort()
        return None

    def _check_stranger(self, now: float) -> float | None:
        if now < self._deadline:
            return self._deadline
        if self._phase is Phase.NEW:
            self.end(ConnectionTimeout("No <open/> came in time", Reason.HANDSHAKE_TIMEOUT))
        else:
            self.end(ConnectionTimeout("No login in time", Reason.AUTH_TIMEOUT))
        return None

    def _check_alive(self, now: float) -> float | None:
        intervals = self._endpoint.intervals
        if self._stalled is not None:
            # Nothing is read from a client that does not read, so pongs show nothing.
            until = self._stalled + intervals.ping_interval + intervals.pong_timeout
            if now < until:
                return until
            self.end(StreamResourceConstraint("Nothing of what was sent was read"))
            return None
        if self._held:
            return now + intervals.ping_interval
        due = self.keepalive.check(now, intervals)
        if due is Due.PING:
            self._write(control_frame(PING))
        elif due is Due.PROBE and self._handler is not None:
            self._handler.probe()
        elif due is Due.PONG_TIMEOUT:
            self.end(ConnectionTimeout("A WebSocket ping was not answered", Reason.PONG_TIMEOUT))
            return None
        elif due is Due.READ_TIMEOUT:
            self.end(ConnectionTimeout("An XMPP ping was not answered", Reason.READ_TIMEOUT))
            return None
        return self.keepalive.next(intervals)

    # --- reading ---

    def _read(self) -> None:
        try:
            while not self._held and (frame := self._reader.next()) is not None:
                opcode, payload = frame
                if opcode == TEXT:
                    pending = self._message(payload)
                    if pending is not None:
                        self._wait(pending)
                else:
                    self._control(opcode, payload)
        except FrameError as error:
            self._broken(error)
        except StreamError as error:
            self.end(error)
        except Exception:
            log.exception("id=%s: a message could not be handled", self.id)
            self.end(StreamInternalServerError("The server made a mistake"))

    def _message(self, payload: bytes) -> Awaitable[None] | None:
        if self._phase >= Phase.CLOSING:
            return None
        self.keepalive.stanza = self._endpoint.deadlines.now
        item = self._framing.received(self._parser.parse(payload))
        if item is None:
            if self._framing.state is framing.State.CLOSED:
                self._client_closed()
            return None
        if isinstance(item, Open):
            return self._opened(item)
        assert self._handler is not None
        return self._handler.received(item)

    def _opened(self, open: Open) -> Awaitable[None] | None:
        if self._handler is None:
            self._handler = self._accept(open)
        elif open.to is not None and open.to.lower() != self._domain:
            raise HostUnknown("A restart cannot change the host")
        return self._handler.opened(open)

    def _accept(self, open: Open) -> Handler:
        assert self._candidates is not None and self._request is not None
        endpoint = self._endpoint
        domain = endpoint.virtual_hosts.choose(self._candidates, open.to)
        self._domain = domain
        if not self.secure:
            raise StreamPolicyViolation(_NOT_SECURE, Reason.NOT_SECURE)
        handler = endpoint.routers[domain].accept(self, self._request)
        self._candidates = self._request = None
        self._phase = Phase.STRANGER
        self._deadline = endpoint.deadlines.now + endpoint.limits.auth_timeout
        endpoint.deadlines.move(self, self._deadline)
        return handler

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if self._phase < Phase.CLOSING:
                self._write(control_frame(PONG, payload))
        elif opcode == PONG:
            self.keepalive.ponged(self._endpoint.deadlines.clock())
        elif opcode == CLOSE:
            code, reason = read_close(payload)
            self._over(End(Reason.CLIENT_GONE, Side.CLIENT, f"{code} {reason}".strip()))
            if self._phase < Phase.CLOSING:
                # RFC 6455 section 5.5.1: a close is answered with the same code.
                self._write(close_frame(1000 if code == 1005 else code))
                self._phase = Phase.CLOSING
            if self._transport is not None:
                self._transport.close()

    def _client_closed(self) -> None:
        if self._phase < Phase.ENDING:
            # RFC 7395 section 3.6: the `<close/>` is answered, then the WebSocket is closed.
            self.send(framing.CLOSE)
            self._over(End(Reason.CLIENT_CLOSE, Side.CLIENT))
        if self._phase < Phase.CLOSING:
            self._close_websocket(1000, "")

    # --- waiting for a handler ---

    def _wait(self, pending: Awaitable[None]) -> None:
        self._held |= Hold.WAIT
        asyncio.ensure_future(pending).add_done_callback(self._waited)

    def _waited(self, task: asyncio.Future[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StreamError):
            self.end(error)
        elif error is not None:
            log.error("id=%s: a message could not be handled", self.id, exc_info=error)
            self.end(StreamInternalServerError("The server made a mistake"))
        self._release(Hold.WAIT)

    def _release(self, hold: Hold) -> None:
        self._held &= ~hold
        if not self._held:
            self._read()
        self._settle()

    def _settle(self) -> None:
        """When nothing is left to wait for, go on reading, or end what has lost its socket."""
        if self._held:
            return
        if self._lost is not None:
            self._gone(self._lost)
        elif self._transport is not None:
            self._transport.resume_reading()

    # --- writing and ending ---

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        self.keepalive.sent = self._endpoint.deadlines.now
        transport.write(data)
        if self._stalled is not None and transport.get_write_buffer_size() > self._endpoint.limits.max_send_buffer:
            self._over(StreamResourceConstraint().end)
            self._phase = Phase.CLOSED
            transport.abort()

    def _broken(self, error: FrameError) -> None:
        # What follows a broken frame cannot be read, so the client's `<close/>` is not awaited.
        if self._phase >= Phase.CLOSING:
            return
        reason = error.reason
        end = End(reason, Side.SERVER, f"{reason.id}: {error}")
        if self._phase < Phase.ENDING and reason is not Reason.WEBSOCKET_PROTOCOL:
            policy = StreamPolicyViolation(str(error), reason)
            self.send(*self._framing.ending(policy, self._domain or self._endpoint.name_of(self._candidates), self.id))
        self._over(end)
        self._reader.stop()
        self._close_websocket(reason.code, end.text)
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _close_websocket(self, code: int, text: str) -> None:
        self._write(close_frame(code, text))
        self._phase = Phase.CLOSING
        self._wait_for_close()

    def _wait_for_close(self) -> None:
        self._deadline = self._endpoint.deadlines.now + self._endpoint.limits.close_timeout
        self._endpoint.deadlines.move(self, self._deadline)

    def _over(self, end: End) -> None:
        """Tell the handler and the log, once, why the stream is over."""
        if self.end_of_stream is not None:
            return
        self.end_of_stream = end
        self._endpoint.over(self, end, self._endpoint.deadlines.now - self._since)
        if self._handler is not None:
            self._handler.closed(end)
            self._handler = None

    def _gone(self, end: End) -> None:
        self._phase = Phase.CLOSED
        self._over(end)
        self._endpoint.remove(self)
