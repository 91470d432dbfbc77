"""The end of streams and sockets whose token expires, by the sweep that serves all deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from xmppws.errors import NotAuthorized, Reason, StreamError


class Ends(Protocol):
    """What can be ended: a `core.router.Stream`, or a `core.web.Socket`."""

    def end(self, error: StreamError) -> None:
        """End it, and tell the client why."""


class Expiry:
    """One of them that has to end in time. `due` belongs to the sweep."""

    __slots__ = ("_expiring", "due")

    def __init__(self, expiring: Ends) -> None:
        self._expiring = expiring
        self.due = 0

    def check(self, now: float) -> None:
        """End it: it is time."""
        self._expiring.end(NotAuthorized("Log in again with a new token", Reason.TOKEN_EXPIRED))


class Timed(Protocol):
    """What can be asked. `due` belongs to the sweep."""

    due: int

    def check(self, now: float) -> float | None:
        """Do what is due, and return when to be asked again, or None for never."""


class Sweep(Protocol):
    """Asks each of those that were added at its time; `clock` gives monotonic seconds."""

    @property
    def clock(self) -> Callable[[], float]:
        """Return the clock whose seconds count."""

    def add(self, timed: Timed, when: float) -> None:
        """Ask at `when`."""

    def remove(self, timed: Timed) -> None:
        """Ask no more."""


def expire(expiring: Ends, when: float, sweep: Sweep) -> Expiry:
    """Let a stream or a socket end at a time in seconds since 1970."""
    expiry = Expiry(expiring)
    sweep.add(expiry, sweep.clock() + when - time.time())
    return expiry
