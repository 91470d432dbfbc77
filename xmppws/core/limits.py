"""How much is allowed in how much time. Times come from the caller's clock, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_SWEPT_AT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one session may send in a second, and for how many seconds of silence it may make up at once."""

    frames: float
    bytes: float
    burst: float


class Pace:
    """How often each of many keys may do something: `per_second`, and `burst` times at once after a pause.

    A key that has paused long enough costs no memory.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        self.per_second = per_second
        self.burst = burst
        self._clock = clock
        # When the key will have paid for all that it did, were it to do no more.
        self._paid: dict[str, float] = {}
        self._sweep_at = _SWEPT_AT

    def take(self, key: str) -> float:
        """Count one more and return 0, or refuse it and return after how many seconds it may be."""
        now = self._clock()
        paid = max(now, self._paid.get(key, now))
        wait = paid - now - (self.burst - 1) / self.per_second
        if wait > 0:
            return wait
        if len(self._paid) >= self._sweep_at:
            self._sweep(now)
        self._paid[key] = paid + 1 / self.per_second
        return 0.0

    def _sweep(self, now: float) -> None:
        self._paid = {key: paid for key, paid in self._paid.items() if paid > now}
        # As long as so many are busy, looking at all of them for each new one would be the flood's best weapon.
        self._sweep_at = max(_SWEPT_AT, 2 * len(self._paid))
