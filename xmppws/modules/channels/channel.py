"""A channel as its pages see it: who is in it, and the latest messages, each read and written once for all of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Final, Protocol

from msgspec import Struct

from xmppws.jid import Jid
from xmppws.modules.channels import answers, content, seen
from xmppws.modules.channels.options import ChannelsOptions
from xmppws.modules.channels.seen import Seen
from xmppws.stream.frames import text_frame
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza

# Messages whose copies are recognised, though nobody may ask for them.
_RECOGNISED: Final = 16
_DELAY: Final = f"{{{ns.DELAY}}}delay"


class Told(Struct, frozen=True):
    """A message: its number in the channel, its event, the frame for pages, and the id and sender of its stanza."""

    number: int
    event: str
    frame: bytes
    id: str
    nick: str


class Member(Protocol):
    """A page in the channel."""

    def passed(self, frame: bytes) -> None:
        """Learn that somebody has come or gone."""


class Channel:
    """The shared view of one room. Each page gets copies of all that the room says; the first to come is read."""

    def __init__(self, name: str, jid: Jid, options: ChannelsOptions) -> None:
        self.name = name
        self.jid = jid
        self.members: set[Member] = set()
        self.pages = 0
        """Pages that are in it, or on their way."""
        self.is_new = True
        """Whether no page has been in it yet."""
        # Whether the room shows everybody who somebody is. Moderators see it in others, too, but nobody else may.
        self._shows_accounts = False
        self._options = options
        self._quoted = answers.quoted(name)
        self._accounts: dict[str, str] = {}
        self._senders: dict[str, bytes] = {}
        self._latest: tuple[Stanza, Seen] | None = None
        self._recent: OrderedDict[int, tuple[bytes, Told | None]] = OrderedDict()
        self._size = 0
        self._number = 0

    @property
    def users(self) -> Iterable[bytes]:
        """All who are in the channel, as JSON."""
        return self._senders.values()

    # --- Who is there ---

    def greeted(self, codes: Collection[int]) -> bool:
        """Note that the room has let a page in, with these status codes, and tell whether it is the first."""
        was_new, self.is_new = self.is_new, False
        self._show_accounts(seen.NON_ANONYMOUS in codes)
        return was_new

    def changed(self, codes: Collection[int]) -> None:
        """Note that the room tells of changed settings, with these status codes."""
        if seen.BECAME_ANONYMOUS in codes or seen.BECAME_NON_ANONYMOUS in codes:
            self._show_accounts(seen.BECAME_NON_ANONYMOUS in codes)

    def look(self, presence: Stanza) -> Seen:
        """Return what a presence tells. A copy of the latest one costs little."""
        # By identity, as with messages.
        known = self._latest
        if known is not None and known[0].content is presence.content and known[0].sender == presence.sender:
            return known[1]
        found = Seen.read(presence)
        self._latest = presence, found
        return found

    def is_known(self, presence: Stanza) -> bool:
        """Tell whether a presence says no more than that somebody is here who is known to be here."""
        assert presence.sender is not None
        return presence.type == "" and presence.sender.resource in self._accounts and seen.is_of_another(presence)

    def came(self, nick: str, account: str) -> None:
        """Note that somebody is in the room, and tell the pages if that is new."""
        is_new = nick not in self._accounts
        self._accounts[nick] = account
        sender = self._senders[nick] = self._sender(nick)
        if is_new:
            self._tell("enter", sender)

    def left(self, nick: str) -> None:
        """Note that somebody is in the room no more."""
        if nick in self._accounts:
            del self._accounts[nick]
            self._tell("leave", self._senders.pop(nick))

    def _show_accounts(self, shown: bool) -> None:
        if shown != self._shows_accounts:
            self._shows_accounts = shown
            self._senders = {nick: self._sender(nick) for nick in self._accounts}

    def _sender(self, nick: str) -> bytes:
        return answers.sender(nick, self._accounts.get(nick, "") if self._shows_accounts else "")

    def _tell(self, kind: str, sender: bytes) -> None:
        frame = text_frame(answers.passage(kind, self._quoted, sender, time.time()))
        for member in tuple(self.members):
            member.passed(frame)

    # --- What is said ---

    def read(self, message: Stanza, *, is_history: bool) -> Told | None:
        """Return what a message of the room is to pages, None if nothing. A copy of one that was read costs little."""
        written = message.content
        known = self._recent.get(id(written))
        if known is not None:
            return known[1]
        tree = message.tree()
        found = content.read(tree, self._options.text_event)
        told = None
        if found is not None and message.sender is not None and message.sender.resource:
            event, data = found
            nick = message.sender.resource
            # Who has left since may have been somebody else under the same name.
            sender = answers.sender(nick, "") if is_history else self._senders.get(nick) or self._sender(nick)
            when = _sent(tree) if is_history else time.time()
            self._number += 1
            frame = text_frame(answers.message(self._quoted, event, data, sender, when))
            told = Told(self._number, event, frame, tree.get("id", ""), nick)
        self._keep(written, told)
        return told

    def history(self, event: str, most: int) -> Iterator[Told]:
        """Return the latest messages of an event, oldest first."""
        most = min(most, self._options.history_length)
        found = [told for _, told in self._recent.values() if told is not None and told.event == event]
        return iter(found[-most:] if most else ())

    def _keep(self, written: bytes, told: Told | None) -> None:
        # By identity: the copies of a message share their content, and while it is held here no other has its place.
        self._recent[id(written)] = (written, told)
        self._size += _size(written, told)
        options = self._options
        most = max(options.history_length, _RECOGNISED)
        while len(self._recent) > most or (self._size > options.max_history_size and len(self._recent) > 1):
            _, oldest = self._recent.popitem(last=False)
            self._size -= _size(*oldest)


def _size(written: bytes, told: Told | None) -> int:
    return len(written) + (0 if told is None else len(told.frame))


def _sent(message: Element) -> float:
    # The last is the room's own (XEP-0045 section 7.2.13); those before it say what somebody likes.
    *_, stamp = "", *(delay.get("stamp", "") for delay in message.findall(_DELAY))
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return time.time()
