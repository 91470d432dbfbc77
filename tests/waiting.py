"""Wait for what nothing tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], timeout: float = 30) -> None:
    """Wait until something is so; each look lets everything else run first."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)
