"""Entering a room, being seen in it, and leaving it (XEP-0045 sections 7.2, 7.6, 7.7 and 7.14)."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from xmppws.errors import (
    Conflict,
    Forbidden,
    ItemNotFound,
    JidMalformed,
    PolicyViolation,
    RegistrationRequired,
    ResourceConstraint,
    ServiceUnavailable,
    StanzaNotAuthorized,
)
from xmppws.jid import Jid
from xmppws.modules.muc.history import EVERYTHING, Wanted
from xmppws.modules.muc.occupant import Occupant
from xmppws.modules.muc.privileges import Affiliation, Role
from xmppws.modules.muc.room import Room, State
from xmppws.modules.muc.written import GONE, NO_SUBJECT, NOTHING, Note, made, with_id
from xmppws.xml.stanza import Stanza

# Section 7.2.9: "the room MUST allow the admin or owner to join, up to some reasonable number of additional occupants".
_MORE_ADMINS: Final = 10

CREATED: Final = 201
NON_ANONYMOUS: Final = 100
RENAMED: Final = 303
FAILED: Final = 333


class RoomFull(ServiceUnavailable):
    """There is no room for one more (section 7.2.9)."""

    type = "wait"


def enter(
    room: Room,
    who: Jid,
    at: Jid,
    presence: bytes,
    *,
    id: str = "",
    password: str = "",
    wanted: Wanted = EVERYTHING,
    created: bool = False,
) -> list[Stanza]:
    """Let a client in under the nickname of `at`, or show one that is in everything again (section 7.2.1).

    `presence` is the content of its presence without id and what belongs to MUC; `created` says that it made the room.
    """
    check_presence(room, presence)
    present = room.sessions.get(who)
    if present is not None and present.jid != at:
        return rename(room, who, at, presence)
    if present is None:
        _admit(room, who.bare, at, password)
        present = room.occupants.setdefault(at.resource, Occupant(at, who.bare, room.initial_role(who.bare)))
        room.sessions[who] = present
    present.show(who, presence)
    return _welcome(room, present, who, id, wanted, created)


def update(room: Room, who: Jid, at: Jid, presence: bytes) -> list[Stanza]:
    """Show everybody a client's new presence; under a new nickname, if `at` has one (sections 7.6 and 7.7)."""
    check_presence(room, presence)
    occupant = room.occupant(who)
    if occupant.jid != at:
        return rename(room, who, at, presence)
    occupant.show(who, presence)
    return room.announce(occupant)


def rename(room: Room, who: Jid, at: Jid, presence: bytes) -> list[Stanza]:
    """Give an occupant another nickname, in all its clients."""
    occupant = room.occupant(who)
    _check_nick(room, at)
    if at.resource in room.occupants:
        raise Conflict("Somebody in the room has that nickname")
    gone = room.announce_gone(occupant, GONE, Note((RENAMED,), nick=at.resource), occupant.role)
    # In its place, so that the order in which occupants are told stays that of entering.
    room.occupants = {at.resource if each is occupant else nick: each for nick, each in room.occupants.items()}
    occupant.jid = at
    occupant.show(who, presence)
    return [*gone, *room.announce(occupant)]


def leave(room: Room, who: Jid, presence: bytes = GONE, note: Note = NOTHING) -> list[Stanza]:
    """Let a client go; what it says in parting is the content of a presence. Nothing comes of it for a stranger."""
    occupant = room.sessions.get(who)
    if occupant is None:
        # Section 17.3: "silently ignore unavailable presence received from a user who has a role of "none"".
        return []
    if len(occupant.sessions) > 1:
        own = room.own(occupant, "unavailable", presence, Role.NONE, note, who)
        del occupant.sessions[who], room.sessions[who]
        room.relay.forget((who,))
        return [own, *room.announce(occupant)]
    return expel(room, occupant, presence, note)


def expel(room: Room, occupant: Occupant, presence: bytes = GONE, note: Note = NOTHING) -> list[Stanza]:
    """Remove an occupant with all its clients."""
    room.remove(occupant)
    return room.announce_gone(occupant, presence, note)


def fail(room: Room, who: Jid) -> list[Stanza]:
    """Remove a client that cannot be reached (sections 11.1 and 18.1.2)."""
    return leave(room, who, GONE, Note((FAILED,)))


def check_presence(room: Room, presence: bytes) -> None:
    """See that a presence is not too large. Raises `PolicyViolation`."""
    if len(presence) > room.options.max_presence_size:
        raise PolicyViolation(f"Presence in a room has at most {room.options.max_presence_size} bytes")


def _admit(room: Room, account: Jid, at: Jid, password: str) -> None:
    """Refuse whoever may not enter (sections 7.2.5 to 7.2.10)."""
    settings, affiliation = room.settings, room.affiliation(account)
    if affiliation is Affiliation.OUTCAST:
        raise Forbidden("You are banned from this room")
    if room.state is not State.OPEN and affiliation is not Affiliation.OWNER:
        raise ItemNotFound("There is no such room yet")
    if settings.members_only and affiliation is Affiliation.NONE:
        raise RegistrationRequired("This room is for its members")
    if settings.password and not compare_digest(settings.password.encode(), password.encode()):
        raise StanzaNotAuthorized("This room has another password" if password else "This room has a password")
    _check_nick(room, at)
    present = room.occupants.get(at.resource)
    if present is None:
        _check_room(room, affiliation)
    elif present.account != account:
        raise Conflict("Somebody in the room has that nickname")
    elif len(present.sessions) >= room.options.max_sessions:
        raise ResourceConstraint(f"An occupant has at most {room.options.max_sessions} clients in a room")


def _check_room(room: Room, affiliation: Affiliation) -> None:
    more = _MORE_ADMINS if affiliation >= Affiliation.ADMIN else 0
    if len(room.occupants) >= room.limit + more:
        raise RoomFull(f"There are {room.limit} occupants in the room, and no more may be")


def _check_nick(room: Room, at: Jid) -> None:
    if not at.resource.strip():
        raise JidMalformed("A nickname is more than spaces")
    if len(at.resource) > room.options.max_nick_length:
        raise JidMalformed(f"A nickname has at most {room.options.max_nick_length} characters")


def _welcome(room: Room, occupant: Occupant, who: Jid, id: str, wanted: Wanted, created: bool) -> list[Stanza]:
    others = [room.presence_of(each, occupant, who) for each in room.occupants.values() if each is not occupant]
    codes = (NON_ANONYMOUS,) * room.settings.non_anonymous + (CREATED,) * created
    # Section 7.2.2: "The service MUST first send the complete list of the existing occupants to the new occupant and
    # only then send the new occupant's own presence". The history comes after it, and the subject last.
    own = room.own(occupant, "", with_id(occupant.presence, id), occupant.role, Note(codes), who)
    history = room.history.select(who, wanted)
    return [*others, *room.announce(occupant, but=who), own, *history, _subject(room, who)]


def _subject(room: Room, to: Jid) -> Stanza:
    subject = room.subject
    if subject is None:
        # Section 7.2.15: "If there is no subject set, the room MUST return an empty <subject/> element."
        return made("message", "groupchat", NO_SUBJECT, to=to, sender=room.jid)
    return made("message", "groupchat", subject.content, to=to, sender=subject.sender)
