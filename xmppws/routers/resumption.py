"""Sessions that outlive their connections (XEP-0198 section 5): they hibernate until they are resumed, or expire."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from xmppws.config import HostC2S
from xmppws.core.expiry import Sweep
from xmppws.core.host import Host
from xmppws.core.router import Stream
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side, StreamError
from xmppws.jid import Jid
from xmppws.routers.suspension import STORE, Suspended, restore, suspend
from xmppws.stream.sm import Acks, Unacked
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
        Reason.SHUTDOWN,
    }
)
"""Ends of a connection that do not end its session."""


class Hibernating:
    """The `core.router.Stream` of a session without a connection: nothing goes anywhere, and all is counted.

    `until` is when it ends, in seconds of the sweep's clock; `expire` ends it.
    """

    __slots__ = ("address", "due", "expire", "id", "secure", "until")

    def __init__(self, id: str, address: str, until: float) -> None:
        self.id = id
        self.address = address
        self.secure = True
        self.until = until
        self.due = 0
        self.expire: Callable[[], None]

    def check(self, now: float) -> None:
        """End the session: nobody has resumed it."""
        self.expire()

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
        """End the session, which somebody does not want any more."""
        self.expire()

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


class Resumptions:
    """The sessions of one host that can be resumed, by the digest of the id that the client has."""

    def __init__(self, host: Host, sweep: Sweep, limits: HostC2S) -> None:
        self._host = host
        self._sweep = sweep
        self._limits = limits
        self._store = host.stores.keyvalue(STORE, list[Suspended])
        self._by_digest: dict[bytes, Session] = {}
        self._digests: dict[Session, bytes] = {}
        self._hibernating: dict[Jid, list[Session]] = {}

    def __len__(self) -> int:
        """Return how many sessions hibernate now."""
        return sum(map(len, self._hibernating.values()))

    @property
    def timeout(self) -> float:
        """Seconds that a session hibernates, 0 if none may be resumed."""
        return self._limits.resume_timeout

    def acks(self) -> Acks:
        """Return the counters of a session that begins to count."""
        return Acks(self._limits.max_unacked, self._limits.max_unacked_size)

    def add(self, session: Session) -> str:
        """Let a session be resumed; return the id to resume it by."""
        id = self._host.new_id()
        self._remember(session, _digest(id))
        return id

    def find(self, id: str, account: Jid) -> Session | None:
        """Return the session that an account may resume by this id."""
        session = self._by_digest.get(_digest(id))
        return session if session is not None and session.account == account else None

    def hibernate(self, session: Session, end: End) -> bool:
        """Keep a session whose connection is gone; tell whether it is one that can be resumed."""
        if session not in self._digests or end.reason not in HIBERNATES:
            return False
        stream = Hibernating(session.stream.id, session.stream.address, self._sweep.clock() + self.timeout)
        session.stream = stream
        self._sleep(session, stream, end)
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

    async def suspend(self) -> None:
        """Store all sessions that hibernate, for the server stops."""
        kept: dict[str, list[Suspended]] = {}
        now, clock = time.time(), self._sweep.clock()
        for session, digest in self._digests.items():
            if isinstance(session.stream, Hibernating) and session.acks is not None:
                expires = now + session.stream.until - clock
                kept.setdefault(session.account.local, []).append(suspend(session, digest, session.acks, expires))
        if kept:
            await self._store.set_many(kept)

    async def restore(self) -> None:
        """Let all that was stored hibernate again; it is stored no more, so that nobody resumes what is not true."""
        for owner in await self._store.owners():
            for kept in await self._store.get(owner) or ():
                if await self._host.exists(owner):
                    self._restore(Jid.make(owner, self._host.domain), kept)
            await self._store.delete(owner)

    def _restore(self, account: Jid, kept: Suspended) -> None:
        until = self._sweep.clock() + max(0.0, kept.expires - time.time())
        stream = Hibernating(self._host.new_id(), "", until)
        session = Session(account.with_resource(kept.resource), self._host, stream)
        self._host.sessions.add(session)
        self._remember(session, kept.digest)
        restore(session, kept, self.acks())
        self._sleep(session, stream, End(Reason.SHUTDOWN, Side.SERVER))

    def _remember(self, session: Session, digest: bytes) -> None:
        self._by_digest[digest] = session
        self._digests[session] = digest

    def _sleep(self, session: Session, stream: Hibernating, end: End) -> None:
        stream.expire = partial(self._expire, session, end)
        asleep = self._hibernating.setdefault(session.account, [])
        asleep.append(session)
        self._sweep.add(stream, stream.until)
        if len(asleep) > self._limits.max_hibernating:
            self._expire(asleep[0], end)

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
