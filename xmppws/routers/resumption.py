"""Sessions that outlive their connections (XEP-0198 section 5): they hibernate until they are resumed, or expire."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from xmppws.core.expiry import Sweep
from xmppws.core.host import Host
from xmppws.core.router import Stream
from xmppws.core.session import Session
from xmppws.errors import End, Reason, StreamError
from xmppws.jid import Jid
from xmppws.stream.sm import Unacked
from xmppws.xml.delay import delay

HIBERNATES: Final = frozenset(
    {
        Reason.CLIENT_GONE,
        Reason.CONNECTION_LOST,
        Reason.PONG_TIMEOUT,
        Reason.READ_TIMEOUT,
        Reason.SLOW_READER,
        Reason.WEBSOCKET_PROTOCOL,
        Reason.INTERNAL,
    }
)
"""Ends of a connection that do not end its session."""


class Hibernating:
    """The `core.router.Stream` of a session without a connection: nothing goes anywhere, and all is counted."""

    __slots__ = ("_expire", "address", "due", "id", "secure")

    def __init__(self, stream: Stream, expire: Callable[[], None]) -> None:
        self.id = stream.id
        self.address = stream.address
        self.secure = stream.secure
        self.due = 0
        self._expire = expire

    def check(self, now: float) -> None:
        """End the session: nobody has resumed it."""
        self._expire()

    def open(self, sender: str, id: str, *messages: bytes) -> None:
        """Do nothing."""

    def send(self, *messages: bytes) -> None:
        """Do nothing: what the session sends waits in its queue."""

    def count_login(self) -> float:
        """Do nothing."""
        return 0.0

    def authenticated(self, name: str, *, guest: bool = False) -> None:
        """Do nothing."""

    def end(self, error: StreamError | None = None) -> None:
        """End the session, which somebody else does not want any more."""
        self._expire()

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


class Resumptions:
    """The sessions of one host that can be resumed, by the digest of the id that the client has."""

    def __init__(self, host: Host, sweep: Sweep, timeout: float, most: int) -> None:
        self._host = host
        self._sweep = sweep
        self._most = most
        self.timeout = timeout
        """Seconds that a session hibernates."""
        self._by_digest: dict[bytes, Session] = {}
        self._digests: dict[Session, bytes] = {}
        self._hibernating: dict[Jid, list[Session]] = {}

    def __len__(self) -> int:
        """Return how many sessions hibernate now."""
        return sum(map(len, self._hibernating.values()))

    def add(self, session: Session) -> str:
        """Let a session be resumed; return the id to resume it by."""
        id = self._host.new_id()
        digest = self._digests[session] = _digest(id)
        self._by_digest[digest] = session
        return id

    def find(self, id: str, account: Jid) -> Session | None:
        """Return the session that an account may resume by this id."""
        session = self._by_digest.get(_digest(id))
        return session if session is not None and session.account == account else None

    def hibernate(self, session: Session, end: End) -> bool:
        """Keep a session whose connection is gone; tell whether it is one that can be resumed."""
        if session not in self._digests or end.reason not in HIBERNATES or self.timeout <= 0:
            return False
        asleep = self._hibernating.setdefault(session.account, [])
        asleep.append(session)
        stream = Hibernating(session.stream, lambda: self._expire(session, end))
        session.stream = stream
        self._sweep.add(stream, self._sweep.clock() + self.timeout)
        if len(asleep) > self._most:
            self._expire(asleep[0], end)
        return True

    def wake(self, session: Session, stream: Stream) -> bool:
        """Let a session hibernate no longer; tell whether it did, on the stream that it had."""
        if not isinstance(stream, Hibernating):
            return False
        self._sweep.remove(stream)
        asleep = self._hibernating[session.account]
        asleep.remove(session)
        if not asleep:
            del self._hibernating[session.account]
        return True

    def end(self, session: Session) -> list[Unacked]:
        """Forget a session that is over; return what its client never acknowledged."""
        digest = self._digests.pop(session, None)
        if digest is not None:
            del self._by_digest[digest]
        return session.acks.give_up() if session.acks is not None else []

    def _expire(self, session: Session, end: End) -> None:
        if self.wake(session, session.stream):
            left = self.end(session)
            self._host.unbind(session, end)
            deliver_again(self._host, session, left)


def deliver_again(host: Host, session: Session, left: list[Unacked]) -> None:
    """Send what a client has never acknowledged to where it goes without it (RFC 6121 section 8.5)."""
    account = session.account
    for each in left:
        if each.kind == "message":
            others = any(other.presence is not None and other.priority >= 0 for other in host.sessions.of(account))
            was_for_all = each.to is not None and each.to.is_bare
            if each.type not in ("chat", "normal") or (was_for_all and others):
                # Rooms and headlines are for who is there; the account's other clients have what was for all of them.
                continue
            late = each.stanza().plus(delay(host.domain, each.when))
            host.dispatch.post(late.addressed(to=account, sender=each.sender))
        elif each.kind == "iq" and each.type in ("get", "set"):
            # To nobody any more, so that its sender is told.
            host.dispatch.post(each.stanza())


def _digest(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
