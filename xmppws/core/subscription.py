"""The states of a subscription (RFC 6121 appendix A), as a table.

The nine states of the RFC are two halves of three: whether the owner of the roster is subscribed to the contact, and
the contact to the owner. A stanza changes one half and does not look at the other: what goes out as `subscribe` or
comes in as `subscribed` is about the owner's subscription, and the other way round.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from xmppws.core.roster import Half, RosterItem, Subscription

TYPES: Final = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})
"""The presence stanzas that are about subscriptions."""


class Way(Enum):
    """Who says it: the owner of the roster, or the contact."""

    OUTBOUND = "the owner to the contact"
    INBOUND = "the contact to the owner"


_O, _I = Way.OUTBOUND, Way.INBOUND
_NO, _PENDING, _YES = Half.NO, Half.PENDING, Half.YES

TRANSITIONS: Final[dict[tuple[Way, str, Half], tuple[Half, bool]]] = {
    # Appendix A.2: the half that follows, and whether the stanza is routed to the contact.
    (_O, "subscribe", _NO): (_PENDING, True),
    (_O, "subscribe", _PENDING): (_PENDING, True),
    (_O, "subscribe", _YES): (_YES, True),
    (_O, "unsubscribe", _NO): (_NO, True),
    (_O, "unsubscribe", _PENDING): (_NO, True),
    (_O, "unsubscribe", _YES): (_NO, True),
    (_O, "subscribed", _NO): (_NO, False),
    (_O, "subscribed", _PENDING): (_YES, True),
    (_O, "subscribed", _YES): (_YES, False),
    (_O, "unsubscribed", _NO): (_NO, False),
    (_O, "unsubscribed", _PENDING): (_NO, True),
    (_O, "unsubscribed", _YES): (_NO, True),
    # Appendix A.3: the half that follows, and whether the stanza is delivered to the owner.
    (_I, "subscribe", _NO): (_PENDING, True),
    (_I, "subscribe", _PENDING): (_PENDING, False),
    (_I, "subscribe", _YES): (_YES, False),
    (_I, "unsubscribe", _NO): (_NO, False),
    (_I, "unsubscribe", _PENDING): (_NO, True),
    (_I, "unsubscribe", _YES): (_NO, True),
    (_I, "subscribed", _NO): (_NO, False),
    (_I, "subscribed", _PENDING): (_YES, True),
    (_I, "subscribed", _YES): (_YES, False),
    (_I, "unsubscribed", _NO): (_NO, False),
    (_I, "unsubscribed", _PENDING): (_NO, True),
    (_I, "unsubscribed", _YES): (_NO, True),
}


def is_about_owner(way: Way, type: str) -> bool:
    """Tell whether a stanza is about the owner's subscription to the contact; else it is about the contact's."""
    return (way is Way.OUTBOUND) == (type in ("subscribe", "unsubscribe"))


def passes(item: RosterItem | None, way: Way, type: str) -> bool:
    """Tell whether a stanza goes on, to the contact or to the owner."""
    item = item or RosterItem()
    return TRANSITIONS[way, type, item.to if is_about_owner(way, type) else item.from_][1]


def after(item: RosterItem | None, way: Way, type: str, request: bytes = b"") -> RosterItem | None:
    """Return the item that follows; None when nothing is left to keep. `request` is what a `subscribe` is kept as."""
    old = item or RosterItem(listed=False)
    to, from_, approved = old.to, old.from_, old.approved
    if is_about_owner(way, type):
        to = TRANSITIONS[way, type, to][0]
    elif way is Way.INBOUND and type == "subscribe" and approved:
        # Section 3.4: what was approved ahead needs no further answer of the owner.
        from_ = Half.YES
    else:
        if way is Way.OUTBOUND:
            # A `subscribed` that answers nothing is an approval ahead of the request, an `unsubscribed` takes it back.
            approved = type == "subscribed" and (approved or from_ is Half.NO)
        from_ = TRANSITIONS[way, type, from_][0]
    new = msgspec.structs.replace(
        old,
        subscription=_subscription(to, from_),
        ask=to is Half.PENDING,
        approved=approved,
        request=(old.request or request) if from_ is Half.PENDING else b"",
        # Sections 3.1.2, 3.1.5 and 3.4.2 put the contact into the roster; a request that waits does not (3.1.3).
        listed=old.listed or to is not Half.NO or from_ is Half.YES or approved,
    )
    return new if new.listed or new.request else None


def _subscription(to: Half, from_: Half) -> Subscription:
    if to is Half.YES:
        return Subscription.BOTH if from_ is Half.YES else Subscription.TO
    return Subscription.FROM if from_ is Half.YES else Subscription.NONE
