"""The tables of RFC 6121 appendix A, state by state, against the table of halves."""

from __future__ import annotations

import pytest

from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.subscription import TYPES, Way, after, passes

STATES = {
    "None": RosterItem(),
    "None + Pending Out": RosterItem(ask=True),
    "None + Pending In": RosterItem(request=b"r"),
    "None + Pending Out+In": RosterItem(ask=True, request=b"r"),
    "To": RosterItem(subscription=Subscription.TO),
    "To + Pending In": RosterItem(subscription=Subscription.TO, request=b"r"),
    "From": RosterItem(subscription=Subscription.FROM),
    "From + Pending Out": RosterItem(subscription=Subscription.FROM, ask=True),
    "Both": RosterItem(subscription=Subscription.BOTH),
}

# In the order of STATES: whether the stanza goes on, and the new state where there is one.
APPENDIX_A: dict[tuple[Way, str], list[tuple[bool, str]]] = {
    (Way.OUTBOUND, "subscribe"): [
        (True, "None + Pending Out"),
        (True, ""),
        (True, "None + Pending Out+In"),
        (True, ""),
        (True, ""),
        (True, ""),
        (True, "From + Pending Out"),
        (True, ""),
        (True, ""),
    ],
    (Way.OUTBOUND, "unsubscribe"): [
        (True, ""),
        (True, "None"),
        (True, ""),
        (True, "None + Pending In"),
        (True, "None"),
        (True, "None + Pending In"),
        (True, ""),
        (True, "From"),
        (True, "From"),
    ],
    (Way.OUTBOUND, "subscribed"): [
        (False, ""),
        (False, ""),
        (True, "From"),
        (True, "From + Pending Out"),
        (False, ""),
        (True, "Both"),
        (False, ""),
        (False, ""),
        (False, ""),
    ],
    (Way.OUTBOUND, "unsubscribed"): [
        (False, ""),
        (False, ""),
        (True, "None"),
        (True, "None + Pending Out"),
        (False, ""),
        (True, "To"),
        (True, "None"),
        (True, "None + Pending Out"),
        (True, "To"),
    ],
    (Way.INBOUND, "subscribe"): [
        (True, "None + Pending In"),
        (True, "None + Pending Out+In"),
        (False, ""),
        (False, ""),
        (True, "To + Pending In"),
        (False, ""),
        (False, ""),
        (False, ""),
        (False, ""),
    ],
    (Way.INBOUND, "unsubscribe"): [
        (False, ""),
        (False, ""),
        (True, "None"),
        (True, "None + Pending Out"),
        (False, ""),
        (True, "To"),
        (True, "None"),
        (True, "None + Pending Out"),
        (True, "To"),
    ],
    (Way.INBOUND, "subscribed"): [
        (False, ""),
        (True, "To"),
        (False, ""),
        (True, "To + Pending In"),
        (False, ""),
        (False, ""),
        (False, ""),
        (True, "Both"),
        (False, ""),
    ],
    (Way.INBOUND, "unsubscribed"): [
        (False, ""),
        (True, "None"),
        (False, ""),
        (True, "None + Pending In"),
        (True, "None"),
        (True, "None + Pending In"),
        (False, ""),
        (True, "From"),
        (True, "From"),
    ],
}


def test_the_tables_are_whole() -> None:
    assert set(APPENDIX_A) == {(way, type) for way in Way for type in TYPES}
    assert {len(rows) for rows in APPENDIX_A.values()} == {len(STATES)}


def halves(item: RosterItem | None) -> tuple[Subscription, bool, bytes]:
    item = item or RosterItem()
    return item.subscription, item.ask, item.request


@pytest.mark.parametrize(("way", "type"), list(APPENDIX_A), ids=str)
@pytest.mark.parametrize("listed", [True, False])
def test_every_state_and_every_stanza(way: Way, type: str, listed: bool) -> None:
    for (state, item), (goes_on, follows) in zip(STATES.items(), APPENDIX_A[way, type], strict=True):
        if not listed:
            item = RosterItem(request=item.request, listed=False)
            if state not in ("None", "None + Pending In"):
                continue
        assert passes(item, way, type) is goes_on, state
        assert halves(after(item, way, type, b"r")) == halves(STATES[follows or state]), state


def test_a_request_alone_is_not_in_the_roster_and_goes_without_a_trace() -> None:
    asked = after(None, Way.INBOUND, "subscribe", b"r")
    assert asked == RosterItem(request=b"r", listed=False)
    assert after(asked, Way.INBOUND, "unsubscribe") is None
    assert after(asked, Way.OUTBOUND, "unsubscribed") is None
    assert after(None, Way.INBOUND, "unsubscribed") is None
    # The first request counts until it is answered.
    assert after(asked, Way.INBOUND, "subscribe", b"other") == asked
    granted = after(asked, Way.OUTBOUND, "subscribed")
    assert granted == RosterItem(subscription=Subscription.FROM)


def test_an_approval_ahead_of_the_request_answers_it_until_it_is_taken_back() -> None:
    approved = after(None, Way.OUTBOUND, "subscribed")
    assert approved == RosterItem(approved=True)
    subscribed = after(approved, Way.INBOUND, "subscribe", b"r")
    assert subscribed == RosterItem(subscription=Subscription.FROM, approved=True)
    assert after(subscribed, Way.OUTBOUND, "unsubscribed") == RosterItem()
    cancelled = after(approved, Way.OUTBOUND, "unsubscribed")
    assert cancelled == RosterItem()
    assert after(cancelled, Way.INBOUND, "subscribe", b"r") == RosterItem(request=b"r")
