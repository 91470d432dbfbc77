"""The end of old messages: in small steps, so that who reads and writes meanwhile hardly notices."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from xmppws.core.stores import Archive, StorageError

log = logging.getLogger("xmppws.mam")

# Messages that are removed in one transaction.
_STEP: Final = 100
# After each step the storage belongs to others for so many times as long as the step took.
_REST: Final = 4
# Seconds from the end of one round through all archives to the next one.
_PAUSE: Final = 3600.0


class Expiry:
    """Removes from all archives of a host what is older than `age` seconds, again and again once started."""

    def __init__(self, archive: Archive, age: float, removed: Callable[[int], None]) -> None:
        self._archive = archive
        self._age = age
        self._removed = removed
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._rounds = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """End; what is old stays for the next time."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)

    async def round(self) -> None:
        """Remove all that is too old now. Raises `StorageError`."""
        # The oldest of an archive go first, and nothing else does: XEP-0313 wants no holes.
        before = time.time() - self._age
        for owner in await self._archive.owners():
            while await self._step(owner, before):
                pass

    async def _step(self, owner: str, before: float) -> bool:
        began = time.monotonic()
        old = await self._archive.page(owner, end=before, limit=_STEP)
        if old:
            self._removed(await self._archive.remove(owner, ids=[entry.id for entry in old]))
        await asyncio.sleep(_REST * (time.monotonic() - began))
        return len(old) == _STEP

    async def _repeat(self) -> None:
        while True:
            try:
                await self.round()
            except StorageError:
                log.exception("old messages could not be removed; next try in %d s", _PAUSE)
            await asyncio.sleep(_PAUSE)
