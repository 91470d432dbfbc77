"""Accounts for those who have none, each for one stream (RFC 4505, XEP-0175).

What such an account stores goes when it does. The store "guests" holds the names of those who are here, so that what a
crash leaves behind is removed at the next start.
"""

from __future__ import annotations

import uuid

from xmppws.core.stores import Stores


class AnonymousProvider:
    """Knows the anonymous users of one host, who are here only while their streams are."""

    name = "anonymous"
    mechanisms = frozenset({"ANONYMOUS"})

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._guests = stores.keyvalue("guests", bool)
        self._present: set[str] = set()

    async def refresh(self) -> None:
        """Remove the data of those who are gone without a farewell."""
        for username in await self._guests.owners():
            if username not in self._present:
                await self._stores.purge(username)

    async def exists(self, username: str) -> bool:
        """Return whether such a user is here."""
        return username in self._present

    def new_username(self) -> str:
        """Make a name that nobody can guess."""
        # XEP-0175 section 3: "it is RECOMMENDED for the localpart to be a UUID".
        return str(uuid.uuid4())

    async def admit(self, username: str) -> None:
        """Let an account be."""
        await self._guests.set(username, True)
        self._present.add(username)

    def leave(self, username: str) -> None:
        """Let the account exist no longer."""
        self._present.discard(username)

    async def forget(self, username: str) -> None:
        """Remove all its data, the note that it was here included."""
        self._present.discard(username)
        await self._stores.purge(username)
