"""Whatever is done to a room, and in which order: no outcast reads, and nobody writes who may not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any
from xml.etree import ElementTree

import hypothesis.strategies as st
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rooms import AVAILABLE, CLIENT, NOW, OWNER, USER, at, jid, make, message, stanza, subject
from xmppws.errors import StanzaError
from xmppws.jid import Jid
from xmppws.modules.muc import entry, moderation, ownership, talk
from xmppws.modules.muc.history import EVERYTHING
from xmppws.modules.muc.moderation import AffiliationChange, RoleChange
from xmppws.modules.muc.options import MucOptions
from xmppws.modules.muc.privileges import Affiliation, Role
from xmppws.modules.muc.room import Room, Standing, State
from xmppws.modules.muc.settings import Settings
from xmppws.xml.stanza import Stanza

NAMES = ("owner", "alice", "bob", "bob/two", "carol")
NICKS = ("Owner", "Alice", "Bob", "Carol", "x")
OPTIONS = MucOptions(max_sessions=2, max_affiliations=4, history_length=3)
BODY, SUBJECT = "secret words", "secret subject"

clients = st.sampled_from(NAMES).map(jid)
# Most of what others may not do nor see begins with what an owner has done.
rulers = st.sampled_from(("owner", "owner", "owner", *NAMES)).map(jid)
accounts = clients.map(lambda client: client.bare)
nicks = st.sampled_from(NICKS)
role_changes = st.builds(RoleChange, nicks, st.sampled_from(Role))
affiliation_changes = st.builds(AffiliationChange, accounts, st.sampled_from(Affiliation))
changes = (
    st.lists(affiliation_changes, min_size=1, max_size=2)
    | st.lists(role_changes, min_size=1, max_size=2)
    | st.lists(affiliation_changes | role_changes, max_size=3)
)
room_settings = st.builds(
    Settings,
    members_only=st.booleans(),
    moderated=st.booleans(),
    password=st.sampled_from(("", "", "", "pass")),
    non_anonymous=st.booleans(),
    open_subject=st.booleans(),
    max_occupants=st.sampled_from((0, 0, 0, 2)),
)


def snapshot(room: Room) -> tuple[Any, ...]:
    """Return all that a refused command must leave as it was."""
    present = [(each.jid, each.account, each.role, tuple(each.sessions.items())) for each in room.occupants.values()]
    history = [message.wire for message in room.history.select(OWNER, EVERYTHING)]
    standings = tuple(room.standings.items())
    return (room.state, room.settings, standings, tuple(present), tuple(room.sessions), room.subject, tuple(history))


class Rooms(RuleBasedStateMachine):
    @initialize(
        settings=room_settings,
        state=st.sampled_from((State.OPEN, State.OPEN, State.OPEN, State.LOCKED)),
        standings=st.dictionaries(accounts, st.sampled_from(Affiliation), max_size=3),
        inside=st.sets(st.sampled_from(NAMES)),
    )
    def begin(
        self, settings: Settings, state: State, standings: dict[Jid, Affiliation], inside: Collection[str]
    ) -> None:
        self.room = make(OPTIONS, state)
        self.room.settings = settings
        for account, affiliation in standings.items():
            if account != OWNER and affiliation is not Affiliation.NONE:
                self.room.standings[account] = Standing(affiliation)
        for name in inside:
            self.command(entry.enter, jid(name), at(name.partition("/")[0].title()), AVAILABLE, password="pass")

    def command(self, command: Callable[..., Iterable[Stanza]], *values: Any, **more: Any) -> list[Stanza]:
        """Give a command; look at what it leads to."""
        room = self.room
        before, sessions, moderators = snapshot(room), set(room.sessions), self.moderators()
        try:
            effects = list(command(room, *values, **more))
        except StanzaError:
            assert snapshot(room) == before
            return []
        for effect in effects:
            assert effect.to in sessions | set(room.sessions), effect.wire
            self.check_outcast(effect)
            self.check_hidden(effect, moderators | self.moderators())
        return effects

    def moderators(self) -> set[Jid]:
        return {who for who, each in self.room.sessions.items() if each.role is Role.MODERATOR}

    def check_outcast(self, effect: Stanza) -> None:
        assert effect.to is not None
        if self.room.affiliation(effect.to.bare) is Affiliation.OUTCAST:
            assert (effect.kind, effect.type) == ("presence", "unavailable"), effect.wire

    def check_hidden(self, effect: Stanza, moderators: set[Jid]) -> None:
        assert effect.to is not None
        if not self.room.settings.non_anonymous and effect.to not in moderators:
            jids = [item.get("jid") for item in ElementTree.fromstring(effect.wire).iter(f"{USER}item")]
            assert all(text is None or Jid.parse(text).bare == effect.to.bare for text in jids), effect.wire

    @rule(who=clients, nick=nicks, password=st.sampled_from(("", "pass", "wrong")))
    def enter(self, who: Jid, nick: str, password: str) -> None:
        was_inside, affiliation = who in self.room.sessions, self.room.affiliation(who.bare)
        locked, settings = self.room.state is not State.OPEN, self.room.settings
        effects = self.command(entry.enter, who, at(nick), AVAILABLE, password=password)
        if effects and not was_inside:
            assert affiliation is not Affiliation.OUTCAST
            assert affiliation is Affiliation.OWNER or not locked
            assert affiliation is not Affiliation.NONE or not settings.members_only
            assert settings.password in ("", password)

    @rule(who=clients, nick=nicks)
    def update(self, who: Jid, nick: str) -> None:
        self.command(entry.update, who, at(nick), AVAILABLE)

    @rule(who=clients, command=st.sampled_from((entry.leave, entry.fail)))
    def leave(self, who: Jid, command: Callable[..., list[Stanza]]) -> None:
        self.command(command, who)
        assert who not in self.room.sessions

    @rule(who=clients, words=st.sampled_from((BODY, SUBJECT)))
    def speak(self, who: Jid, words: str) -> None:
        sender, listeners, was = self.room.sessions.get(who), set(self.room.sessions), self.room.subject
        said = message(BODY) if words == BODY else subject(SUBJECT)
        effects = self.command(talk.say, who, said, NOW)
        assert {effect.to for effect in effects} in (set(), listeners)
        if effects or self.room.subject is not was:
            least = Role.PARTICIPANT if words == BODY or self.room.settings.open_subject else Role.MODERATOR
            assert sender is not None and sender.role >= least
            assert all(effect.sender == sender.jid for effect in effects)

    @rule(who=clients, nick=nicks)
    def whisper(self, who: Jid, nick: str) -> None:
        effects = self.command(talk.whisper, who, nick, stanza(f"<message type='chat'><body>{BODY}</body></message>"))
        assert not effects or who in self.room.sessions
        assert all(effect.to in self.room.occupants[nick].sessions for effect in effects)

    @rule(who=clients, answerer=clients, nick=nicks)
    def ask(self, who: Jid, answerer: Jid, nick: str) -> None:
        request = stanza("<iq type='get' id='1'><query xmlns='jabber:iq:version'/></iq>")
        for effect in self.command(talk.ask, who, nick, request, "new"):
            assert who in self.room.sessions and effect.to in self.room.occupants[nick].sessions
            answers = self.command(talk.answer, answerer, stanza("<iq type='result' id='new'/>"))
            assert [answer.to for answer in answers] == ([who] if answerer == effect.to else [])

    @rule(who=rulers, changes=changes)
    def change(self, who: Jid, changes: list[RoleChange | AffiliationChange]) -> None:
        affiliation, occupant = self.room.affiliation(who.bare), self.room.sessions.get(who)
        before = snapshot(self.room)
        is_moderator = occupant is not None and occupant.role is Role.MODERATOR
        self.command(moderation.change, who, changes)
        if not is_moderator and affiliation < Affiliation.ADMIN:
            assert snapshot(self.room) == before

    @rule(who=rulers, settings=room_settings)
    def configure(self, who: Jid, settings: Settings) -> None:
        self.command(ownership.configure, who.bare, settings)

    @rule(who=clients)
    def destroy(self, who: Jid) -> None:
        is_owner = self.room.affiliation(who.bare) is Affiliation.OWNER
        self.command(ownership.destroy, who.bare)
        assert (self.room.state is State.DESTROYED) is is_owner
        if is_owner:
            self.begin(self.room.settings, State.OPEN, {}, NAMES)

    @invariant()
    def holds_together(self) -> None:
        if not hasattr(self, "room"):
            return
        room = self.room
        listed = {who: each for each in room.occupants.values() for who in each.sessions}
        assert listed == room.sessions
        for nick, each in room.occupants.items():
            assert each.nick == nick and each.sessions and each.role is not Role.NONE
            assert {who.bare for who in each.sessions} == {each.account}
            assert len(each.sessions) <= OPTIONS.max_sessions
            affiliation = room.affiliation(each.account)
            assert affiliation is not Affiliation.OUTCAST
            assert affiliation is not Affiliation.NONE or not room.settings.members_only
        assert Affiliation.OWNER in {standing.affiliation for standing in room.standings.values()}
        assert len(room.standings) <= OPTIONS.max_affiliations
        assert len(room.history.select(OWNER, EVERYTHING)) <= OPTIONS.history_length


TestRooms = Rooms.TestCase
TestRooms.settings = hypothesis_settings(max_examples=200, stateful_step_count=20, deadline=None)


def test_a_message_is_what_occupants_get() -> None:
    """What the rules above look for is there at all."""
    room = make()
    entry.enter(room, jid("alice"), at("Alice"), AVAILABLE)
    (copy,) = talk.say(room, jid("alice"), message(BODY), NOW)
    assert ElementTree.fromstring(copy.wire).findtext(f"{CLIENT}body") == BODY
