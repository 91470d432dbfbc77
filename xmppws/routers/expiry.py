"""The end of streams whose token expires, by the sweep that serves all deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from xmppws.core.router import Stream
from xmppws.errors import NotAuthorized, Reason


class Expiry:
    """One stream that has to end in time. `due` belongs to the sweep."""

    __slots__ = ("_stream", "due")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.due = 0

    def check(self, now: float) -> None:
        """End the stream: it is time."""
        self._stream.end(NotAuthorized("Log in again with a new token", Reason.TOKEN_EXPIRED))


class Sweep(Protocol):
    """Asks each of those that were added at its time; `clock` gives monotonic seconds."""

    @property
    def clock(self) -> Callable[[], float]:
        """Return the clock whose seconds count."""

    def add(self, timed: Expiry, when: float) -> None:
        """Ask at `when`."""

    def remove(self, timed: Expiry) -> None:
        """Ask no more."""


def expire(stream: Stream, when: float, sweep: Sweep) -> Expiry:
    """Let a stream end at a time in seconds since 1970."""
    expiry = Expiry(stream)
    sweep.add(expiry, sweep.clock() + when - time.time())
    return expiry
