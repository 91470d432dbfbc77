"""Who may do what in a room: roles, affiliations and their privileges, as tables (XEP-0045 section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from xmppws.errors import Forbidden, NotAllowed


class Role(IntEnum):
    """What an occupant may do now; each may do what those before it may (section 5.1)."""

    NONE = 0
    VISITOR = 1
    PARTICIPANT = 2
    MODERATOR = 3

    @property
    def word(self) -> str:
        """The role as it is written."""
        return self.name.lower()


class Affiliation(IntEnum):
    """What an account is to a room; each may do what those before it may (section 5.2)."""

    OUTCAST = 0
    NONE = 1
    MEMBER = 2
    ADMIN = 3
    OWNER = 4

    @property
    def word(self) -> str:
        """The affiliation as it is written."""
        return self.name.lower()


class Privilege(Enum):
    """What an occupant may do by its role (section 5.1.1)."""

    SPEAK = "send messages to all"
    SET_SUBJECT = "change the subject where the settings do not let all participants"
    SET_OPEN_SUBJECT = "change the subject where they do"
    MODERATE = "change the roles of others"
    SEE_JIDS = "see who is behind a nickname"


PRIVILEGES: Final[Mapping[Role, frozenset[Privilege]]] = MappingProxyType(
    {
        Role.NONE: frozenset(),
        Role.VISITOR: frozenset(),
        Role.PARTICIPANT: frozenset({Privilege.SPEAK, Privilege.SET_OPEN_SUBJECT}),
        Role.MODERATOR: frozenset(Privilege),
    }
)

# Section 5.1.2, for unmoderated rooms and for moderated ones. Outcasts do not enter.
INITIAL_ROLES: Final[Mapping[Affiliation, tuple[Role, Role]]] = MappingProxyType(
    {
        Affiliation.OUTCAST: (Role.NONE, Role.NONE),
        Affiliation.NONE: (Role.PARTICIPANT, Role.VISITOR),
        Affiliation.MEMBER: (Role.PARTICIPANT, Role.PARTICIPANT),
        Affiliation.ADMIN: (Role.MODERATOR, Role.MODERATOR),
        Affiliation.OWNER: (Role.MODERATOR, Role.MODERATOR),
    }
)


class Whose(Enum):
    """Whose role may be changed, by affiliation."""

    ANYBODY = "anybody's"
    NOT_ABOVE = "of whom is not above the moderator"
    BELOW = "of whom is below the moderator, and neither admin nor owner"


class RoleRule(NamedTuple):
    """What a moderator has to be at least, and who the other one has to be."""

    actor: Affiliation
    whose: Whose


# Sections 5.1.3, 8.2 to 8.5 and 9.6 to 9.8, by the role before and after.
ROLE_RULES: Final[Mapping[tuple[Role, Role], RoleRule]] = MappingProxyType(
    {
        (Role.VISITOR, Role.NONE): RoleRule(Affiliation.NONE, Whose.NOT_ABOVE),
        (Role.PARTICIPANT, Role.NONE): RoleRule(Affiliation.NONE, Whose.NOT_ABOVE),
        (Role.MODERATOR, Role.NONE): RoleRule(Affiliation.ADMIN, Whose.NOT_ABOVE),
        (Role.VISITOR, Role.PARTICIPANT): RoleRule(Affiliation.NONE, Whose.ANYBODY),
        (Role.PARTICIPANT, Role.VISITOR): RoleRule(Affiliation.NONE, Whose.BELOW),
        (Role.VISITOR, Role.MODERATOR): RoleRule(Affiliation.ADMIN, Whose.ANYBODY),
        (Role.PARTICIPANT, Role.MODERATOR): RoleRule(Affiliation.ADMIN, Whose.ANYBODY),
        (Role.MODERATOR, Role.VISITOR): RoleRule(Affiliation.ADMIN, Whose.BELOW),
        (Role.MODERATOR, Role.PARTICIPANT): RoleRule(Affiliation.ADMIN, Whose.BELOW),
    }
)

_MEMBERS: Final = frozenset({Affiliation.OUTCAST, Affiliation.NONE, Affiliation.MEMBER})

# Section 5.2.2: from and to which affiliations somebody may change others'.
CHANGES: Final[Mapping[Affiliation, frozenset[Affiliation]]] = MappingProxyType(
    {
        Affiliation.OUTCAST: frozenset(),
        Affiliation.NONE: frozenset(),
        Affiliation.MEMBER: frozenset(),
        Affiliation.ADMIN: _MEMBERS,
        Affiliation.OWNER: frozenset(Affiliation),
    }
)

_OPEN_LISTS: Final = frozenset({Affiliation.MEMBER, Affiliation.ADMIN, Affiliation.OWNER})

# Section 5.2.1: which lists somebody may see, in semi-anonymous rooms and in non-anonymous ones: "in such rooms,
# members SHOULD NOT be allowed to retrieve the member list (as that list MUST contain the JID of each member)".
LISTS: Final[Mapping[Affiliation, tuple[frozenset[Affiliation], frozenset[Affiliation]]]] = MappingProxyType(
    {
        Affiliation.OUTCAST: (frozenset(), frozenset()),
        Affiliation.NONE: (frozenset(), frozenset()),
        Affiliation.MEMBER: (frozenset(), _OPEN_LISTS),
        Affiliation.ADMIN: (frozenset(Affiliation), frozenset(Affiliation)),
        Affiliation.OWNER: (frozenset(Affiliation), frozenset(Affiliation)),
    }
)


def check_role_change(actor: Affiliation, target: Affiliation, old: Role, new: Role) -> None:
    """See that a moderator may change somebody's role; raise `NotAllowed` or `Forbidden`."""
    if old is new:
        return
    rule = ROLE_RULES[old, new]
    if rule.whose is Whose.NOT_ABOVE and target > actor:
        raise NotAllowed("That occupant has a higher affiliation than you")
    if rule.whose is Whose.BELOW and (target >= actor or target >= Affiliation.ADMIN):
        raise NotAllowed("That occupant's affiliation is not lower than yours, or admin")
    if actor < rule.actor:
        raise Forbidden("Who is moderator is for admins of the room to say")


def check_affiliation_change(actor: Affiliation, old: Affiliation, new: Affiliation) -> None:
    """See that somebody may change an account's affiliation; raise `NotAllowed` or `Forbidden`."""
    allowed = CHANGES[actor]
    if not allowed:
        raise Forbidden("Affiliations are for admins of the room to change")
    if old not in allowed:
        raise NotAllowed("That user has a higher affiliation than you can change")
    if new not in allowed:
        raise Forbidden("That affiliation is for owners of the room to give")
