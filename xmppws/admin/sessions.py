"""The sessions of the server as rows: those with a connection, those that hibernate, and logins on upstream hosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from xmppws.admin.served import Served
from xmppws.core.admin import HIBERNATING, ConnectionFacts, Row
from xmppws.core.session import Session
from xmppws.errors import StreamError
from xmppws.jid import Jid


@dataclass(frozen=True, slots=True)
class Seen:
    """Somebody who has logged in. `session` is None before a resource is bound, and where a server behind keeps it."""

    facts: ConnectionFacts
    session: Session | None

    @property
    def hibernates(self) -> bool:
        """Whether it has no connection at the moment."""
        return self.facts.state == HIBERNATING

    def is_of(self, jid: Jid) -> bool:
        """Tell whether it belongs to a host, an account, or is the one of a full JID."""
        if not jid.local:
            return self.facts.host == jid.domain
        if jid.resource:
            return self.session is not None and self.session.jid == jid
        return self.facts.user == jid.text

    def end(self, server: Served, error: StreamError) -> bool:
        """End it, and tell whether it was still there."""
        if self.session is None or not self.hibernates:
            return server.connections.end(self.facts.id, error)
        self.session.stream.end(error)
        return True

    def row(self, now: datetime) -> Row:
        """Return all there is to say of it."""
        facts, session = self.facts, self.session
        return {
            "user": facts.user,
            "resource": "" if session is None else session.jid.resource,
            "host": facts.host,
            "state": self._state,
            "address": facts.address,
            "idle_seconds": round(max(0.0, facts.idle), 3),
            "queue_bytes": facts.queue_bytes,
            **_waiting(session),
            "round_trip_seconds": facts.round_trip,
            **_past(session),
            "resumable_seconds": None if facts.resumable is None else round(facts.resumable, 3),
            "since": (now - timedelta(seconds=facts.lasted)).isoformat(timespec="seconds"),
            "secure": facts.secure,
            "id": facts.id,
        }

    @property
    def _state(self) -> str:
        if self.session is None or self.hibernates:
            return self.facts.state
        return "unavailable" if self.session.presence is None else "available"


def seen(server: Served) -> Iterator[Seen]:
    """Go through all who have logged in."""
    bound = set()
    for host in server.hosts.values():
        for session in host.sessions:
            bound.add(session.stream.id)
            yield Seen(session.stream.facts(), session)
    for facts in server.connections.all():
        # The last connection of one that hibernates may not be gone yet.
        if facts.user and facts.id not in bound:
            yield Seen(facts, None)


def _waiting(session: Session | None) -> Row:
    acks = None if session is None else session.acks
    if acks is None:
        return {"unacked": None, "unacked_bytes": None}
    return {"unacked": len(acks), "unacked_bytes": sum(len(each.content) for each in acks)}


def _past(session: Session | None) -> Row:
    if session is None or session.disconnected is None:
        return {"resumed": 0, "last_end": "", "last_end_by": "", "last_end_text": "", "last_end_seconds": None}
    lost = session.disconnected
    return {
        "resumed": session.resumed,
        "last_end": lost.end.reason.id,
        "last_end_by": lost.end.by.value,
        "last_end_text": lost.end.text,
        "last_end_seconds": round(lost.ago, 3),
    }
