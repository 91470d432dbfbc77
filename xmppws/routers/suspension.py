"""Sessions that outlive the server: stored when it stops, and resumable when it runs again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, cast

from msgspec import Struct, field

from xmppws.core.admin import HIBERNATING, ConnectionFacts, Disconnection
from xmppws.core.auth import Identity
from xmppws.core.events import SessionSuspended
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.stream.sm import Acks, Unacked
from xmppws.xml.stanza import revived

STORE: Final = "suspended"


class Queued(Struct, frozen=True, array_like=True):
    """A stanza that was not acknowledged; addresses are texts, "" for none."""

    kind: Literal["message", "presence", "iq"]
    type: str
    to: str
    sender: str
    content: bytes
    when: float


class LastConnection(Struct, frozen=True):
    """How a session has lost its connection: a `Disconnection` as it can be stored."""

    id: str
    address: str
    secure: bool
    lasted: float
    idle: float
    round_trip: float | None
    reason: str
    by: Side
    text: str
    when: float


class Suspended(Struct, frozen=True):
    """All that makes a session, but what modules keep of it elsewhere. `expires` is in seconds since 1970.

    `presence` is the content of its last presence, "" while it is unavailable; `modules` is what modules put there.
    """

    resource: str
    digest: bytes
    expires: float
    handled: int
    acked: int
    queue: list[Queued]
    last: LastConnection
    resumed: int = 0
    presence: bytes = b""
    priority: int = 0
    interested: bool = False
    lang: str = ""
    directed: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    identity: Identity | None = None
    agent: bytes = b""


def suspend(session: Session, digest: bytes, acks: Acks, lost: Disconnection, expires: float) -> Suspended:
    """Return what there is to store of a session."""
    event = SessionSuspended(session)
    session.host.dispatch.observe(session.host.hooks.run(event))
    # What was held back is stored with the rest.
    session.release()
    return Suspended(
        session.jid.resource,
        digest,
        expires,
        acks.handled,
        acks.acked,
        list(map(_queued, acks)),
        _last_connection(lost),
        session.resumed,
        b"" if session.presence is None else session.presence.content,
        session.priority,
        session.interested,
        session.lang,
        sorted(_text(address) for address in session.directed or ()),
        event.state,
        session.identity,
        session.agent,
    )


def restore(session: Session, kept: Suspended, acks: Acks) -> None:
    """Put back into a session what was stored of it; `acks` are new."""
    acks.restore(kept.handled, kept.acked, _unacked(kept.queue))
    session.acks = acks
    session.resumed = kept.resumed
    session.priority = kept.priority
    session.interested = kept.interested
    session.lang = kept.lang
    session.agent = kept.agent
    session.directed = {Jid.prepared(text) for text in kept.directed} or None
    if kept.presence:
        session.presence = revived("presence", "", kept.presence, to=None, sender=session.jid)


def disconnection(last: LastConnection, account: Jid) -> Disconnection:
    """Return again how the session of an account has lost its connection."""
    facts = ConnectionFacts(
        last.id,
        account.domain,
        account.text,
        HIBERNATING,
        last.address,
        last.secure,
        last.lasted,
        last.idle,
        last.round_trip,
        queue_bytes=0,
    )
    # Another version of the server may have other reasons.
    reason = next((each for each in Reason if each.id == last.reason), Reason.SHUTDOWN)
    return Disconnection(facts, End(reason, last.by, last.text), last.when)


def _last_connection(lost: Disconnection) -> LastConnection:
    facts, end = lost.facts, lost.end
    return LastConnection(
        facts.id,
        facts.address,
        facts.secure,
        facts.lasted,
        facts.idle,
        facts.round_trip,
        end.reason.id,
        end.by,
        end.text,
        lost.when,
    )


def _queued(each: Unacked) -> Queued:
    kind = cast(Literal["message", "presence", "iq"], each.kind)
    return Queued(kind, each.type, _text(each.to), _text(each.sender), each.content, each.when)


def _unacked(queue: Iterable[Queued]) -> list[Unacked]:
    return [Unacked(each.kind, each.type, _jid(each.to), _jid(each.sender), each.content, each.when) for each in queue]


def _text(address: Jid | None) -> str:
    return "" if address is None else address.text


def _jid(text: str) -> Jid | None:
    return Jid.prepared(text) if text else None
