"""What was found out, for as long as it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Cache(Generic[V]):
    """Values by key for a time; when there are more than `entries`, the oldest go. `clock` gives monotonic seconds."""

    def __init__(self, entries: int, clock: Callable[[], float]) -> None:
        self._entries = entries
        self._clock = clock
        self._values: dict[str, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> V | None:
        """Return what holds still, else None."""
        expires, value = self._values.get(key, (0.0, None))
        if value is not None and self._clock() >= expires:
            del self._values[key]
            return None
        return value

    def put(self, key: str, value: V, seconds: float) -> None:
        """Keep a value for so many seconds."""
        self._values.pop(key, None)
        if seconds <= 0:
            return
        if len(self._values) >= self._entries:
            del self._values[next(iter(self._values))]
        self._values[key] = (self._clock() + seconds, value)
