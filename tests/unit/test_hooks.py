"""Hooks: phases in order, stopping, waiting, filters that fail closed and observers that fail alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import pytest

from xmppws.core.hooks import STOP, Hooks, Phase, Verdict


@dataclass(slots=True)
class Event:
    log: list[str]


async def run(hooks: Hooks, event: Event) -> Verdict:
    verdict = hooks.run(event)
    return await verdict if isinstance(verdict, Awaitable) else verdict


def noting(name: str, verdict: Verdict = None, *, waits: bool = False):  # type: ignore[no-untyped-def]
    def now(event: Event) -> Verdict:
        event.log.append(name)
        return verdict

    async def later(event: Event) -> Verdict:
        await asyncio.sleep(0)
        return now(event)

    return later if waits else now


@pytest.mark.parametrize("waits", [False, True])
async def test_phases_run_in_order_and_modules_in_the_order_of_loading(waits: bool) -> None:
    hooks = Hooks()
    for phase in (Phase.OBSERVE, Phase.DELIVER, Phase.GUARD):
        for owner in ("one", "two"):
            hooks.add(Event, phase, noting(f"{phase.name} {owner}", waits=waits), owner)
    event = Event([])
    assert await run(hooks, event) is None
    assert event.log == ["GUARD one", "GUARD two", "DELIVER one", "DELIVER two", "OBSERVE one", "OBSERVE two"]
    assert hooks.order()[Event][0] == (Phase.GUARD, "one")


@pytest.mark.parametrize("waits", [False, True])
async def test_stop_ends_the_run_and_nobody_observes(waits: bool) -> None:
    hooks = Hooks()
    hooks.add(Event, Phase.GUARD, noting("first", waits=waits), "a")
    hooks.add(Event, Phase.COPY, noting("stops", STOP, waits=waits), "b")
    hooks.add(Event, Phase.DELIVER, noting("never"), "c")
    hooks.add(Event, Phase.OBSERVE, noting("never"), "d")
    event = Event([])
    assert await run(hooks, event) is STOP
    assert event.log == ["first", "stops"]


async def test_a_run_in_which_nobody_waits_is_synchronous() -> None:
    hooks = Hooks()
    assert hooks.run(Event([])) is None and Event not in hooks.handlers
    hooks.add(Event, Phase.GUARD, noting("a"), "a")
    assert hooks.run(Event([])) is None and Event in hooks.handlers


@pytest.mark.parametrize("waits", [False, True])
async def test_filters_fail_closed(waits: bool) -> None:
    def fails(event: Event) -> Verdict:
        raise RuntimeError("a guard that fails")

    async def fails_later(event: Event) -> Verdict:
        return fails(event)

    hooks = Hooks()
    hooks.add(Event, Phase.GUARD, fails_later if waits else fails, "a")
    hooks.add(Event, Phase.DELIVER, noting("never"), "b")
    event = Event([])
    with pytest.raises(RuntimeError):
        await run(hooks, event)
    assert event.log == []


@pytest.mark.parametrize("waits", [False, True])
async def test_observers_fail_alone(waits: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fails(event: Event) -> Verdict:
        raise RuntimeError("an observer that fails")

    async def fails_later(event: Event) -> Verdict:
        return fails(event)

    hooks = Hooks()
    hooks.add(Event, Phase.DELIVER, noting("delivered"), "a")
    hooks.add(Event, Phase.OBSERVE, fails_later if waits else fails, "b")
    hooks.add(Event, Phase.OBSERVE, noting("observed"), "c")
    event = Event([])
    assert await run(hooks, event) is None
    assert event.log == ["delivered", "observed"]
    assert "an observer of Event failed" in caplog.text
