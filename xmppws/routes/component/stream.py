"""One connection of XEP-0114, whoever began it: elements in, in order, and stanzas out.

Theory of operation. What arrives is read into elements, and each is handed to `element`. When that has to wait, or more
came than may come in a second, the rest waits here and the socket is not read, so that nothing is dropped and one
connection keeps one order. Between `jabber:component:accept` there and `jabber:client` here the namespace is changed
on the way.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable
from typing import Final, cast

from xmppws.core.tcp import keep_alive
from xmppws.errors import BadFormat, ImproperAddressing, StreamError, StreamInternalServerError
from xmppws.stream.framing import stream_error
from xmppws.stream.tcp import CLOSE, COMPONENT, Header, in_namespace
from xmppws.stream.tcp_check import Checks
from xmppws.stream.tcp_reader import Closed, Event, Reader
from xmppws.xml import ns
from xmppws.xml.parser import Element, Parser, Vocabulary
from xmppws.xml.stanza import Stanza, is_stanza, read
from xmppws.xml.writer import element, serialize

log = logging.getLogger("xmppws.component")

_HANDSHAKE: Final = f"{{{ns.CLIENT}}}handshake"
_ERROR: Final = f"{{{ns.STREAM}}}error"


def digest(id: str, secret: str) -> str:
    """Return what proves that somebody knows the secret (XEP-0114 section 3)."""
    return hashlib.sha1((id + secret).encode(), usedforsecurity=False).hexdigest()


def handshake(proof: str = "") -> bytes:
    """Write a `<handshake/>`."""
    return serialize(element(COMPONENT, "handshake", text=proof or None))


class ComponentStream(asyncio.Protocol, ABC):
    """The protocol of one connection. `per_second` is how many elements may come in a second, as many at once."""

    def __init__(self, vocabulary: Vocabulary, checks: Checks, *, max_size: int, per_second: int) -> None:
        self._reader = Reader(COMPONENT, max_size, checks)
        self._parser = Parser(vocabulary, "component")
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Event] = deque()
        self._per_second = self._left = per_second
        self._refill: asyncio.TimerHandle | None = None
        self._is_handling = False
        self._writable: asyncio.Future[None] | None = None

    def allow(self, max_size: int, per_second: int) -> None:
        """Set the limits anew."""
        self._reader.max_size = max_size
        self._per_second = self._left = per_second

    # --- What the two sides say ---

    @abstractmethod
    def header(self, header: Header) -> None:
        """Take the peer's stream header."""

    @abstractmethod
    def handshake(self, proof: str) -> None:
        """Take a `<handshake/>` and what is in it."""

    @abstractmethod
    def stanza(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza that has both addresses."""

    @abstractmethod
    def over(self, why: str) -> None:
        """Learn, once, that the connection is gone."""

    # --- What the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over."""
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        """Read elements."""
        self._reader.feed(data)
        try:
            while (event := self._reader.next()) is not None:
                self._waiting.append(event)
        except StreamError as error:
            self._handle()
            self.end(error)
            return
        self._handle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the connection is gone."""
        self._transport = None
        if self._refill is not None:
            self._refill.cancel()
        self.resume_writing()
        self.over(f"{exc}" if exc is not None else "it closed the connection")

    def pause_writing(self) -> None:
        """Learn that the peer reads too slowly."""
        self._writable = self._writable or asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Learn that it has caught up, or is gone."""
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    # --- Reading ---

    def _handle(self) -> None:
        while self._waiting and not self._is_handling:
            if not self._left:
                self._pause()
                return
            self._left -= 1
            if self._refill is None:
                self._refill = asyncio.get_running_loop().call_later(1, self._refilled)
            pending = self._take(self._waiting.popleft())
            if pending is not None:
                self._is_handling = True
                self._pause()
                asyncio.ensure_future(pending).add_done_callback(self._handled)

    def _take(self, event: Event) -> Awaitable[None] | None:
        try:
            if isinstance(event, Header):
                self.header(event)
            elif isinstance(event, Closed):
                self.end(None)
            else:
                return self._element(event)
        except StreamError as error:
            self.end(error)
        except Exception:
            log.exception("a component's element could not be handled")
            self.end(StreamInternalServerError("The server made a mistake"))
        return None

    def _element(self, written: bytes) -> Awaitable[None] | None:
        root = self._parser.parse(in_namespace(written, COMPONENT, ns.CLIENT, self._parser.parse))
        if is_stanza(root):
            return self._read(root)
        if root.tag == _HANDSHAKE:
            self.handshake((root.text or "").strip())
        elif root.tag == _ERROR:
            self.failed(root)
        else:
            raise BadFormat("A component sends message, presence and iq")
        return None

    def _read(self, root: Element) -> Awaitable[None] | None:
        stanza, mistake = read(root)
        if stanza.sender is None or stanza.to is None:
            # XEP-0114 section 3: a component has no default addresses.
            raise ImproperAddressing("A component's stanzas have both `from` and `to`")
        if mistake is not None:
            if stanza.answerable:
                self.send(stanza.error(mistake))
            return None
        return self.stanza(stanza)

    def failed(self, error: Element) -> None:
        """Take a stream error of the peer's: the end of the stream follows."""

    def _handled(self, task: asyncio.Future[None]) -> None:
        self._is_handling = False
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a component's stanza could not be handled", exc_info=error)
        self._resume()

    def _refilled(self) -> None:
        self._left = self._per_second
        self._refill = None
        self._resume()

    def _resume(self) -> None:
        self._handle()
        if not self._waiting and not self._is_handling and self._transport is not None:
            self._transport.resume_reading()

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    # --- Writing and ending ---

    def write(self, data: bytes) -> None:
        """Write bytes, unless the connection is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def send(self, stanza: Stanza) -> Awaitable[None] | None:
        """Send a stanza; while the peer reads too slowly, whoever awaits this waits with it."""
        self.write(in_namespace(stanza.wire, ns.CLIENT, COMPONENT, self._parser.parse))
        return None if self._writable is None else asyncio.shield(self._writable)

    def end(self, error: StreamError | None) -> None:
        """End the stream, with an error or without, and the connection."""
        self._waiting.clear()
        if self._transport is not None:
            self.write((b"" if error is None else stream_error(error)) + CLOSE)
            self._transport.close()
