"""Settings of a room, and its end (XEP-0045 section 10)."""

from __future__ import annotations

from typing import Final

from xmppws.errors import PolicyViolation
from xmppws.jid import Jid
from xmppws.modules.muc.entry import expel
from xmppws.modules.muc.privileges import Affiliation, Role
from xmppws.modules.muc.room import Room, State
from xmppws.modules.muc.settings import Settings
from xmppws.modules.muc.written import GONE, Note, changed, destroyed, item, made
from xmppws.xml.stanza import Stanza

CONFIGURED: Final = 104
NOW_NON_ANONYMOUS: Final = 172
NOW_SEMI_ANONYMOUS: Final = 173
NOT_MEMBER: Final = 322
SHUTDOWN: Final = 332


def configure(room: Room, account: Jid, settings: Settings) -> list[Stanza]:
    """Put settings in force, and open a room that waits for them (sections 10.1 and 10.2)."""
    room.check_owner(account)
    old, room.settings = room.settings, settings
    if room.state is State.LOCKED:
        room.state = State.OPEN
    if settings == old:
        return []
    effects = _expel_strangers(room) if settings.members_only else []
    if old.moderated and not settings.moderated:
        effects += _give_voice(room)
    codes = (CONFIGURED,)
    if settings.non_anonymous is not old.non_anonymous:
        codes = (NOW_NON_ANONYMOUS if settings.non_anonymous else NOW_SEMI_ANONYMOUS,)
    told = made("message", "groupchat", changed(*codes), to=None, sender=room.jid)
    return [*effects, *(told.addressed(to=session, sender=room.jid) for session in room.sessions)]


def cancel(room: Room, account: Jid) -> list[Stanza]:
    """Take note that an owner does not submit settings: that ends a room that waits for its first (section 10.1.3)."""
    room.check_owner(account)
    return destroy(room, account) if room.state is State.LOCKED else []


def destroy(room: Room, account: Jid, reason: str = "", venue: str = "", password: str = "") -> list[Stanza]:
    """End a room, and tell everybody in it why, and where to go (section 10.9)."""
    room.check_owner(account)
    if max(len(reason), len(venue), len(password)) > room.options.max_reason_length:
        raise PolicyViolation(f"A reason has at most {room.options.max_reason_length} characters")
    return _end(room, State.DESTROYED, destroyed(reason, venue, password))


def shut_down(room: Room) -> list[Stanza]:
    """Tell everybody in a room that the service ends (section 11.2)."""
    return _end(room, State.STOPPED, item(Affiliation.NONE, Role.NONE, Note((SHUTDOWN,)), own=True))


def _end(room: Room, state: State, told: bytes) -> list[Stanza]:
    # "It SHOULD NOT broadcast presence stanzas of type "unavailable" from all occupants, instead sending only one".
    gone = made("presence", "unavailable", GONE, to=None, sender=None).plus(told)
    effects = [gone.addressed(to=session, sender=occupant.jid) for session, occupant in room.sessions.items()]
    room.occupants.clear()
    room.sessions.clear()
    room.state = state
    return effects


def _expel_strangers(room: Room) -> list[Stanza]:
    # Section 10.2: "If ... the room type is changed to members-only but there are non-members in the room, the service
    # MUST remove any non-members".
    strangers = [each for each in room.occupants.values() if room.affiliation(each.account) is Affiliation.NONE]
    return [stanza for each in strangers for stanza in expel(room, each, GONE, Note((NOT_MEMBER,)))]


def _give_voice(room: Room) -> list[Stanza]:
    visitors = [each for each in room.occupants.values() if each.role is Role.VISITOR]
    for each in visitors:
        each.role = Role.PARTICIPANT
    return [stanza for each in visitors for stanza in room.announce(each)]
