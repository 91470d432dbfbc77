"""Changing what others are in a room: roles and affiliations (XEP-0045 sections 8.2 to 8.5, 9 and 10.3 to 10.8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from xmppws.errors import BadRequest, Conflict, Forbidden, ItemNotFound, PolicyViolation, ResourceConstraint
from xmppws.jid import Jid
from xmppws.modules.muc.entry import expel
from xmppws.modules.muc.occupant import Occupant
from xmppws.modules.muc.privileges import (
    INITIAL_ROLES,
    LISTS,
    Affiliation,
    Privilege,
    Role,
    check_affiliation_change,
    check_role_change,
)
from xmppws.modules.muc.room import Room, Standing
from xmppws.modules.muc.written import GONE, Note
from xmppws.xml.stanza import Stanza

BANNED: Final = 301
KICKED: Final = 307
UNAFFILIATED: Final = 321


@dataclass(frozen=True, slots=True)
class RoleChange:
    """Who has a nickname is to have a role."""

    nick: str
    role: Role
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AffiliationChange:
    """An account is to have an affiliation."""

    account: Jid
    affiliation: Affiliation
    reason: str = ""


def change(room: Room, who: Jid, changes: Iterable[RoleChange | AffiliationChange]) -> list[Stanza]:
    """Make changes, all of them or none. `who` is the client of whoever asks for them."""
    changes = tuple(changes)
    if not changes:
        raise BadRequest("There is nothing to change")
    # Who is to go, goes first: it is not to see what becomes of the others.
    roles = sorted((each for each in changes if isinstance(each, RoleChange)), key=lambda each: each.role)
    affiliations = sorted(
        (each for each in changes if isinstance(each, AffiliationChange)), key=lambda each: each.affiliation
    )
    if roles and affiliations:
        raise BadRequest("A request changes roles or affiliations, not both")
    if len({each.nick for each in roles}) < len(roles) or len({e.account for e in affiliations}) < len(affiliations):
        raise BadRequest("A request changes what somebody is once")
    if any(len(each.reason) > room.options.max_reason_length for each in changes):
        raise PolicyViolation(f"A reason has at most {room.options.max_reason_length} characters")
    targets = [(_check_role(room, who, each), each) for each in roles]
    _check_affiliations(room, who.bare, affiliations)
    actor = room.sessions.get(who)
    name = actor.nick if actor is not None else ""
    if roles:
        return [stanza for target, each in targets for stanza in _set_role(room, target, each, name)]
    return [stanza for each in affiliations for stanza in _set_affiliation(room, each, name)]


def by_role(room: Room, who: Jid, role: Role) -> list[Occupant]:
    """Return the occupants with a role, for a moderator; moderators for an admin (sections 8.5 and 9.8)."""
    _check_moderator(room, who)
    if role is Role.MODERATOR and room.affiliation(who.bare) < Affiliation.ADMIN:
        raise Forbidden("The list of moderators is for admins of the room")
    return [occupant for occupant in room.occupants.values() if occupant.role is role]


def by_affiliation(room: Room, account: Jid, affiliation: Affiliation) -> list[tuple[Jid, Standing]]:
    """Return the accounts with an affiliation (sections 9.2, 9.5, 10.5 and 10.8)."""
    if affiliation not in LISTS[room.affiliation(account)][room.settings.non_anonymous]:
        raise Forbidden("That list is not for you")
    return [(each, standing) for each, standing in room.standings.items() if standing.affiliation is affiliation]


def _check_moderator(room: Room, who: Jid) -> None:
    actor = room.sessions.get(who)
    if actor is None or not actor.may(Privilege.MODERATE):
        raise Forbidden("That is for moderators of the room")


def _check_role(room: Room, who: Jid, change: RoleChange) -> Occupant:
    _check_moderator(room, who)
    target = room.occupants.get(change.nick)
    if target is None:
        raise ItemNotFound("Nobody in the room has that nickname")
    check_role_change(room.affiliation(who.bare), room.affiliation(target.account), target.role, change.role)
    if change.role is Role.NONE and target is room.sessions[who]:
        raise Conflict("Leave the room instead of kicking yourself")
    return target


def _check_affiliations(room: Room, account: Jid, changes: Iterable[AffiliationChange]) -> None:
    actor = room.affiliation(account)
    # As they will be: two changes may only together leave no owner.
    after = {each: standing.affiliation for each, standing in room.standings.items()}
    for each in changes:
        check_affiliation_change(actor, after.get(each.account, Affiliation.NONE), each.affiliation)
        if each.account == account and each.affiliation is Affiliation.OUTCAST:
            raise Conflict("You cannot ban yourself")
        after[each.account] = each.affiliation
    if Affiliation.OWNER not in after.values():
        raise Conflict("A room has at least one owner")
    if sum(affiliation is not Affiliation.NONE for affiliation in after.values()) > room.options.max_affiliations:
        raise ResourceConstraint(f"A room remembers at most {room.options.max_affiliations} accounts")


def _set_role(room: Room, target: Occupant, change: RoleChange, actor: str) -> list[Stanza]:
    if target.role is change.role:
        return []
    if change.role is Role.NONE:
        return expel(room, target, GONE, Note((KICKED,), actor, change.reason))
    target.role = change.role
    return room.announce(target, Note(reason=change.reason))


def _set_affiliation(room: Room, change: AffiliationChange, actor: str) -> list[Stanza]:
    account, new = change.account, change.affiliation
    old = room.affiliation(account)
    if new is Affiliation.NONE:
        room.standings.pop(account, None)
    else:
        room.standings[account] = Standing(new, change.reason)
    if new is old:
        return []
    note = Note((), actor, change.reason)
    present = [occupant for occupant in room.occupants.values() if occupant.account == account]
    return [stanza for occupant in present for stanza in _follow(room, occupant, old, new, note)]


def _follow(room: Room, occupant: Occupant, old: Affiliation, new: Affiliation, note: Note) -> list[Stanza]:
    """Give an occupant the role that goes with a new affiliation, or none."""
    if new is Affiliation.OUTCAST:
        return expel(room, occupant, GONE, Note((BANNED,), note.actor, note.reason))
    if new is Affiliation.NONE and room.settings.members_only:
        return expel(room, occupant, GONE, Note((UNAFFILIATED,), note.actor, note.reason))
    initial = INITIAL_ROLES[new][room.settings.moderated]
    # Section 5.1.3: the role that is gained with an affiliation is sure, what is lost with one is ours to say.
    occupant.role = max(occupant.role, initial) if new > old else initial
    return room.announce(occupant, Note((), "", note.reason))
