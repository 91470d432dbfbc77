"""The sweep, on a clock that the test sets."""

from __future__ import annotations

import pytest

from xmppws.http.deadlines import Deadlines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """Notes when it is asked, and asks to be asked again at the times given."""

    def __init__(self, *again: float | None) -> None:
        self.due = 0
        self.at: list[float] = []
        self.again = list(again)

    def check(self, now: float) -> float | None:
        self.at.append(now)
        return self.again.pop(0) if self.again else None


def advance(deadlines: Deadlines, clock: Clock, seconds: float, step: float = 1.0) -> None:
    end = clock.now + seconds
    while clock.now < end:
        clock.now += step
        deadlines.sweep()


def test_each_is_asked_once_within_a_period_of_its_time() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    timed = [Asked() for _ in range(5)]
    for index, one in enumerate(timed):
        deadlines.add(one, 100.5 + 10 * index)
    advance(deadlines, clock, 60, step=0.7)
    for index, one in enumerate(timed):
        (at,) = one.at
        assert 100.5 + 10 * index <= at <= 102.2 + 10 * index


def test_asked_again_at_the_time_returned() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    one = Asked(110.0, 110.0, None)
    deadlines.add(one, 101)
    advance(deadlines, clock, 30)
    # A time that has passed means the next sweep, not a loop.
    assert one.at == [101, 110, 111]


def test_a_time_in_the_past_is_the_next_sweep() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    one = Asked()
    deadlines.add(one, 5)
    advance(deadlines, clock, 2)
    assert one.at == [101]


def test_moved_and_removed() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    moved, removed, other = Asked(), Asked(), Asked()
    for one in (moved, removed, other):
        deadlines.add(one, 103)
    deadlines.move(moved, 108)
    deadlines.remove(removed)
    deadlines.remove(removed)
    advance(deadlines, clock, 20)
    assert (moved.at, removed.at, other.at) == ([108], [], [103])
    assert deadlines._slots == {}


def test_a_pause_of_the_process_loses_nobody() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    timed = [Asked() for _ in range(50)]
    for index, one in enumerate(timed):
        deadlines.add(one, 101 + index)
    advance(deadlines, clock, 300, step=300)
    assert all(one.at == [400] for one in timed)


def test_one_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Asked):
        def check(self, now: float) -> float | None:
            raise RuntimeError("fails")

    clock = Clock()
    deadlines = Deadlines(clock)
    other = Asked()
    for one in (Fails(), other, Fails()):
        deadlines.add(one, 101)
    advance(deadlines, clock, 5)
    assert other.at == [101]
    assert caplog.text.count("a deadline failed") == 2
    # It is asked again, or it would stay for ever.
    advance(deadlines, clock, 40)
    assert caplog.text.count("a deadline failed") == 4
