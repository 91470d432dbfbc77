"""Which servers are tried last, and for how long."""

from __future__ import annotations

from xmppws.routers.upstream.outliers import TOLERATED, Outliers
from xmppws.routers.upstream.targets import Target

ONE, OTHER = Target("one.test", 5222), Target("other.test", 5222)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(outliers: Outliers, times: int, target: Target = ONE) -> None:
    for _ in range(times):
        outliers.failed(target)


def test_few_failures_change_nothing() -> None:
    outliers = Outliers(Clock())
    fail(outliers, TOLERATED)
    assert (outliers.sorted([ONE, OTHER]), outliers.out) == ([ONE, OTHER], 0)


def test_more_put_a_server_behind_the_others_for_a_while() -> None:
    clock = Clock()
    outliers = Outliers(clock)
    fail(outliers, TOLERATED + 1)
    assert (outliers.sorted([ONE, OTHER]), outliers.out) == ([OTHER, ONE], 1)
    clock.now = 10.1
    assert (outliers.sorted([ONE, OTHER]), outliers.out) == ([ONE, OTHER], 0)
    # Once more, and it takes longer.
    fail(outliers, 1)
    clock.now = 30.0
    assert outliers.sorted([ONE, OTHER]) == [OTHER, ONE]


def test_a_server_that_works_again_is_as_good_as_new() -> None:
    outliers = Outliers(Clock())
    fail(outliers, TOLERATED + 5)
    outliers.worked(ONE)
    fail(outliers, TOLERATED)
    assert outliers.sorted([ONE, OTHER]) == [ONE, OTHER]
    outliers.worked(OTHER)


def test_it_takes_no_longer_than_minutes() -> None:
    clock = Clock()
    outliers = Outliers(clock)
    fail(outliers, 5000)
    clock.now = 300.1
    assert outliers.sorted([ONE, OTHER]) == [ONE, OTHER]


def test_all_of_them_keep_their_order() -> None:
    outliers = Outliers(Clock())
    fail(outliers, 3, OTHER)
    fail(outliers, 3, ONE)
    assert outliers.sorted([ONE, OTHER]) == [ONE, OTHER]


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    outliers = Outliers(clock)
    targets = [Target(f"{number}.test", 5222) for number in range(1500)]
    for target in targets:
        fail(outliers, 3, target)
    assert outliers.out == 1000
    assert outliers.sorted([targets[0], targets[-1]]) == [targets[0], targets[-1]]
    assert outliers.sorted([targets[-1], targets[0]]) == [targets[0], targets[-1]]
