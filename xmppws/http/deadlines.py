"""One sweep for all deadlines: no connection has a timer of its own.

Connections stand in slots of one second. Each second the slots that are due are taken out, and every connection in them
is asked what there is to do, and when to be asked again. Activity moves nothing: a connection that was active meanwhile
just says so when asked.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final, Protocol

from xmppws.core.histogram import Histogram

log = logging.getLogger("xmppws.deadlines")

# Seconds.
_AFTER_FAILURE: Final = 30.0


class Timed(Protocol):
    """What can be asked. `due` belongs to `Deadlines`."""

    due: int

    def check(self, now: float) -> float | None:
        """Do what is due, and return when to be asked again, or None for never."""


class Deadlines:
    """The slots.

    `clock` gives monotonic seconds; `now` is its last reading, exact enough for whatever counts in seconds. `delays`
    tells how much later than asked the event loop began the sweeps.
    """

    def __init__(self, clock: Callable[[], float], period: float = 1.0) -> None:
        self.clock = clock
        self.now = clock()
        self._period = period
        self._slots: dict[int, set[Timed]] = {}
        self._swept = self._slot(self.now)
        self._timer: asyncio.TimerHandle | None = None
        self.delays = Histogram()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweep by itself from now on."""
        self.sweep()
        self._timer = loop.call_later(self._period, self._again, loop, self.clock() + self._period)

    def _again(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.delays.observe(max(0.0, self.clock() - due))
        self.start(loop)

    def stop(self) -> None:
        """Sweep no more."""
        if self._timer is not None:
            self._timer.cancel()

    def add(self, timed: Timed, when: float) -> None:
        """Ask at `when`, or up to a period later."""
        timed.due = max(self._slot(when), self._swept + 1)
        self._slots.setdefault(timed.due, set()).add(timed)

    def move(self, timed: Timed, when: float) -> None:
        """Ask at another time instead."""
        self.remove(timed)
        self.add(timed, when)

    def remove(self, timed: Timed) -> None:
        """Ask no more."""
        slot = self._slots.get(timed.due)
        if slot is not None:
            slot.discard(timed)
            if not slot:
                del self._slots[timed.due]

    def sweep(self) -> None:
        """Ask all that are due."""
        self.now = self.clock()
        current = math.floor(self.now / self._period)
        due = [slot for slot in range(self._swept + 1, current + 1) if slot in self._slots]
        self._swept = current
        for slot in due:
            for timed in self._slots.pop(slot):
                self._ask(timed)

    def _ask(self, timed: Timed) -> None:
        again: float | None
        try:
            again = timed.check(self.now)
        except Exception:
            log.exception("a deadline failed")
            # What is never asked again would stay for ever.
            again = self.now + _AFTER_FAILURE
        if again is not None:
            self.add(timed, again)

    def _slot(self, when: float) -> int:
        return math.ceil(when / self._period)
