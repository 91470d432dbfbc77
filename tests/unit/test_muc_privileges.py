"""Who may do what in a room: every role and affiliation, on both sides, against every action."""

from __future__ import annotations

from itertools import product

import pytest

from rooms import NOW, affiliate, jid, join, make, message, subject
from xmppws.errors import Conflict, Forbidden, NotAcceptable, NotAllowed, RegistrationRequired, StanzaError
from xmppws.modules.muc import moderation, ownership, talk
from xmppws.modules.muc.moderation import AffiliationChange, RoleChange
from xmppws.modules.muc.privileges import CHANGES, INITIAL_ROLES, LISTS, PRIVILEGES, ROLE_RULES, Affiliation, Role
from xmppws.modules.muc.room import Room
from xmppws.modules.muc.settings import Settings

OUTCAST, NONE, MEMBER, ADMIN, OWNER = Affiliation
NO_ROLE, VISITOR, PARTICIPANT, MODERATOR = Role
PRESENT = (VISITOR, PARTICIPANT, MODERATOR)


def place(room: Room, name: str, role: Role, affiliation: Affiliation) -> None:
    """Put somebody into a room, with whatever role and affiliation."""
    join(room, name)
    room.occupants[name.title()].role = role
    affiliate(room, name, affiliation)


def outcome(room: Room, *changes: RoleChange | AffiliationChange) -> type[StanzaError] | None:
    try:
        moderation.change(room, jid("actor"), changes)
    except StanzaError as error:
        return type(error)
    return None


def role_refusal(actor: Role, by: Affiliation, target: Role, of: Affiliation, new: Role) -> type[StanzaError] | None:
    """Say what XEP-0045 says of a change of role."""
    if actor is not MODERATOR:
        return Forbidden
    if new is target:
        return None
    if new is NO_ROLE and of > by:
        return NotAllowed  # 8.2: "A user cannot be kicked by a moderator with a lower affiliation."
    if (target, new) == (PARTICIPANT, VISITOR) and (of >= by or of in (ADMIN, OWNER)):
        return NotAllowed  # 8.4: "a user whose affiliation is at or above the moderator's level".
    if target is MODERATOR and new in (VISITOR, PARTICIPANT) and (of in (ADMIN, OWNER) or of >= by):
        return NotAllowed  # 9.7: "only from a user whose affiliation is "member" or "none"".
    if MODERATOR in (target, new) and by not in (ADMIN, OWNER):
        return Forbidden  # 9.6, 9.7 and 5.1.3: moderators are made and unmade by admins and owners.
    return None


@pytest.mark.parametrize(("actor", "by"), [*product(PRESENT, (NONE, MEMBER, ADMIN, OWNER))])
def test_roles_are_changed_by_whom_the_specification_says(actor: Role, by: Affiliation) -> None:
    for target, of, new in product(PRESENT, (NONE, MEMBER, ADMIN, OWNER), Role):
        room = make()
        place(room, "actor", actor, by)
        place(room, "target", target, of)
        expected = role_refusal(actor, by, target, of, new)
        assert outcome(room, RoleChange("Target", new)) is expected, (target, of, new)
        now = room.occupants.get("Target")
        assert (now.role if now else NO_ROLE) is (target if expected else new)


def test_who_is_not_in_the_room_changes_no_roles() -> None:
    room = make()
    place(room, "target", VISITOR, NONE)
    affiliate(room, "actor", OWNER)
    assert outcome(room, RoleChange("Target", PARTICIPANT)) is Forbidden


def affiliation_refusal(by: Affiliation, of: Affiliation, new: Affiliation) -> type[StanzaError] | None:
    if by not in (ADMIN, OWNER):
        return Forbidden
    if by is ADMIN and of in (ADMIN, OWNER):
        return NotAllowed  # 9.1: "if an admin attempts to ban an owner ... <not-allowed/>".
    if by is ADMIN and new in (ADMIN, OWNER):
        return Forbidden  # 10.3, 10.6: by owners only.
    return None


@pytest.mark.parametrize("by", (None, *Affiliation))
def test_affiliations_are_changed_by_whom_the_specification_says(by: Affiliation | None) -> None:
    for of, new, inside in product(Affiliation, Affiliation, (True, False)):
        room = make()
        if by is not None:
            affiliate(room, "actor", by)
        if inside:
            join(room, "target")
        affiliate(room, "target", of)
        expected = affiliation_refusal(by or NONE, of, new)
        assert outcome(room, AffiliationChange(jid("target").bare, new)) is expected, (of, new)
        assert room.affiliation(jid("target").bare) is (of if expected else new)
        if inside and not expected:
            assert ("Target" in room.occupants) is (new is not OUTCAST or of is OUTCAST)


