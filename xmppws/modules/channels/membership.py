"""One page in one channel: from the wish to enter until it is out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from xmppws.modules.channels import answers
from xmppws.modules.channels.channel import Channel, Told
from xmppws.modules.channels.requests import Subscribe
from xmppws.stream.frames import text_frame


class Phase(Enum):
    ENTERING = "has asked the room to let it in"
    GREETED = "is in; the room sends what was said before, and then the subject"
    IN = "is in"
    OUT = "is not in any more"


class Membership:
    """A page's place in a channel, under a nickname since `since`; `send` writes frames to the page."""

    __slots__ = ("_entered", "_events", "_send", "_waiting", "channel", "echo", "is_first", "nick", "phase", "since")

    def __init__(self, channel: Channel, nick: str, send: Callable[[bytes], None], since: float) -> None:
        self.channel = channel
        self.nick = nick
        self.since = since
        self.phase = Phase.ENTERING
        self.is_first = False
        """Whether it is to learn what was said before there were pages in the channel."""
        self.echo = True
        self._send = send
        # The number of the newest message of each event that it has: none is sent twice.
        self._events: dict[str, int] = {}
        self._waiting: list[Subscribe] = []
        # Done when it is in, or out; made when somebody waits for it.
        self._entered: asyncio.Future[None] | None = None

    @property
    def events(self) -> int:
        """How many events the page is subscribed to, or has asked for."""
        return len(self._events) + len(self._waiting)

    def is_subscribed(self, event: str) -> bool:
        """Tell whether it gets the messages of an event."""
        return event in self._events

    def subscribe(self, request: Subscribe) -> None:
        """Add an event, and answer when the page is in."""
        if request.echo is not None:
            self.echo = request.echo
        if self.phase is Phase.IN:
            self._answer(request)
        else:
            self._waiting.append(request)

    def unsubscribe(self, event: str) -> None:
        """Take an event away."""
        self._events.pop(event, None)

    async def settled(self) -> None:
        """Wait until the page is in, or out."""
        if self.phase in (Phase.ENTERING, Phase.GREETED):
            self._entered = self._entered or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._entered)

    def enter(self) -> None:
        """Note that the room has told all that who enters is told, and answer what was asked."""
        self.phase = Phase.IN
        self.channel.members.add(self)
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            self._answer(request)
        self._settle()

    def leave(self) -> list[Subscribe]:
        """Note that the page is out, and return what was not answered yet."""
        self.phase = Phase.OUT
        self.channel.members.discard(self)
        waiting, self._waiting = self._waiting, []
        self._settle()
        return waiting

    def take(self, told: Told, own_ids: str) -> bool:
        """Send a message if the page wants it, and tell whether it did. `own_ids` is what ids of its own begin with."""
        newest = self._events.get(told.event)
        if newest is None or told.number <= newest:
            return False
        self._events[told.event] = told.number
        if not self.echo and told.nick == self.nick and told.id.startswith(own_ids):
            return False
        self._send(told.frame)
        return True

    def passed(self, frame: bytes) -> None:
        """Tell the page that somebody has come or gone."""
        self._send(frame)

    def _settle(self) -> None:
        if self._entered is not None:
            self._entered.set_result(None)
            self._entered = None

    def _answer(self, request: Subscribe) -> None:
        channel, event = self.channel, request.event
        self._send(text_frame(answers.subscribed(channel.name, event, channel.users, request.id)))
        if event in self._events:
            # What was said before is for who begins to listen.
            return
        self._events[event] = 0
        for told in channel.history(event, request.history):
            self._events[event] = told.number
            self._send(told.frame)
