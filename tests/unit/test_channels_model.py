"""Any sequence of what pages and an XMPP client do in channels, against a model that is a few sets and lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import World
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.modules.channels import Channels
from xmppws.modules.channels.options import ChannelsOptions
from xmppws.modules.channels.places import Places
from xmppws.modules.channels.requests import Problem, Publish, Subscribe, Unsubscribe
from xmppws.modules.channels.stream import PageSession, PageStream
from xmppws.modules.muc.privileges import Affiliation
from xmppws.modules.muc.room import Standing

MUC = "http://jabber.org/protocol/muc"
GONE = End(Reason.CLIENT_GONE, Side.CLIENT)
CHANNELS = ("aa", "bb")
EVENTS = ("x", "y")
# Two pages of one user; with the client, one user more than a channel takes.
USERS = ("ann", "ann", "ben", "cid", "dan")
LIMIT = 4
HISTORY = 2
# As many copies of messages are recognised, of whatever event.
KEPT = 16


class Socket:
    """Keeps what a page is sent, as JSON."""

    id = "id"
    address = "192.0.2.1"

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []

    def send_text(self, *messages: bytes) -> None:
        self.got += map(json.loads, messages)

    def send_frames(self, frames: bytes) -> None:
        size, start = frames[1], 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4]), 4
        assert len(frames) == start + size, "one frame at a time"
        self.got.append(json.loads(frames[start:]))


class Member:
    """A page, and what it has to know."""

    def __init__(self, channels: Channels, number: int) -> None:
        self.user = USERS[number]
        self.socket = Socket()
        stream = PageStream(self.socket, secure=True)  # type: ignore[arg-type]
        account = Jid.parse(f"{self.user}@localhost")
        session = channels.host.bind(account, str(number), stream, None, PageSession)
        self.places = Places(channels, session, self.socket)  # type: ignore[arg-type]
        stream.took = self.places.took
        self.events: dict[str, set[str]] = {}
        """By channel."""
        self.due: list[tuple[str, str, int]] = []
        """Messages that it has to get: channel, event, number."""
        self.view: dict[str, set[str]] = {}
        """Who is in its channels, as it was told."""


class Play:
    """The server and the model, which do the same. Numbers tell messages apart."""

    def __init__(self) -> None:
        self.world = World(Channels)
        module = self.world.host.modules["channels"]
        assert isinstance(module, Channels)
        self.channels = module
        self.channels.options = ChannelsOptions(max_room_users=LIMIT, history_length=HISTORY)
        self.muc: Any = self.world.host.modules["muc"]
        self.members: dict[int, Member] = {}
        self.client: Session = self.world.session("eve@localhost/client")
        self.nick: dict[str, str] = {}
        """Of the client, by channel."""
        self.said: dict[str, list[tuple[str, int]]] = {}
        """The latest of each channel that has a room."""
        self.kept: set[int] = set()
        """What rooms keep for those who come: the messages of pages, which have a body."""
        self.number = 0

    # --- what there is ---

    def member(self, number: int) -> Member:
        if number not in self.members:
            self.members[number] = Member(self.channels, number)
        return self.members[number]

    def inside(self, channel: str) -> list[Member]:
        return [member for member in self.members.values() if channel in member.events]

    def nicks(self, channel: str) -> set[str]:
        return {member.user for member in self.inside(channel)} | {self.nick[channel]} - {""}

    # --- what is done ---

    async def ask(self, member: Member, request: Subscribe | Unsubscribe | Publish) -> str:
        """Return the code of the refusal, or nothing."""
        places = member.places
        try:
            if isinstance(request, Subscribe):
                await self.done(places.subscribe(request))
            elif isinstance(request, Unsubscribe):
                await self.done(places.unsubscribe(request))
            else:
                await self.done(places.publish(request))
        except Problem as problem:
            return problem.code
        return ""

    async def done(self, pending: Awaitable[None] | None) -> None:
        if pending is not None:
            await pending
        await self.world.dispatch.drain()

    async def subscribe(self, number: int, channel: str, event: str, history: int) -> None:
        member = self.member(number)
        users, is_in = self.nicks(channel), channel in member.events
        is_full = not is_in and member.user not in users and len(users) >= LIMIT
        assert await self.ask(member, Subscribe(channel, event, history)) == ""
        if is_full:
            refused = member.socket.got.pop()
            assert (refused["type"], refused["code"]) == ("error", "channel-full")
            return
        if not is_in:
            self.said.setdefault(channel, [])
        events = member.events.setdefault(channel, set())
        known = event in events
        events.add(event)
        member.view.setdefault(channel, set(self.nicks(channel)))
        if not known:
            wanted = [each for each in self.said[channel][-KEPT:] if each[0] == event][-min(history, HISTORY) :]
            member.due += [(channel, *each) for each in wanted if history]

    async def unsubscribe(self, number: int, channel: str, event: str | None) -> None:
        member = self.member(number)
        code = await self.ask(member, Unsubscribe(channel, event))
        assert code == ("" if channel in member.events else "not-subscribed")
        if channel in member.events:
            member.events[channel] -= {event} if event else set(EVENTS)
            if not member.events[channel]:
                self.out(member, channel)

    async def publish(self, number: int, channel: str, event: str, times: int) -> None:
        member = self.member(number)
        for _ in range(times):
            self.number += 1
            code = await self.ask(member, Publish(channel, event, msgspec.Raw(b"%d" % self.number)))
            assert code == ("" if channel in member.events else "not-subscribed")
            if not code:
                self.kept.add(self.number)
                self.tell(channel, event)

    async def close(self, number: int) -> None:
        member = self.members.pop(number, None)
        if member is not None:
            member.places.close(GONE)
            await self.done(None)
            self.check_messages(member)
            for channel in tuple(member.events):
                self.out(member, channel)

    async def enter(self, channel: str, nick: str) -> None:
        """Enter as the XMPP client, or take another nickname."""
        if not self.nick[channel] and (len(self.nicks(channel)) >= LIMIT or not self.inside(channel)):
            return
        if nick in self.nicks(channel):
            return
        await self.xmpp(
            f"<presence xmlns='jabber:client' to='{channel}@conference.localhost/{nick}'><x xmlns='{MUC}'/></presence>"
        )
        self.nick[channel] = nick

    async def leave(self, channel: str) -> None:
        if self.nick[channel]:
            to = f"{channel}@conference.localhost/{self.nick[channel]}"
            await self.xmpp(f"<presence xmlns='jabber:client' type='unavailable' to='{to}'/>")
            self.nick[channel] = ""
            if not self.inside(channel):
                self.said.pop(channel, None)

    async def say(self, channel: str, event: str) -> None:
        if self.nick[channel]:
            self.number += 1
            json_ = f"<json xmlns='urn:xmpp:json:0'>{self.number}</json>"
            inside = f"<event xmlns='urn:xmppws:channels:0' name='{event}'>{json_}</event>"
            to = f"{channel}@conference.localhost"
            await self.xmpp(f"<message xmlns='jabber:client' to='{to}' type='groupchat'>{inside}</message>")
            self.tell(channel, event)

    async def kick(self, channel: str, number: int) -> None:
        """Remove a user, with all its pages."""
        user = USERS[number]
        if not self.nick[channel] or user not in self.nicks(channel):
            return
        room = self.muc.rooms[Jid.parse(f"{channel}@conference.localhost")]
        room.standings[Jid.parse("eve@localhost")] = Standing(Affiliation.OWNER)
        room.sessions[self.client.jid].role = room.initial_role(self.client.account)
        item = f"<query xmlns='{MUC}#admin'><item nick='{user}' role='none'/></query>"
        await self.xmpp(f"<iq xmlns='jabber:client' id='k' type='set' to='{room.jid.text}'>{item}</iq>")
        for member in self.inside(channel):
            if member.user == user:
                assert member.socket.got.pop()["code"] == "removed"
                self.out(member, channel)

    async def xmpp(self, text: str) -> None:
        await self.world.says(self.client, text)

    # --- what follows ---

    def tell(self, channel: str, event: str) -> None:
        if self.inside(channel):
            self.said[channel].append((event, self.number))
        for member in self.inside(channel):
            if event in member.events[channel]:
                member.due.append((channel, event, self.number))

    def out(self, member: Member, channel: str) -> None:
        del member.events[channel], member.view[channel]
        if not self.inside(channel):
            # Who comes next is told of what the room still has, if there is one.
            said = self.said.pop(channel)
            if self.nick[channel]:
                self.said[channel] = [each for each in said if each[1] in self.kept][-HISTORY:]

    def check(self) -> None:
        """See that every page knows what it has to know, and no more is kept than there is."""
        assert {name: channel.pages for name, channel in self.channels._channels.items()} == {
            channel: len(self.inside(channel)) for channel in CHANNELS if self.inside(channel)
        }
        for member in self.members.values():
            self.check_messages(member)
            assert set(member.places.memberships) == set(member.events)
        for channel in CHANNELS:
            assert all(member.view[channel] == self.nicks(channel) for member in self.inside(channel)), channel

    def check_messages(self, member: Member) -> None:
        got: list[tuple[str, str, int]] = []
        for message in member.socket.got:
            kind, channel = message["type"], message["channel"]
            if kind == "message":
                got.append((channel, message["event"], message["data"]))
            elif kind == "subscribed":
                assert {user["nick"] for user in message["users"]} == self.nicks(channel) or channel in member.view
            elif kind in ("enter", "leave") and channel in member.view:
                nick = message["sender"]["nick"]
                assert (nick in member.view[channel]) is (kind == "leave"), "told twice"
                member.view[channel] ^= {nick}
        assert got == member.due
        member.socket.got.clear()
        member.due.clear()


NUMBERS = st.integers(0, len(USERS) - 1)
CHANNEL = st.sampled_from((*CHANNELS, CHANNELS[0], CHANNELS[0]))
EVENT = st.sampled_from((*EVENTS, EVENTS[0]))
STEPS = st.one_of(
    st.tuples(st.just("subscribe"), NUMBERS, CHANNEL, EVENT, st.integers(0, 5)),
    st.tuples(st.just("subscribe"), NUMBERS, CHANNEL, EVENT, st.just(0)),
    st.tuples(st.just("unsubscribe"), NUMBERS, CHANNEL, st.none() | EVENT),
    st.tuples(st.just("publish"), NUMBERS, CHANNEL, EVENT, st.integers(1, 4)),
    st.tuples(st.just("close"), NUMBERS),
    st.tuples(st.just("enter"), CHANNEL, st.sampled_from(("Eve", "Eva"))),
    st.tuples(st.just("leave"), CHANNEL),
    st.tuples(st.just("say"), CHANNEL, EVENT),
    st.tuples(st.just("kick"), CHANNEL, NUMBERS),
)


async def play(steps: list[tuple[Any, ...]]) -> None:
    game = Play()
    game.nick = dict.fromkeys(CHANNELS, "")
    for name, *arguments in steps:
        await getattr(game, name)(*arguments)
        game.check()
    for number in tuple(game.members):
        await game.close(number)
    for channel in CHANNELS:
        await game.leave(channel)
    assert not game.channels._channels and not game.muc.rooms
    assert len(game.world.host.sessions) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=40))
def test_channels_are_what_the_model_says(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(steps))


@pytest.mark.soak
@settings(max_examples=1000, deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=80))
def test_long_sequences(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(steps))
