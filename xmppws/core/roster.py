"""What a roster item is (RFC 6121 section 2.1.2), for the modules that keep and use it."""

from __future__ import annotations

from enum import Enum, StrEnum

import msgspec


class Half(Enum):
    """One direction of a subscription: who subscribes sees the other's presence once that is granted."""

    NO = "no"
    PENDING = "asked for"
    YES = "granted"


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
    """A contact in a roster, without its address: what the owner sees of it, and what waits for an answer."""

    name: str = ""
    groups: tuple[str, ...] = ()
    subscription: Subscription = Subscription.NONE
    ask: bool = False
    """The owner's request waits for the contact: "Pending Out" of RFC 6121 appendix A.1."""
    approved: bool = False
    """The owner has approved the contact's request before it came (section 3.4)."""
    request: bytes = b""
    """The contact's request that waits for the owner, as `Stanza.content`: "Pending In"."""
    listed: bool = True
    """False for an item that is not in the owner's roster, and kept for its request alone."""

    @property
    def to(self) -> Half:
        """How far the owner's subscription to the contact is."""
        if self.subscription.sees_contact:
            return Half.YES
        return Half.PENDING if self.ask else Half.NO

    @property
    def from_(self) -> Half:
        """How far the contact's subscription to the owner is."""
        if self.subscription.seen_by_contact:
            return Half.YES
        return Half.PENDING if self.request else Half.NO