@pytest.mark.parametrize(("affiliation", "moderated", "members_only"), [*product(Affiliation, (0, 1), (0, 1))])
def test_who_enters_and_with_which_role(affiliation: Affiliation, moderated: int, members_only: int) -> None:
    room = make(moderated=bool(moderated), members_only=bool(members_only))
    affiliate(room, "user", affiliation)
    refused = {OUTCAST: Forbidden, NONE: RegistrationRequired if members_only else None}.get(affiliation)
    if refused:
        with pytest.raises(refused):
            join(room, "user")
        assert not room.occupants and not room.sessions
        return
    join(room, "user")
    expected = {NONE: VISITOR if moderated else PARTICIPANT, MEMBER: PARTICIPANT}.get(affiliation, MODERATOR)
    assert room.occupants["User"].role is expected


@pytest.mark.parametrize(("role", "open_subject"), [*product((None, *PRESENT), (False, True))])
def test_who_speaks_and_sets_the_subject(role: Role | None, open_subject: bool) -> None:
    room = make(open_subject=open_subject)
    if role is not None:
        place(room, "user", role, NONE)
    may_speak = role in (PARTICIPANT, MODERATOR)
    may_set = role is MODERATOR or (open_subject and role is PARTICIPANT)
    for stanza, allowed in ((message(), may_speak), (subject("s"), may_set)):
        if allowed:
            assert len(list(talk.say(room, jid("user"), stanza, NOW))) == 1
        else:
            with pytest.raises(Forbidden if role else NotAcceptable):
                talk.say(room, jid("user"), stanza, NOW)
    assert (room.subject is not None) is may_set


@pytest.mark.parametrize("affiliation", Affiliation)
def test_settings_and_the_end_are_for_owners(affiliation: Affiliation) -> None:
    for command in (
        lambda room, user: ownership.configure(room, user, Settings(name="new")),
        ownership.cancel,
        ownership.destroy,
    ):
        room = make()
        affiliate(room, "user", affiliation)
        before = (room.state, room.settings)
        if affiliation is OWNER:
            command(room, jid("user").bare)
        else:
            with pytest.raises(Forbidden):
                command(room, jid("user").bare)
            assert (room.state, room.settings) == before


@pytest.mark.parametrize(
    ("affiliation", "non_anonymous", "wanted"), [*product(Affiliation, (False, True), Affiliation)]
)
def test_who_sees_lists_of_accounts(affiliation: Affiliation, non_anonymous: bool, wanted: Affiliation) -> None:
    room = make(non_anonymous=non_anonymous)
    affiliate(room, "user", affiliation)
    # 5.2.1: members see members, where no address is hidden.
    is_open = affiliation is MEMBER and non_anonymous and wanted in (MEMBER, ADMIN, OWNER)
    if affiliation in (ADMIN, OWNER) or is_open:
        assert all(s.affiliation is wanted for _, s in moderation.by_affiliation(room, jid("user").bare, wanted))
    else:
        with pytest.raises(Forbidden):
            moderation.by_affiliation(room, jid("user").bare, wanted)


@pytest.mark.parametrize(("role", "affiliation", "wanted"), [*product(PRESENT, (NONE, MEMBER, ADMIN, OWNER), Role)])
def test_who_sees_lists_of_roles(role: Role, affiliation: Affiliation, wanted: Role) -> None:
    room = make()
    place(room, "user", role, affiliation)
    if role is MODERATOR and (wanted is not MODERATOR or affiliation in (ADMIN, OWNER)):
        assert [each.role for each in moderation.by_role(room, jid("user"), wanted)] == [MODERATOR] * (
            wanted is MODERATOR
        )
    else:
        with pytest.raises(Forbidden):
            moderation.by_role(room, jid("user"), wanted)


def test_tables_are_whole() -> None:
    assert set(PRIVILEGES) == set(Role)
    assert set(INITIAL_ROLES) == set(CHANGES) == set(LISTS) == set(Affiliation)
    assert set(ROLE_RULES) == {(old, new) for old, new in product(PRESENT, Role) if old is not new}


def test_the_last_owner_stays_and_nobody_bans_or_kicks_themselves() -> None:
    room = make()
    join(room, "owner")
    with pytest.raises(Conflict):
        moderation.change(room, jid("owner"), [AffiliationChange(jid("owner").bare, ADMIN)])
    with pytest.raises(Conflict):
        moderation.change(room, jid("owner"), [RoleChange("Owner", NO_ROLE)])
    affiliate(room, "second", OWNER)
    with pytest.raises(Conflict):
        moderation.change(room, jid("owner"), [AffiliationChange(jid("owner").bare, OUTCAST)])
    both = [AffiliationChange(jid(name).bare, MEMBER) for name in ("second", "owner")]
    with pytest.raises(Conflict):
        moderation.change(room, jid("owner"), both)
    moderation.change(room, jid("owner"), both[1:])
    assert room.affiliation(jid("owner").bare) is MEMBER and room.occupants["Owner"].role is PARTICIPANT
