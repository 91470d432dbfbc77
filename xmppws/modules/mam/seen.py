"""Which of the messages that wait for an account a client has got from the archive already."""

from __future__ import annotations

from dataclasses import dataclass

from xmppws.modules.mam.pages import Page
from xmppws.modules.mam.query import Query


@dataclass(frozen=True, slots=True)
class Seen:
    """The ids from `first` to `last`, both inclusive: a client has got what they belong to, or knows how to get it."""

    first: str
    last: str

    def __contains__(self, id: str) -> bool:
        return self.first <= id <= self.last

    def and_then(self, later: Seen) -> Seen:
        """Return both as one when the later one goes on where this one ends, else the later one alone."""
        return Seen(self.first, max(self.last, later.last)) if later.first in self else later


def seen(query: Query, page: Page, newest: str) -> Seen | None:
    """Return what a client has seen after a page; `newest` is not less than any id of a message before the query.

    A part of the archive is not all that waits: None for the messages of one contact, or from before some time.
    """
    is_open = query.end is None and not query.ids and not query.before and query.with_ is None
    if not is_open or not query.limit:
        return None
    entries = page.entries
    last = max(newest, entries[-1].id if entries else "")
    if query.backwards:
        # The newest page: from here the client goes back as far as its user scrolls.
        return Seen("", last)
    if query.start is None:
        first = max(query.after, default="")
    else:
        first = entries[0].id if entries else newest
    return Seen(first, last if page.is_complete else entries[-1].id)
