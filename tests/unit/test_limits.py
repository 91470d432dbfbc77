"""The pace that an address has to keep."""

from __future__ import annotations

from xmppws.core.limits import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_then_at_the_pace() -> None:
    clock = Clock()
    pace = Pace(2.0, 3.0, clock)
    assert [pace.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert pace.take("b") == 0.0
    clock.now += 0.25
    assert pace.take("a") == 0.25
    clock.now += 0.25
    assert [pace.take("a"), pace.take("a")] == [0.0, 0.5]
    clock.now += 60
    assert [pace.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_what_was_refused_does_not_count() -> None:
    clock = Clock()
    pace = Pace(1.0, 1.0, clock)
    assert pace.take("a") == 0.0
    assert {pace.take("a") for _ in range(100)} == {1.0}
    clock.now += 1.0
    assert pace.take("a") == 0.0


def test_memory_is_for_those_who_are_busy() -> None:
    clock = Clock()
    pace = Pace(1.0, 10.0, clock)
    for number in range(9_999):
        pace.take(f"quiet {number}")
    clock.now += 2
    pace.take("busy")
    pace.take("one more")
    assert len(pace._paid) == 2
    # Looking at all of them again and again would be slow; their number only doubles meanwhile.
    for number in range(25_000):
        pace.take(f"busy {number}")
    assert len(pace._paid) == 25_002
    clock.now += 2
    for number in range(20_000):
        pace.take(f"later {number}")
    assert len(pace._paid) <= 40_000
