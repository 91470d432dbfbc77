"""Attempts that overtake each other, and what is remembered of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from xmppws.routers.upstream.cache import Cache
from xmppws.routers.upstream.race import Attempt, race

LONG = 60.0


class Course:
    """Attempts whose ends the test decides."""

    def __init__(self, *names: str) -> None:
        loop = asyncio.get_running_loop()
        self.ends: dict[str, asyncio.Future[str | None]] = {name: loop.create_future() for name in names}
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.discarded: list[str | None] = []
        self.closed = False
        self.news = asyncio.Event()

    async def attempts(self) -> AsyncGenerator[Attempt[str], None]:
        try:
            for name in self.ends:
                yield self._attempt(name)
        finally:
            self.closed = True

    def _attempt(self, name: str) -> Attempt[str]:
        return lambda: self._run(name)

    async def _run(self, name: str) -> str | None:
        self.begun.append(name)
        self.news.set()
        try:
            return await self.ends[name]
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise

    async def has_begun(self, *names: str) -> None:
        async with asyncio.timeout(5):
            while self.begun != list(names):
                self.news.clear()
                await self.news.wait()

    def start(self, delay: float) -> asyncio.Task[str | None]:
        return asyncio.create_task(race(self.attempts(), delay, self.discarded.append))


async def test_a_failure_starts_the_next() -> None:
    course = Course("a", "b")
    running = course.start(LONG)
    await course.has_begun("a")
    course.ends["a"].set_result(None)
    await course.has_begun("a", "b")
    course.ends["b"].set_result("b")
    assert await running == "b"


async def test_after_the_delay_both_run_and_the_first_to_end_wins() -> None:
    course = Course("a", "b")
    running = course.start(0.01)
    await course.has_begun("a", "b")
    course.ends["b"].set_result("b")
    assert await running == "b"
    assert course.cancelled == ["a"]


async def test_a_winner_starts_nobody_else() -> None:
    course = Course("a", "b")
    running = course.start(LONG)
    await course.has_begun("a")
    course.ends["a"].set_result("a")
    assert await running == "a"
    assert (course.begun, course.closed) == (["a"], True)


async def test_when_all_fail_there_is_nothing() -> None:
    course = Course("a", "b")
    running = course.start(0.01)
    await course.has_begun("a", "b")
    for end in course.ends.values():
        end.set_result(None)
    assert await running is None
    assert await Course().start(LONG) is None


async def test_the_second_to_end_is_discarded() -> None:
    course = Course("a", "b")
    running = course.start(0.01)
    await course.has_begun("a", "b")
    for name, end in course.ends.items():
        end.set_result(name)
    won = await running
    assert {won, *course.discarded} == {"a", "b"}
    assert len(course.discarded) == 1


async def test_giving_up_ends_all() -> None:
    course = Course("a", "b", "c")
    running = course.start(0.01)
    await course.has_begun("a", "b", "c")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(course.cancelled) == ["a", "b", "c"]
    assert course.closed


async def test_a_mistake_is_not_hidden() -> None:
    course = Course("a", "b")
    running = course.start(LONG)
    await course.has_begun("a")
    course.ends["a"].set_exception(ZeroDivisionError())
    course.ends["b"].set_result(None)
    with pytest.raises(ZeroDivisionError):
        await running


# Cache


def test_the_cache_forgets_in_time_and_the_oldest_first() -> None:
    now = 0.0
    cache: Cache[str] = Cache(2, lambda: now)
    cache.put("a", "A", 10)
    cache.put("b", "B", 5)
    cache.put("none", "N", 0)
    assert (cache.get("a"), cache.get("b"), cache.get("none")) == ("A", "B", None)
    now = 5.0
    assert (cache.get("a"), cache.get("b")) == ("A", None)
    assert len(cache) == 1
    cache.put("c", "C", 5)
    cache.put("a", "A again", 5)
    cache.put("d", "D", 5)
    assert (cache.get("a"), cache.get("c"), cache.get("d")) == ("A again", None, "D")
    assert len(cache) == 2
