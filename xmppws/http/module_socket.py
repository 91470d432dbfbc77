"""A WebSocket that belongs to a module."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from math import inf
from typing import TYPE_CHECKING

from xmppws.core.expiry import Expiry, expire
from xmppws.core.web import SocketHandler
from xmppws.errors import ConnectionTimeout, End, Reason, StreamError
from xmppws.http.proxies import Client
from xmppws.http.socket import WebSocket
from xmppws.stream.frames import text_frames

if TYPE_CHECKING:
    from xmppws.http.endpoint import Endpoint


class ModuleSocket(WebSocket):
    """The `core.web.Socket` of one client. Until somebody has logged in on it, the time-out for strangers holds."""

    __slots__ = ("_expiry", "handler")

    def __init__(self, endpoint: Endpoint, client: Client, domain: str, id: str, max_message: int) -> None:
        deadline = endpoint.deadlines.now + endpoint.limits.auth_timeout
        super().__init__(endpoint, client, id, occupies=domain, limit=max_message, deadline=deadline)
        self.handler: SocketHandler | None = None
        self._expiry: Expiry | None = None

    @property
    def host(self) -> str:
        """The virtual host whose module it belongs to."""
        return self.occupies

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over, and tell the module."""
        super().connection_made(transport)
        pending = None if self.handler is None else self.handler.opened()
        if pending is not None:
            self.wait_for(pending)

    def authenticated(self, name: str, *, expires: float = inf) -> None:
        """Note that the client has logged in."""
        if not self.name and self.ended is None:
            self.name = name
            if expires < inf:
                self._expiry = expire(self, expires, self._endpoint.deadlines)
            self._allow(self._allowances.user)
            self._endpoint.left_strangers(self)
            # None before the upgrade, while the module still decides on the request.
            if self._transport is not None:
                self._endpoint.deadlines.move(self, self.keepalive.next(self._endpoint.intervals))

    def send_text(self, *messages: bytes) -> None:
        """Send text messages in one write."""
        self.write(text_frames(messages))

    def send_frames(self, frames: bytes) -> None:
        """Send what is frames already."""
        self.write(frames)

    def end(self, error: StreamError) -> None:
        """End the socket, unless it has ended."""
        if self.ended is None:
            self.fail(error)

    def message(self, payload: bytes) -> Awaitable[None] | None:
        """Hand a message to the module."""
        self.keepalive.stanza = self._endpoint.deadlines.now
        return None if self.handler is None else self.handler.message(payload)

    def fail(self, error: StreamError) -> None:
        """End the socket; there is no XMPP on it to say why in, so the close frame says it."""
        end = error.end
        self.end_with(end)
        self.close(end.reason.code, end.text)

    def check_open(self, now: float) -> float | None:
        """End a client that has not logged in in time; keep alive one that has."""
        if self.name:
            return self.check_alive(now)
        if now < self._deadline:
            return self._deadline
        self.fail(ConnectionTimeout("No login in time", Reason.AUTH_TIMEOUT))
        return None

    def probe(self) -> None:
        """Do nothing: pings are all that is known to be answered here, so a silent client is not ended for silence."""
        self.keepalive.stanza = self._endpoint.deadlines.now

    def writable(self, ready: bool) -> None:
        """Tell the module that the client reads too slowly, or has caught up."""
        if self.handler is not None:
            self.handler.writable(ready)

    def over(self, end: End) -> None:
        """Tell the module that the socket is over."""
        if self.handler is not None:
            self.handler.closed(end)
            self.handler = None
        if self._expiry is not None:
            self._endpoint.deadlines.remove(self._expiry)
