"""A connection of a `proxy_protocol` listener, until its PROXY header is read and TLS, if any, has begun."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from xmppws.http.accepted import Accepted, Admission
from xmppws.http.causes import Cause
from xmppws.http.peers import Peers, peer_address
from xmppws.http.proxy_protocol import ProxyHeader, ProxyHeaderError, ProxyHeaderReader


class Preface(asyncio.BufferedProtocol):
    """Reads the PROXY header and not a byte more, then lets TLS begin, then `Accepted`: all under one deadline.

    Only a trusted peer gets that far. A `BufferedProtocol` says how many bytes it takes, so what follows the header
    stays in the socket for whoever comes next. While it is here, it stands in `unfinished`.
    """

    __slots__ = (
        "_admission",
        "_buffer",
        "_context",
        "_deadline",
        "_make",
        "_peers",
        "_reader",
        "_task",
        "_transport",
        "_unfinished",
        "due",
    )

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        admission: Admission,
        peers: Peers,
        *,
        context: ssl.SSLContext | None,
        unfinished: set[Preface],
    ) -> None:
        self._make = make
        self._admission = admission
        self._peers = peers
        self._context = context
        self._unfinished = unfinished
        self._reader = ProxyHeaderReader()
        self._buffer = bytearray()
        self._deadline = 0.0
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or drop it when no PROXY header of this peer would be believed."""
        self._transport = cast(asyncio.Transport, transport)
        self._unfinished.add(self)
        self._admission.connections += 1
        self._deadline = self._admission.deadlines.now + self._admission.timeout
        self._admission.deadlines.add(self, self._deadline)
        if not self._peers.may_send_proxy_header(self._transport):
            self._transport.abort()

    def check(self, now: float) -> float | None:
        """Close the connection: its deadline has passed."""
        self._admission.refused[Cause.TOO_SLOW] += 1
        self.abort()
        return None

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> bytearray:
        self._buffer = bytearray(self._reader.wanted)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        try:
            header = self._reader.feed(bytes(self._buffer[:nbytes]))
        except ProxyHeaderError as error:
            address = peer_address(self._transport) or "unix"
            self._peers.note(f"closed a connection of {address}, which must begin with a PROXY header: {error}")
            self._transport.abort()
            return
        if header is not None:
            self._read(header, self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self._transport = None
        self._unfinished.discard(self)
        self._admission.connections -= 1
        self._admission.deadlines.remove(self)

    def _read(self, header: ProxyHeader, transport: asyncio.Transport) -> None:
        transport.pause_reading()
        if self._context is not None:
            self._task = asyncio.ensure_future(self._secure(header, transport, self._context))
            return
        self._hand_over(header, transport)
        transport.resume_reading()

    async def _secure(self, header: ProxyHeader, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        if transport.is_closing():
            return
        early = _Early()
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, early, context, server_side=True, ssl_handshake_timeout=self._admission.timeout
            )
        except OSError:
            # A client that does not get on with TLS is every day's business.
            secured = None
        if secured is None or early.lost:
            self._leave()
            return
        accepted = self._hand_over(header, secured)
        if early.data:
            accepted.data_received(early.data)

    def _hand_over(self, header: ProxyHeader, transport: asyncio.Transport) -> Accepted:
        self._leave()
        accepted = Accepted(self._make(), self._admission, header=header, deadline=self._deadline)
        transport.set_protocol(accepted)
        accepted.connection_made(transport)
        return accepted


class _Early(asyncio.Protocol):
    """Keeps what comes with the end of the TLS handshake, before anybody can have been told of it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
