"""The latest messages of a room, for those who enter it (XEP-0045 sections 7.2.13 and 7.2.14)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from xmppws.jid import Jid
from xmppws.modules.muc.written import made
from xmppws.xml import ns
from xmppws.xml.delay import delay
from xmppws.xml.stanza import Stanza

_NO_STORE: Final = (f"{{{ns.HINTS}}}no-store", f"{{{ns.HINTS}}}no-permanent-store")


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much somebody who enters wants, None being no limit. `since` is in seconds since 1970."""

    maxchars: int | None = None
    maxstanzas: int | None = None
    since: float | None = None


EVERYTHING: Final = Wanted()


class _Entry(NamedTuple):
    message: Stanza
    when: float


class History:
    """The latest messages, at most `length` of them with `size` bytes in all."""

    def __init__(self, length: int, size: int) -> None:
        self._entries: deque[_Entry] = deque()
        self._length = length
        self._limit = size
        self._size = 0

    def add(self, room: Jid, message: Stanza, when: float) -> None:
        """Keep a message, if it is one for people and may be kept."""
        if message.child(ns.CLIENT, "body") is None or any(message.element.find(tag) is not None for tag in _NO_STORE):
            return
        # Only the bytes are kept: the parsed element is several times as large.
        content = message.plus(delay(room.text, when)).content
        self._entries.append(_Entry(made("message", "groupchat", content, to=None, sender=message.sender), when))
        self._size += len(content)
        while self._entries and (len(self._entries) > self._length or self._size > self._limit):
            self._size -= len(self._entries.popleft().message.content)

    def select(self, to: Jid, wanted: Wanted) -> list[Stanza]:
        """Return the newest messages that somebody wants, oldest first, addressed."""
        chosen: list[Stanza] = []
        left = wanted.maxchars
        for message, when in reversed(self._entries):
            if wanted.maxstanzas is not None and len(chosen) >= wanted.maxstanzas:
                break
            if wanted.since is not None and when < wanted.since:
                break
            message = message.addressed(to=to, sender=message.sender)
            if left is not None:
                # "the character count is the characters of the complete XML stanzas".
                left -= len(message.wire.decode())
                if left < 0:
                    break
            chosen.append(message)
        return chosen[::-1]
