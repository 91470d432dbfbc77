"""The latest messages of a room, for those who enter it (XEP-0045 sections 7.2.13 and 7.2.14)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from xmppws.jid import Jid
from xmppws.modules.muc.written import made
from xmppws.xml import ns
from xmppws.xml.delay import delay
from xmppws.xml.stanza import Stanza

_BODY: Final = f"{{{ns.CLIENT}}}body"
_NO_STORE: Final = frozenset(f"{{{ns.HINTS}}}{name}" for name in ("no-store", "no-permanent-store"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much somebody who enters wants, None being no limit. `since` is in seconds since 1970."""

    maxchars: int | None = None
    maxstanzas: int | None = None
    since: float | None = None


EVERYTHING: Final = Wanted()


class _Entry:
    """A message. It is stamped when somebody enters, for many are never asked for."""

    __slots__ = ("_is_stamped", "message", "size", "when")

    def __init__(self, message: Stanza, when: float) -> None:
        self.message = message
        self.size = len(message.content)
        self.when = when
        self._is_stamped = False

    def stamped(self) -> Stanza:
        """Return the message with the time when it was sent, as the room says it."""
        if not self._is_stamped:
            assert self.message.sender is not None
            self.message = self.message.plus(delay(self.message.sender.bare.text, self.when))
            self._is_stamped = True
        return self.message


class History:
    """The latest messages, at most `length` of them with `size` bytes in all."""

    def __init__(self, length: int, size: int) -> None:
        self._entries: deque[_Entry] = deque()
        self._length = length
        self._limit = size
        self._size = 0

    def add(self, message: Stanza, tags: Collection[str], when: float) -> None:
        """Keep a message of an occupant, if it is one for people and may be kept; `tags` are those of its children."""
        if _BODY not in tags or not _NO_STORE.isdisjoint(tags):
            return
        # Only the bytes are kept: the parsed element is several times as large.
        content = message.content
        self._entries.append(_Entry(made("message", "groupchat", content, to=None, sender=message.sender), when))
        self._size += len(content)
        while self._entries and (len(self._entries) > self._length or self._size > self._limit):
            self._size -= self._entries.popleft().size

    def select(self, to: Jid, wanted: Wanted) -> list[Stanza]:
        """Return the newest messages that somebody wants, oldest first, addressed."""
        chosen: list[Stanza] = []
        left = wanted.maxchars
        for entry in reversed(self._entries):
            if wanted.maxstanzas is not None and len(chosen) >= wanted.maxstanzas:
                break
            if wanted.since is not None and entry.when < wanted.since:
                break
            stamped = entry.stamped()
            message = stamped.addressed(to=to, sender=stamped.sender)
            if left is not None:
                # "the character count is the characters of the complete XML stanzas".
                left -= len(message.wire.decode())
                if left < 0:
                    break
            chosen.append(message)
        return chosen[::-1]
