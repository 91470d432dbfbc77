"""Pages of an archive: read in pieces, bounded in messages and bytes, and written as results."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from xmppws.core.stores import Archive, Entry
from xmppws.errors import ItemNotFound
from xmppws.modules.mam.query import Query
from xmppws.xml import ns, rsm
from xmppws.xml.delay import timestamp
from xmppws.xml.parser import Element
from xmppws.xml.writer import attribute, element

# Entries that are read at once: each may have the size of the largest stanza.
_PIECE: Final = 64
# Bytes of a page. A client that counts stanzas may leave more than that unacknowledged, and not much more.
_MAX_SIZE: Final = 512 * 1024
_RESULT: Final = (
    b' xmlns="%b"><result xmlns="%b"%%b id="%%b"><forwarded xmlns="%b"><delay xmlns="%b" stamp="%%b"/>'
    b"%%b</forwarded></result></message>"
) % tuple(namespace.encode() for namespace in (ns.CLIENT, ns.MAM, ns.FORWARD, ns.DELAY))


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages in the order of time. It is complete if it was not cut: no more are to come in its direction."""

    entries: list[Entry]
    is_complete: bool


async def read_page(archive: Archive, owner: str, query: Query) -> Page:
    """Return the page that is asked for. Raises `ItemNotFound` when the query names messages that are not there."""
    named = await _named(archive, owner, query)
    chosen: list[Entry] = []
    size = 0
    async with aclosing(_among(named) if query.ids else _all(archive, owner, query)) as entries:
        async for entry in entries:
            if not query.takes(entry):
                continue
            if len(chosen) >= query.limit or size > _MAX_SIZE:
                return Page(chosen[:: -1 if query.backwards else 1], False)
            chosen.append(entry)
            size += len(entry.data)
    return Page(chosen[:: -1 if query.backwards else 1], True)


async def _named(archive: Archive, owner: str, query: Query) -> list[Entry]:
    """Return the messages that a query asks for by id, in the order of its page."""
    named = []
    for id in sorted({*query.after, *query.before, *query.ids}, reverse=query.backwards):
        entry = await archive.get(owner, id)
        if entry is None:
            # XEP-0313 sections 4.1.3 and 4.3.2: "is not present in the archive".
            raise ItemNotFound("The archive has no message of that id")
        if id in query.ids:
            named.append(entry)
    return named


async def _among(entries: list[Entry]) -> AsyncGenerator[Entry, None]:
    for entry in entries:
        yield entry


async def _all(archive: Archive, owner: str, query: Query) -> AsyncGenerator[Entry, None]:
    after, before = max(query.after, default=None), min(query.before, default=None)
    limit = min(query.limit + 1, _PIECE)
    while True:
        piece = await archive.page(
            owner,
            with_=None if query.with_ is None else query.with_.bare.text,
            start=query.start,
            end=query.end,
            after=after,
            before=before,
            limit=limit,
            newest_first=query.backwards,
        )
        for entry in piece:
            yield entry
        if len(piece) < limit:
            return
        after, before = (after, piece[-1].id) if query.backwards else (piece[-1].id, before)
        # What was read is not what was asked for, such as another client's: then larger pieces find it sooner.
        limit = _PIECE


def write_result(query: Query, entry: Entry) -> bytes:
    """Write the content of the message that holds an archived one (section 4.2)."""
    queryid = b' queryid="%b"' % attribute(query.queryid) if query.queryid else b""
    return _RESULT % (queryid, entry.id.encode(), timestamp(entry.when).encode(), entry.data)


def write_fin(query: Query, page: Page, count: int | None) -> Element:
    """Build what tells that all results were sent, and which page they are (section 4.3); None is an unknown count."""
    made = element(ns.MAM, "fin", {"complete": "true"} if page.is_complete else {})
    entries = page.entries
    first, last = (entries[0].id, entries[-1].id) if entries else ("", "")
    made.append(rsm.write_set(first, last, index=0 if is_everything(query, page) else None, count=count))
    return made


def is_everything(query: Query, page: Page) -> bool:
    """Tell whether a page holds all that fits a query."""
    return page.is_complete and query.is_whole
