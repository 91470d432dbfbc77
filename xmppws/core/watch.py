"""Those who watch one user: they are shown every message of the user's connections, and what becomes of sessions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias, get_args

from xmppws.core.admin import HIBERNATING, Row
from xmppws.core.events import SessionBound, SessionDisconnected, SessionEnded, SessionResumed
from xmppws.core.hooks import Phase
from xmppws.core.host import Host
from xmppws.errors import End

log = logging.getLogger("xmppws.watch")

# No module can have this name.
_OWNER: Final = "(watch)"


class Direction(StrEnum):
    """Which way a message goes."""

    IN = "in"
    """From the client."""
    OUT = "out"
    """To the client."""


class Happening(StrEnum):
    """What happens to a connection, or to a session."""

    LOGGED_IN = "logged-in"
    """Somebody has logged in on a connection."""
    DISCONNECTED = "disconnected"
    """That connection is over."""
    BOUND = "bound"
    """A session begins."""
    HIBERNATES = "hibernates"
    """The session has lost its connection, and can be resumed."""
    RESUMED = "resumed"
    """It goes on with another connection."""
    EXPIRED = "expired"
    """Nobody has resumed it in time."""
    ENDED = "ended"
    """It has ended otherwise."""


class Watcher(Protocol):
    """Is shown what goes on; `id` is that of a connection, as it stands in the log."""

    def message(self, id: str, direction: Direction, message: bytes) -> None:
        """See a message that passes."""

    def happening(self, id: str, what: Happening, facts: Row) -> None:
        """See what happens, and what there is to say about it: a row as a table has it."""


class Watch:
    """The watchers of one user. One that fails harms neither the others nor the connection."""

    __slots__ = ("watchers",)

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []

    def show(self, id: str, direction: Direction, *messages: bytes) -> None:
        """Show messages of a connection to all."""
        for message in messages:
            for watcher in tuple(self.watchers):
                try:
                    watcher.message(id, direction, message)
                except Exception:
                    log.exception("id=%s: a message could not be shown", id)

    def tell(self, id: str, what: Happening, **facts: Any) -> None:
        """Tell all what happens."""
        for watcher in tuple(self.watchers):
            try:
                watcher.happening(id, what, facts)
            except Exception:
                log.exception("id=%s: what happens could not be shown", id)


Watches: TypeAlias = Mapping[str, Watch]
"""Who is watched, by bare JID."""
SessionEvent: TypeAlias = SessionBound | SessionDisconnected | SessionResumed | SessionEnded


def watch_sessions(host: Host, watches: Watches) -> None:
    """Tell those who watch a user what becomes of the user's sessions on a host."""

    def happened(event: SessionEvent) -> None:
        session = event.session
        watch = watches.get(session.account.text)
        if watch is not None:
            what, facts = _told(event)
            watch.tell(session.stream.id, what, jid=session.jid.text, **facts)

    for event in get_args(SessionEvent):
        host.hooks.add(event, Phase.OBSERVE, happened, _OWNER)


def _told(event: SessionEvent) -> tuple[Happening, Row]:
    session = event.session
    waiting = 0 if session.acks is None else len(session.acks)
    if isinstance(event, SessionBound):
        return Happening.BOUND, {}
    if isinstance(event, SessionDisconnected):
        resumable = session.stream.facts().resumable
        return Happening.HIBERNATES, {**why(event.lost.end), "resumable_seconds": resumable, "unacked": waiting}
    if isinstance(event, SessionResumed):
        return Happening.RESUMED, {**why(event.lost.end), "after_seconds": event.lost.ago, "sent_again": waiting}
    lost = session.disconnected
    if lost is None or session.stream.facts().state != HIBERNATING:
        return Happening.ENDED, why(event.end)
    what = Happening.EXPIRED if event.end is lost.end else Happening.ENDED
    return what, {**why(event.end), "after_seconds": lost.ago}


def why(end: End) -> Row:
    """Return what there is to say about how something ended."""
    return {"reason": end.reason.id, "by": end.by.value, "text": end.text}
