"""What a roster item is (RFC 6121 section 2.1.2), for the modules that keep and use it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Subscription(StrEnum):
    """RFC 6121 section 2.1.2.5, seen from the roster's owner: "to" means that the owner sees the contact's presence."""

    NONE = "none"
    TO = "to"
    FROM = "from"
    BOTH = "both"

    @property
    def sees_contact(self) -> bool:
        """The owner gets the contact's presence."""
        return self in (Subscription.TO, Subscription.BOTH)

    @property
    def seen_by_contact(self) -> bool:
        """The contact gets the owner's presence."""
        return self in (Subscription.FROM, Subscription.BOTH)


class RosterItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A contact in a roster, without its address."""

    name: str = ""
    groups: tuple[str, ...] = ()
    subscription: Subscription = Subscription.NONE
