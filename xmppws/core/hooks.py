"""Hooks: events that modules handle, in an order that has names.

An event is a slotted dataclass (see `core.events`); its docstring says when it fires and what stopping means. A handler
takes the event and returns `STOP`, None, or an awaitable of either. Handlers run phase by phase, and within a phase in
the order in which their modules were loaded.

A filter that fails ends the stanza with an error: what guards must not fail open. An observer (`Phase.OBSERVE`) that
fails is logged and skipped, for it has nothing to say about the outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from enum import Enum, IntEnum
from typing import Any, Final, TypeAlias, TypeVar

log = logging.getLogger("xmppws.hooks")


class Phase(IntEnum):
    """When a handler runs, in this order."""

    GUARD = 1
    """May refuse: blocking, limits, spam."""
    ANSWER = 2
    """Provides what the event asks for."""
    ARCHIVE = 3
    """Keeps a copy."""
    COPY = 4
    """Sends copies elsewhere: carbons, push."""
    DELIVER = 5
    """Does what the event is about."""
    OBSERVE = 6
    """Looks on. Not run when an earlier phase stopped."""


class Stop(Enum):
    """The type of `STOP`."""

    STOP = "stop"


STOP: Final = Stop.STOP

Verdict: TypeAlias = Stop | None
E = TypeVar("E")
Handler: TypeAlias = Callable[[E], Verdict | Awaitable[Verdict]]
"""Takes an event of one type. The table below holds handlers of all types, each under its own."""


class Hooks:
    """The handlers of one host."""

    __slots__ = ("_observers", "_phases", "_ranks", "handlers")

    def __init__(self) -> None:
        self._phases: dict[type, list[tuple[Phase, str, Handler[Any]]]] = {}
        self._ranks: dict[str, int] = {}
        self.handlers: dict[type, tuple[Handler[Any], ...]] = {}
        """By type of event, so that the hot path need not make one that nobody handles."""
        self._observers: dict[type, tuple[Handler[Any], ...]] = {}

    def add(self, event: type[E], phase: Phase, handler: Handler[E], owner: str) -> None:
        """Add a handler for a type of event on behalf of the module `owner`."""
        entries = self._phases.setdefault(event, [])
        entries.append((phase, owner, handler))
        # A module that is replaced keeps its place among the others.
        self._ranks.setdefault(owner, len(self._ranks))
        entries.sort(key=lambda entry: (entry[0], self._ranks[entry[1]]))
        self._index(event, entries)

    def remove(self, owner: str) -> None:
        """Take back the handlers of a module."""
        for event, entries in list(self._phases.items()):
            kept = [entry for entry in entries if entry[1] != owner]
            if kept:
                self._phases[event] = kept
                self._index(event, kept)
            elif entries:
                del self._phases[event], self.handlers[event], self._observers[event]

    def _index(self, event: type, entries: list[tuple[Phase, str, Handler[Any]]]) -> None:
        self.handlers[event] = tuple(handler for phase, _, handler in entries if phase is not Phase.OBSERVE)
        self._observers[event] = tuple(handler for phase, _, handler in entries if phase is Phase.OBSERVE)

    def order(self) -> dict[type, list[tuple[Phase, str]]]:
        """Return for each type of event which module runs in which phase, in running order."""
        return {event: [(phase, owner) for phase, owner, _ in entries] for event, entries in self._phases.items()}

    def run(self, event: object) -> Verdict | Awaitable[Verdict]:
        """Run the handlers. Awaits nothing unless a handler does; then the awaitable of the verdict is returned."""
        kind = type(event)
        handlers = self.handlers.get(kind)
        if handlers is None:
            return None
        index = 0
        for handler in handlers:
            index += 1
            verdict = handler(event)
            if verdict is not None:
                return STOP if verdict is STOP else self._run_on(event, handlers[index:], verdict)
        observers = self._observers[kind]
        return self._observe(event, observers) if observers else None

    async def finish(self, event: object) -> Verdict:
        """Run the handlers to their end, as who asks for something does."""
        verdict = self.run(event)
        return verdict if verdict is None or verdict is STOP else await verdict

    async def _run_on(self, event: object, handlers: tuple[Handler[Any], ...], pending: Awaitable[Verdict]) -> Verdict:
        if await pending is STOP:
            return STOP
        for handler in handlers:
            verdict = handler(event)
            if verdict is not None and (verdict is STOP or await verdict is STOP):
                return STOP
        observed = self._observe(event, self._observers[type(event)])
        return observed if observed is None else await observed

    def _observe(self, event: object, observers: tuple[Handler[Any], ...]) -> Awaitable[Verdict] | None:
        for index, observer in enumerate(observers):
            try:
                pending = observer(event)
            except Exception:
                log.exception("an observer of %s failed", type(event).__name__)
                continue
            if pending is not None and pending is not STOP:
                return self._observe_on(event, observers[index + 1 :], pending)
        return None

    async def _observe_on(
        self, event: object, observers: tuple[Handler[Any], ...], pending: Awaitable[Verdict]
    ) -> Verdict:
        try:
            await pending
        except Exception:
            log.exception("an observer of %s failed", type(event).__name__)
        rest = self._observe(event, observers)
        return rest if rest is None else await rest
