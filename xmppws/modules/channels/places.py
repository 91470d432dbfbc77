"""Where a page is: its session enters rooms, speaks in them, and takes what they send."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from xmppws.core.session import Session
from xmppws.core.web import Socket
from xmppws.errors import End, ServiceUnavailable
from xmppws.jid import Jid
from xmppws.modules.channels import answers, content
from xmppws.modules.channels.membership import Membership, Phase
from xmppws.modules.channels.names import RULE, is_name
from xmppws.modules.channels.requests import Problem, Publish, Subscribe, Unsubscribe
from xmppws.modules.channels.seen import RENAMED, SELF, changes
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import child, element

if TYPE_CHECKING:
    from xmppws.modules.channels.module import Channels

# Seconds that a room has for an answer.
_PATIENCE: Final = 30.0
_MAX_NICKS: Final = 10
_REFUSED: Final = {
    "service-unavailable": ("channel-full", "The channel has all the users it may have"),
    "forbidden": ("not-allowed", "You may not be in this channel"),
    "registration-required": ("not-allowed", "The channel is for its members"),
    "not-authorized": ("not-allowed", "The channel has a password"),
    "item-not-found": ("not-ready", "The channel is being set up by its owner; try again later"),
    "resource-constraint": ("too-many-pages", "You have as many pages in this channel as there may be"),
    "conflict": ("conflict", "Somebody else in the channel has your name"),
}
_OTHERWISE: Final = ("refused", "The channel has refused this")


class Places:
    """The channels of one page, by name: `memberships`."""

    __slots__ = ("_channels", "_ids", "_rooms", "_socket", "memberships", "session")

    def __init__(self, channels: Channels, session: Session, socket: Socket) -> None:
        self._channels = channels
        self._socket = socket
        self.session = session
        self.memberships: dict[str, Membership] = {}
        self._rooms: dict[Jid, Membership] = {}
        # What the ids of its messages begin with; nobody else can know it before.
        self._ids = f"{channels.host.new_id()}:"

    def close(self, end: End) -> None:
        """Leave all channels, for the page is gone."""
        for membership in tuple(self.memberships.values()):
            self._out(membership)
            # The end of the session would tell the rooms only while it is known under which nickname it is there.
            self._channels.host.dispatch.observe(self._exit(membership))
        self.session.lost()
        self._channels.host.unbind(self.session, end)

    def check(self, now: float) -> None:
        """Give up waiting for rooms that do not answer."""
        for membership in tuple(self.memberships.values()):
            if membership.phase is not Phase.IN and now - membership.since > _PATIENCE:
                waiting = self._out(membership)
                # Or it would be in it as soon as the room does answer.
                self._channels.host.dispatch.observe(self._exit(membership))
                self._refuse(waiting, Problem("unavailable", "The channel does not answer"))

    # --- What the page asks ---

    def subscribe(self, request: Subscribe) -> Awaitable[None] | None:
        """Subscribe to an event, and enter its channel if that is the first."""
        options, name, identity = self._channels.options, request.channel, self.session.identity
        if not is_name(name):
            raise Problem("bad-channel", f"The name of a channel has {RULE}")
        _check_event(request.event)
        if identity is not None and identity.room and identity.room != name:
            raise Problem("not-allowed", "The token is for another channel")
        membership = self.memberships.get(name)
        if membership is None:
            if len(self.memberships) >= options.max_page_channels:
                raise Problem("too-many-channels", f"A page is in at most {options.max_page_channels} channels")
            return self._join(request)
        if membership.events >= options.max_page_events and not membership.is_subscribed(request.event):
            raise Problem("too-many-events", f"A page has at most {options.max_page_events} events of a channel")
        membership.subscribe(request)
        return None

    async def _join(self, request: Subscribe) -> None:
        channel = self._channels.channel(request.channel)
        membership = Membership(channel, self.session.account.local, self._socket.send_frames, time.monotonic())
        membership.echo = self._channels.options.echo
        membership.subscribe(request)
        self.memberships[channel.name] = self._rooms[channel.jid] = membership
        try:
            await self._channels.provide(channel)
        except Problem:
            # It may be gone meanwhile, with the page.
            if membership.phase is not Phase.OUT:
                self._out(membership)
            raise
        if membership.phase is not Phase.OUT:
            pending = self._enter(membership)
            if pending is not None:
                await pending
            # What the page asks next finds it in the channel, or out.
            await membership.settled()

    def _enter(self, membership: Membership) -> Awaitable[None] | None:
        channel = membership.channel
        wanted = self._channels.options.history_length if channel.is_new else 0
        made = element(ns.CLIENT, "presence", {"to": channel.jid.with_resource(membership.nick).text})
        child(child(made, ns.MUC, "x"), ns.MUC, "history", {"maxstanzas": str(wanted)})
        return self._send(made)

    def _exit(self, membership: Membership) -> Awaitable[None] | None:
        at = membership.channel.jid.with_resource(membership.nick)
        return self._send(element(ns.CLIENT, "presence", {"type": "unavailable", "to": at.text}))

    def unsubscribe(self, request: Unsubscribe) -> Awaitable[None] | None:
        """Take a subscription back, and leave the channel if it was the last."""
        membership = self._membership(request.channel)
        pending = None
        if request.event is not None:
            membership.unsubscribe(request.event)
        if request.event is None or not membership.events:
            self._out(membership)
            pending = self._exit(membership)
        self._socket.send_text(answers.unsubscribed(request.channel, request.event, request.id))
        return pending

    def publish(self, request: Publish) -> Awaitable[None] | None:
        """Send a message to a channel."""
        membership = self._membership(request.channel)
        _check_event(request.event)
        # Behind what is ours stands the page's own id, so that an error can name it.
        id = f"{self._ids}{answers.quoted(request.id).decode()}"
        message = content.write(request.event, bytes(request.data), id)
        message.set("to", membership.channel.jid.text)
        self._channels.published.inc()
        return self._send(message)

    def _membership(self, channel: str) -> Membership:
        membership = self.memberships.get(channel)
        if membership is None:
            raise Problem("not-subscribed", "Subscribe to an event of the channel first")
        return membership

    def _send(self, stanza: Element) -> Awaitable[None] | None:
        return self._channels.host.dispatch.from_client(self.session, stanza)

    # --- What rooms send ---

    def took(self, stanza: Stanza) -> None:
        """Take a stanza."""
        assert stanza.sender is not None
        membership = self._rooms.get(stanza.sender.bare)
        if stanza.type == "groupchat":
            if membership is not None:
                self._said(membership, stanza)
        elif stanza.type == "error":
            if membership is not None:
                self._failed(membership, stanza)
        elif stanza.kind == "presence":
            if membership is not None:
                self._present(membership, stanza)
        elif stanza.type in ("get", "set", "chat", "normal"):
            self._channels.host.dispatch.post(stanza.error(ServiceUnavailable("A page reads its channels alone")))

    def _said(self, membership: Membership, message: Stanza) -> None:
        channel = membership.channel
        if membership.phase is Phase.IN:
            told = channel.read(message, is_history=False)
            if told is not None:
                if membership.take(told, self._ids):
                    self._channels.delivered.inc()
            elif message.sender == channel.jid:
                # The room's own word; occupants can write the same.
                channel.changed(changes(message.tree()))
        elif membership.phase is Phase.GREETED:
            if content.is_subject(message.tree()):
                # XEP-0045 section 7.2.15: the subject comes last.
                membership.enter()
            elif membership.is_first:
                channel.read(message, is_history=True)

    def _present(self, membership: Membership, presence: Stanza) -> None:
        channel = membership.channel
        if membership.phase is Phase.ENTERING and channel.is_known(presence):
            # Who enters is told of everybody; what the pages that are in know already need not be read.
            return
        seen = channel.look(presence)
        if not seen.is_here:
            channel.left(seen.nick)
            is_own = SELF in seen.codes or (seen.nick == membership.nick and membership.phase is not Phase.ENTERING)
            if is_own and RENAMED in seen.codes:
                membership.nick = seen.new_nick
            elif is_own:
                # The end of the room has no code 110 (section 10.9).
                self._removed(membership, seen.why or "You are not in the channel any more")
            return
        if SELF in seen.codes and membership.phase is Phase.ENTERING:
            membership.phase = Phase.GREETED
            membership.nick = seen.nick
            membership.is_first = channel.greeted(seen.codes)
        channel.came(seen.nick, seen.account)

    def _removed(self, membership: Membership, why: str) -> None:
        waiting = self._out(membership)
        self._socket.send_text(answers.error("removed", why, channel=membership.channel.name))
        self._refuse(waiting, Problem("removed", why))

    def _failed(self, membership: Membership, error: Stanza) -> None:
        code, text = _problem(error)
        if error.kind == "message":
            if error.id.startswith(self._ids):
                id = answers.unquoted(error.id.removeprefix(self._ids))
                self._socket.send_text(answers.error(code, text, channel=membership.channel.name, id=id))
        elif error.kind == "presence" and membership.phase is Phase.ENTERING:
            if code != "conflict" or not self._try_another_nick(membership):
                self._refuse(self._out(membership), Problem(code, text))

    def _try_another_nick(self, membership: Membership) -> bool:
        stem, _, number = membership.nick.partition(" (")
        following = int(number.rstrip(")")) + 1 if number else 2
        if following > _MAX_NICKS:
            return False
        membership.nick = f"{stem} ({following})"
        self._channels.host.dispatch.observe(self._enter(membership))
        return True

    def _refuse(self, waiting: list[Subscribe], problem: Problem) -> None:
        for request in waiting:
            self._socket.send_text(problem.answer(request))

    def _out(self, membership: Membership) -> list[Subscribe]:
        waiting, channel = membership.leave(), membership.channel
        del self.memberships[channel.name], self._rooms[channel.jid]
        self._channels.left(channel)
        return waiting


def _check_event(event: str) -> None:
    if not content.is_event(event):
        raise Problem("bad-event", f"The name of an event has 1 to {content.MAX_EVENT} printable characters")


def _problem(error: Stanza) -> tuple[str, str]:
    found = error.child(ns.CLIENT, "error")
    if found is None:
        return _OTHERWISE
    for each in found:
        namespace, _, condition = str(each.tag)[1:].partition("}")
        if namespace == ns.STANZA_ERRORS and condition in _REFUSED:
            return _REFUSED[condition]
    return _OTHERWISE
