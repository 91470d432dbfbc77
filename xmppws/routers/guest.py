"""An anonymous user of one stream: the account ends with it, and nothing of it stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from xmppws.core.auth import Anonymous
from xmppws.core.events import AccountEnding
from xmppws.core.host import Host
from xmppws.jid import Jid


class Guest:
    """One such user. What its stream still does is waited for before its data goes."""

    __slots__ = ("_anonymous", "_host", "_pending", "username")

    def __init__(self, host: Host, anonymous: Anonymous) -> None:
        self.username = anonymous.new_username()
        self._host = host
        self._anonymous = anonymous
        self._pending: asyncio.Future[None] | None = None

    async def admit(self) -> None:
        """Make the account."""
        await self._anonymous.admit(self.username)

    def awaiting(self, pending: Awaitable[None]) -> Awaitable[None]:
        """Note what the stream is doing, one thing at a time, and return it for who awaits it."""
        self._pending = asyncio.ensure_future(pending)
        return self._pending

    def leave(self, ended: asyncio.Future[Any] | None) -> None:
        """End the account. `ended` is what the end of its session still does."""
        self._anonymous.leave(self.username)
        self._host.dispatch.observe(self._forget([each for each in (self._pending, ended) if each is not None]))

    async def _forget(self, unfinished: list[asyncio.Future[Any]]) -> None:
        # However it went: who awaits it learns that.
        await asyncio.gather(*unfinished, return_exceptions=True)
        try:
            await self._host.hooks.finish(AccountEnding(Jid.make(self.username, self._host.domain)))
        finally:
            await self._anonymous.forget(self.username)
