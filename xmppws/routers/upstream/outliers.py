"""Servers that keep failing are tried after the others for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from xmppws.routers.upstream.targets import Target

TOLERATED: Final = 2
"""Failures in a row that change nothing yet."""
# Seconds, doubled with each further failure.
_FIRST: Final = 10.0
_LONGEST: Final = 300.0
# Of a domain whose DNS answers differ each time.
_MOST: Final = 1000


@dataclass(slots=True)
class _Record:
    failures: int = 0
    until: float = 0.0


class Outliers:
    """What is known of the targets of one domain. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[Target, _Record] = {}

    def sorted(self, targets: Iterable[Target]) -> list[Target]:
        """Return the targets in their order, those that keep failing last: they may be all there are."""
        now = self._clock()
        return sorted(targets, key=lambda target: self._is_out(target, now))

    def worked(self, target: Target) -> None:
        """Note that a target did its work."""
        self._records.pop(target, None)

    def failed(self, target: Target) -> None:
        """Note that a target failed."""
        if target not in self._records and len(self._records) >= _MOST:
            del self._records[next(iter(self._records))]
        record = self._records.setdefault(target, _Record())
        record.failures += 1
        if record.failures > TOLERATED:
            longer = 2.0 ** min(record.failures - TOLERATED - 1, 10)
            record.until = self._clock() + min(_FIRST * longer, _LONGEST)

    @property
    def out(self) -> int:
        """How many targets are tried last now."""
        now = self._clock()
        return sum(record.until > now for record in self._records.values())

    def _is_out(self, target: Target, now: float) -> bool:
        record = self._records.get(target)
        return record is not None and record.until > now
