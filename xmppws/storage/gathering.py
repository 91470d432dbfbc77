"""Writes that a stanza causes here and there, put into one transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Generic, TypeVar

C = TypeVar("C")


class Gatherings(Generic[C]):
    """The gatherings of a database; `put` hands over all calls of one at once."""

    def __init__(self, put: Callable[[list[C]], None]) -> None:
        self._put = put
        # By task: a handler that waits goes on gathering, while others write to the database.
        self._current: ContextVar[Gathering[C] | None] = ContextVar("gathering", default=None)
        self._waiting: set[Gathering[C]] = set()

    def new(self) -> Gathering[C]:
        """Return an empty one."""
        return Gathering(self, self._current)

    def add(self, call: C) -> None:
        """Let a call wait with the others of its gathering, or hand it over if it belongs to none."""
        gathering = self._current.get()
        if gathering is None or not gathering.is_open:
            self._put([call])
        else:
            gathering.add(call)
            self._waiting.add(gathering)

    def hand_over(self, gathering: Gathering[C]) -> None:
        """Hand over what has been gathered so far."""
        if gathering.calls:
            calls, gathering.calls = gathering.calls, []
            self._waiting.discard(gathering)
            self._put(calls)

    def hurry(self) -> None:
        """Hand over what all of them have gathered so far."""
        for gathering in list(self._waiting):
            self.hand_over(gathering)


class Gathering(Generic[C]):
    """The `core.stores.Gathering` of a database."""

    __slots__ = ("__weakref__", "_current", "_has_any", "_owner", "_token", "calls", "is_open")

    def __init__(self, owner: Gatherings[C], current: ContextVar[Gathering[C] | None]) -> None:
        self._owner = owner
        self._current = current
        self._token: Token[Gathering[C] | None]
        # Those, too, that were handed over in haste.
        self._has_any = False
        self.calls: list[C] = []
        self.is_open = True

    def __enter__(self) -> None:
        self._token = self._current.set(self)

    def __exit__(self, *exception: Any) -> None:
        self._current.reset(self._token)

    def __bool__(self) -> bool:
        return self._has_any

    def add(self, call: C) -> None:
        """Let a call wait for the others."""
        self._has_any = True
        self.calls.append(call)

    def finish(self) -> None:
        """Write all of them; what comes later is written by itself."""
        self.is_open = False
        self._owner.hand_over(self)
