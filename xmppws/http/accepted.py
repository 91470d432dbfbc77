"""A fresh TCP connection, until it has sent its first whole request head.

aiohttp waits for a head as long as it takes, so a stranger could hold thousands of connections by sending a byte now
and then. This protocol stands before aiohttp's, counts connections, and closes those that miss the deadline.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, cast

from xmppws.http.causes import Cause
from xmppws.http.deadlines import Deadlines
from xmppws.http.proxy_protocol import ProxyHeader

_SENTENCE: Final = b"The server has all the connections it may have.\n"
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Retry-After: 10\r\nConnection: close\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


class Admission:
    """Counts the connections of a server, and knows how long a request head may take (seconds).

    Whoever owns a connection counts it: `Accepted` until it hands it over, and then the new owner.
    """

    def __init__(self, deadlines: Deadlines, *, timeout: float, limit: int) -> None:
        self.deadlines = deadlines
        self.timeout = timeout
        self.limit = limit
        self.connections = 0
        self.refused: Counter[Cause] = Counter()

    def has_room(self, transport: asyncio.BaseTransport | None) -> bool:
        """Tell whether a connection may stay: it was let in already, or there may be one more."""
        return self.connections < self.limit or is_counted(transport)


class Accepted(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, and closes the connection unless `arrived` is called in time.

    `header` is the PROXY header that came before; `deadline` is set where time is running already.
    """

    __slots__ = ("_admission", "_deadline", "_inner", "_transport", "due", "header")

    def __init__(
        self,
        inner: asyncio.Protocol,
        admission: Admission,
        *,
        header: ProxyHeader | None = None,
        deadline: float | None = None,
    ) -> None:
        self._inner = inner
        self._admission = admission
        self._deadline = deadline
        self.header = header
        self._transport: asyncio.Transport | None = None
        self.due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or refuse it when there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        admission = self._admission
        admission.connections += 1
        self._inner.connection_made(transport)
        if admission.connections > admission.limit:
            admission.refused[Cause.FULL] += 1
            self._transport.write(_FULL)
            self._transport.close()
            return
        if self._deadline is None:
            self._deadline = admission.deadlines.now + admission.timeout
        admission.deadlines.add(self, self._deadline)

    def arrived(self) -> None:
        """Note that a whole request head has arrived."""
        self._admission.deadlines.remove(self)

    def handed_over(self) -> None:
        """Note that the connection has another owner from now on, who counts it."""
        self._admission.connections -= 1
        self._admission.deadlines.remove(self)

    def check(self, now: float) -> float | None:
        """Close the connection: its deadline has passed."""
        self._admission.refused[Cause.TOO_SLOW] += 1
        if self._transport is not None:
            self._transport.abort()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._admission.connections -= 1
        self._admission.deadlines.remove(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def is_counted(transport: asyncio.BaseTransport | None) -> bool:
    """Tell whether a connection came through a listener of ours; in somebody else's application it did not."""
    return transport is not None and isinstance(transport.get_protocol(), Accepted)


def acceptor(make: Callable[[], asyncio.Protocol], admission: Admission) -> Callable[[], Accepted]:
    """Return a factory for `loop.create_server` that puts `Accepted` before the protocols that `make` makes."""
    return lambda: Accepted(make(), admission)
