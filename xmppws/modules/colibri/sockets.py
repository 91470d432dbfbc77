"""The WebSockets that endpoints and relays open here."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from xmppws.core.web import Socket, read_while
from xmppws.errors import End
from xmppws.modules.colibri.conference import Peer
from xmppws.modules.colibri.messages import Malformed, read

log = logging.getLogger("xmppws.colibri")


class Accepted:
    """The module's side of one socket, and the `Channel` of its peer."""

    __slots__ = ("_count", "_peer", "_socket")

    def __init__(self, peer: Peer, socket: Socket, count: Callable[[], None]) -> None:
        self._peer = peer
        self._socket = socket
        self._count = count

    def opened(self) -> Awaitable[None] | None:
        """Greet the peer, whose secret was right."""
        self._peer.connect(self)
        return None

    def message(self, payload: bytes) -> Awaitable[None] | None:
        """Take a message; what is none is ignored, as bridges do."""
        if self._peer.channel is self:
            self._count()
            take(self._peer, self._socket.id, payload)
        return None

    def writable(self, ready: bool) -> None:
        """Read no more from a peer that does not read what it is sent."""
        read_while(ready, self._socket)

    def closed(self, end: End) -> None:
        """Note that the socket is gone; the peer stays until the focus says that it has left."""
        self._peer.disconnect(self)

    def send(self, message: bytes) -> None:
        """Send a message."""
        self._socket.send_text(message)

    def close(self, code: int, reason: str) -> None:
        """Close the socket."""
        self._socket.close(code, reason)


def take(peer: Peer, id: str, payload: bytes) -> None:
    """Hand a message to a peer, if it is one."""
    try:
        message = read(payload)
    except Malformed as error:
        log.info("id=%s: a message of %s is ignored: %s", id, peer.id, error)
    else:
        peer.take(message)
