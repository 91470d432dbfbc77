"""Happy eyeballs (RFC 8305 section 5): attempts begin one after the other, and the first that works wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")

Attempt = Callable[[], Awaitable[T | None]]


async def race(attempts: AsyncGenerator[Attempt[T], None], delay: float, discard: Callable[[T], object]) -> T | None:
    """Return what the first attempt brings that brings something, or None when all have failed.

    The next attempt begins when the one before has failed, or `delay` seconds after it. All others have ended by the
    time this returns; `discard` gets what they brought.
    """
    winner: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    running: list[asyncio.Task[None]] = []

    async def run(attempt: Attempt[T]) -> None:
        if (brought := await attempt()) is None:
            return
        if winner.done():
            discard(brought)
        else:
            winner.set_result(brought)

    async def begin() -> None:
        async with aclosing(attempts):
            async for attempt in attempts:
                running.append(asyncio.create_task(run(attempt)))
                await asyncio.wait(running[-1:], timeout=delay)
        await asyncio.gather(*running)

    beginning = asyncio.create_task(begin())
    won = False
    try:
        either: list[asyncio.Future[Any]] = [winner, beginning]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not winner.done():
            beginning.result()
            return None
        won = True
        return winner.result()
    finally:
        await _end([beginning, *running])
        if winner.done() and not won:
            discard(winner.result())


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
