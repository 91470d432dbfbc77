"""IQ requests that go from one occupant's client to another's, so that answers find their way back."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from xmppws.jid import Jid

# Requests that nobody has answered yet; the oldest is forgotten.
_LIMIT: Final = 512


class Asked(NamedTuple):
    """Who asked, under which id, and whose answer counts."""

    asker: Jid
    id: str
    answerer: Jid


class Relay:
    """The requests of a room that wait for an answer, by the id that they went out with."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}

    def ask(self, new_id: str, asked: Asked) -> None:
        """Note a request."""
        if len(self._asked) >= _LIMIT:
            del self._asked[next(iter(self._asked))]
        self._asked[new_id] = asked

    def answered(self, id: str, answerer: Jid) -> Asked | None:
        """Return whose request an answer is for, and forget it: None unless it comes from who was asked."""
        asked = self._asked.get(id)
        if asked is None or asked.answerer != answerer:
            return None
        return self._asked.pop(id)

    def forget(self, sessions: Collection[Jid]) -> None:
        """Forget the requests of clients that have gone."""
        for id in [id for id, asked in self._asked.items() if asked.asker in sessions]:
            del self._asked[id]
