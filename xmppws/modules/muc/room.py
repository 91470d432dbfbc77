"""A room: who is in it, what it remembers, and what its occupants see of each other.

Everything here and in the files that work on a room (`entry`, `talk`, `moderation`, `ownership`) is pure: a command
takes plain values, times and ids among them, changes the room, and returns the stanzas to send, in order. What somebody
may not do raises the `StanzaError` for it, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from xmppws.errors import Forbidden, NotAcceptable
from xmppws.jid import Jid
from xmppws.modules.muc.history import History
from xmppws.modules.muc.occupant import Occupant
from xmppws.modules.muc.options import MucOptions
from xmppws.modules.muc.privileges import INITIAL_ROLES, Affiliation, Privilege, Role
from xmppws.modules.muc.relay import Relay
from xmppws.modules.muc.settings import Settings
from xmppws.modules.muc.written import NOTHING, Note, item, made
from xmppws.xml.stanza import Stanza


class State(Enum):
    """Where a room is in its life."""

    LOCKED = "waits for its first configuration; nobody but its owner is let in (XEP-0045 section 10.1)"
    OPEN = "is there for everybody who may enter"
    STOPPED = "is over until the service runs again"
    DESTROYED = "is over"


class Standing(Struct, frozen=True):
    """What an account is to a room, and why, where somebody said so."""

    affiliation: Affiliation
    reason: str = ""


class Subject(Struct, frozen=True):
    """The subject: the content of the message that sets it, stamped, with its text, and who said so."""

    content: bytes
    text: str
    sender: Jid


class Room:
    """A room. `creator` is the account that it counts for; nobody but `standings` says who its owners are."""

    __slots__ = (
        "creator",
        "history",
        "jid",
        "occupants",
        "options",
        "relay",
        "sessions",
        "settings",
        "standings",
        "state",
        "subject",
    )

    def __init__(self, jid: Jid, creator: Jid, options: MucOptions, state: State, settings: Settings) -> None:
        self.jid = jid
        self.creator = creator
        self.options = options
        self.state = state
        self.settings = settings
        self.standings: dict[Jid, Standing] = {creator: Standing(Affiliation.OWNER)}
        self.occupants: dict[str, Occupant] = {}
        """By nickname."""
        self.sessions: dict[Jid, Occupant] = {}
        """By the full JID of each client."""
        self.history = History(options.history_length, options.max_history_size)
        self.subject: Subject | None = None
        self.relay = Relay()

    @property
    def is_over(self) -> bool:
        """Whether the room is to be forgotten."""
        # Section 7.14: "If the room is not persistent and this occupant is the last to exit, the service is responsible
        # for destroying the room."
        is_ended = self.state in (State.STOPPED, State.DESTROYED)
        return is_ended or not (self.occupants or self.settings.persistent)

    @property
    def limit(self) -> int:
        """How many occupants there may be."""
        return min(self.settings.max_occupants or self.options.max_occupants, self.options.max_occupants)

    def affiliation(self, account: Jid) -> Affiliation:
        """Return what an account is to the room."""
        standing = self.standings.get(account)
        return Affiliation.NONE if standing is None else standing.affiliation

    def initial_role(self, account: Jid) -> Role:
        """Return the role that an account enters with."""
        return INITIAL_ROLES[self.affiliation(account)][self.settings.moderated]

    def occupant(self, who: Jid) -> Occupant:
        """Return who a client is in the room. Raises `NotAcceptable` when it is not there."""
        occupant = self.sessions.get(who)
        if occupant is None:
            raise NotAcceptable("You are not in this room")
        return occupant

    def check_owner(self, account: Jid) -> None:
        """See that somebody is an owner. Raises `Forbidden`."""
        if self.affiliation(account) is not Affiliation.OWNER:
            raise Forbidden("That is for owners of the room")

    def presence_of(self, occupant: Occupant, viewer: Occupant, to: Jid) -> Stanza:
        """Return the presence of one occupant for a client of another."""
        jid = occupant.address.text if self._shows(occupant, viewer) else ""
        extension = item(self.affiliation(occupant.account), occupant.role, NOTHING, jid=jid)
        return made("presence", "", occupant.presence, to=to, sender=occupant.jid).plus(extension)

    def announce(self, occupant: Occupant, note: Note = NOTHING, *, but: Jid | None = None) -> list[Stanza]:
        """Return the presence of an occupant for everybody, its own clients last, without the client `but`."""
        shown = self._shown("", occupant.presence, occupant, occupant.role, note)
        return [each for each in shown if each.to != but]

    def announce_gone(
        self, occupant: Occupant, content: bytes, note: Note = NOTHING, role: Role = Role.NONE
    ) -> list[Stanza]:
        """Return unavailable presence of an occupant, which may have been removed, for everybody and itself."""
        return list(self._shown("unavailable", content, occupant, role, note))

    def own(self, occupant: Occupant, type: str, content: bytes, role: Role, note: Note, to: Jid) -> Stanza:
        """Return the presence of an occupant for a client of its own."""
        extension = item(self.affiliation(occupant.account), role, note, jid=to.text, own=True)
        return made("presence", type, content, to=to, sender=occupant.jid).plus(extension)

    def remove(self, occupant: Occupant) -> None:
        """Take an occupant out of the room, with all its clients."""
        del self.occupants[occupant.nick]
        for session in occupant.sessions:
            del self.sessions[session]
        self.relay.forget(occupant.sessions)

    def _shown(self, type: str, content: bytes, occupant: Occupant, role: Role, note: Note) -> Iterator[Stanza]:
        bare = made("presence", type, content, to=None, sender=occupant.jid)
        affiliation = self.affiliation(occupant.account)
        hidden = bare.plus(item(affiliation, role, note))
        named = bare.plus(item(affiliation, role, note, jid=occupant.address.text))
        for other in self.occupants.values():
            if other is not occupant:
                stanza = named if self._shows(occupant, other) else hidden
                for session in other.sessions:
                    yield stanza.addressed(to=session, sender=occupant.jid)
        for session in occupant.sessions:
            yield self.own(occupant, type, content, role, note, session)

    def _shows(self, occupant: Occupant, viewer: Occupant) -> bool:
        # Section 7.2.4: in semi-anonymous rooms moderators alone see who somebody is.
        return self.settings.non_anonymous or viewer.may(Privilege.SEE_JIDS) or viewer.account == occupant.account
