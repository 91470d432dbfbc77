"""XEP-0059 Result Set Management: which page of a long list is asked for, and where the one that is given lies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from xmppws.errors import BadRequest
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.writer import child, element

_SET: Final = f"{{{ns.RSM}}}set"
_NUMBER: Final = re.compile("[0-9]{1,10}").fullmatch


@dataclass(frozen=True, slots=True)
class Wanted:
    """The page that is asked for. `max` is None where the client leaves it to the server.

    It begins after the item `after`, or ends before the item `before`; "" as `before` asks for the last page. `index`
    is the number of its first item.
    """

    max: int | None = None
    after: str | None = None
    before: str | None = None
    index: int | None = None


def read_set(request: Element) -> Wanted:
    """Read the `<set/>` in a request; without one, the first page is asked for. Raises `BadRequest`."""
    found = request.find(_SET)
    if found is None:
        return Wanted()
    # An empty <after/> is what there is none of: "before the first item in the result set".
    wanted = Wanted(
        _number(found, "max"), _text(found, "after") or None, _text(found, "before"), _number(found, "index")
    )
    if sum(place is not None for place in (wanted.after, wanted.before, wanted.index)) > 1:
        raise BadRequest("A page is asked for by one of after, before and index")
    return wanted


def write_set(first: str = "", last: str = "", *, index: int | None = None, count: int | None = None) -> Element:
    """Build the `<set/>` of an answer from the ids of its first and last item, "" when it has none."""
    made = element(ns.RSM, "set")
    if first:
        child(made, ns.RSM, "first", {} if index is None else {"index": str(index)}, first)
        child(made, ns.RSM, "last", text=last)
    if count is not None:
        child(made, ns.RSM, "count", text=str(count))
    return made


def _text(parent: Element, name: str) -> str | None:
    found = parent.find(f"{{{ns.RSM}}}{name}")
    return None if found is None else found.text or ""


def _number(parent: Element, name: str) -> int | None:
    text = _text(parent, name)
    if text is None:
        return None
    if not _NUMBER(text):
        raise BadRequest(f"{name} of the result set is a whole number")
    return int(text)
