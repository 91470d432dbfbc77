"""A store of a module that takes time and fails when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from xmppws.core.module import Module
from xmppws.core.stores import StorageError


class Faulty:
    """Stands before another store.

    Every call that is awaited takes a turn of the loop, and waits for `gate`; those for owners in `broken` fail.
    """

    def __init__(self, store: object) -> None:
        self._store = store
        self.broken: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)
        if name == "next_id":
            return method  # type: ignore[no-any-return]

        async def call(owner: str, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0)
            await self.gate.wait()
            self._check(owner)
            return await method(owner, *arguments, **options)

        def append(owner: str, *arguments: Any, **options: Any) -> Any:
            self._check(owner)
            return method(owner, *arguments, **options)

        return append if name == "append" else call

    def _check(self, owner: str) -> None:
        if owner in self.broken:
            raise StorageError("The disk is gone")


def faulty(module: Module, attribute: str) -> Faulty:
    """Put a faulty store before the one that a module keeps in an attribute."""
    store = Faulty(getattr(module, attribute))
    setattr(module, attribute, store)
    return store
