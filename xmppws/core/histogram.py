"""A histogram of plain integers, cheap enough for every commit and ping."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

# Seconds, from what a stanza takes to what a slow disk or a phone takes.
SECONDS: Final = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Histogram:
    """Counts values by the smallest of `bounds` that they do not exceed; `total` is their sum."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Return each bound with how many values did not exceed it; the last bound is infinite."""
        so_far = 0
        # Another thread may be counting.
        for bound, count in zip((*self.bounds, float("inf")), tuple(self._counts), strict=True):
            so_far += count
            yield bound, so_far
