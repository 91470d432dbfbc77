"""Sessions that outlive their connections (XEP-0198 section 5): they hibernate until they are resumed, or expire."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from xmppws.config import HostC2S
from xmppws.core.admin import HIBERNATING, ConnectionFacts, Disconnection
from xmppws.core.audit import audit
from xmppws.core.auth import Identity
from xmppws.core.events import SessionDisconnected, SessionRestored, SessionResumed
from xmppws.core.expiry import Sweep
from xmppws.core.host import Host
from xmppws.core.metrics import Gauge
from xmppws.core.router import Stream
from xmppws.core.session import Session
from xmppws.core.stores import StorageError
from xmppws.errors import End, Reason, StreamConflict, StreamError
from xmppws.jid import Jid
from xmppws.routers.counts import Counts
from xmppws.routers.suspension import STORE, Suspended, disconnection, restore, suspend
from xmppws.stream import sm
from xmppws.stream.sm import Acks, Unacked
from xmppws.xml.delay import delay

log = logging.getLogger("xmppws.resumption")

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

    `lost` is what has become of the connection. `until` is when the session ends, in seconds of the sweep's clock;
    `over` ends it.
    """

    __slots__ = ("_clock", "address", "due", "id", "lost", "over", "secure", "until")

    def __init__(self, lost: Disconnection, until: float, clock: Callable[[], float]) -> None:
        self.id = lost.facts.id
        self.address = lost.facts.address
        self.secure = True
        self.lost = lost
        self.until = until
        self.due = 0
        self.over: Callable[[End], None]
        self._clock = clock

    def facts(self) -> ConnectionFacts:
        """Return what was known of the connection, and how long the session can be resumed."""
        facts, ago = self.lost.facts, self.lost.ago
        return replace(
            facts,
            state=HIBERNATING,
            lasted=facts.lasted + ago,
            idle=facts.idle + ago,
            queue_bytes=0,
            resumable=max(0.0, self.until - self._clock()),
        )

    def check(self, now: float) -> None:
        """End the session: nobody has resumed it."""
        self.over(self.lost.end)

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
        self.over(self.lost.end if error is None else error.end)

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


class Resumptions:
    """The sessions of one host that can be resumed, by the digest of the id that the client has."""

    def __init__(self, host: Host, sweep: Sweep, limits: HostC2S, number: Gauge) -> None:
        self._host = host
        self._sweep = sweep
        self._limits = limits
        self._number = number
        self._store = host.stores.keyvalue(STORE, list[Suspended])
        self._by_digest: dict[bytes, Session] = {}
        self._digests: dict[Session, bytes] = {}
        self._hibernating: dict[Jid, list[Session]] = {}
        self.counts = Counts(host, self._digests)

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

    def enable(self, session: Session, can_resume: bool) -> bytes:
        """Count a session's stanzas from now on, and let it be resumed if it can; return what its client is told."""
        id = self._host.new_id() if can_resume and self.timeout > 0 else ""
        if id:
            self._remember(session, _digest(id))
        session.acks = self.acks()
        return sm.enabled(id, self.timeout)

    def replace(self, session: Session) -> None:
        """End the sessions without a connection that the client of this one has left behind."""
        for each in list(self._hibernating.get(session.account, ())):
            if each.agent == session.agent:
                older = each.stream
                audit("session-replaced", id=older.id, by=session.stream.id, user=each.jid.text, address=older.address)
                older.end(StreamConflict("A newer session of the same client took its place"))

    def find(self, id: str, account: Jid, identity: Identity | None) -> Session | None:
        """Return the session that an account may resume by this id, if its token says the same of device and room."""
        session = self._by_digest.get(_digest(id))
        if session is None or session.account != account or _scope(session.identity) != _scope(identity):
            return None
        return session

    async def failed(self, id: str, account: Jid) -> bytes:
        """Write that an account has no session to resume by this id; and how much of it was handled, if known."""
        handled = self.counts.past(_digest(id), account)
        # Acknowledged means durable, here too.
        if handled is not None and (written := self._host.stores.settled()) is not None:
            await written
        return sm.failed("item-not-found", handled)

    def lay_down(self, session: Session) -> Stream:
        """Let a session hibernate that is about to be resumed, and end the connection that it may have.

        Return the stream that it has while nobody wakes it.
        """
        older = session.stream
        if not isinstance(older, Hibernating):
            session.lost()
            replaced = StreamConflict("The session goes on with another stream")
            self._hibernate(session, replaced.end)
            older.end(replaced)
        return session.stream

    def settled(self, session: Session) -> Awaitable[object] | None:
        """Return what is done when what its client has sent is handled and durable; None when it is."""
        if session.handling is not None:
            return self._settled_after(session, session.handling)
        written = self.written(session)
        return None if written is None else asyncio.wait((written,))

    async def _settled_after(self, session: Session, handling: asyncio.Future[None]) -> None:
        await asyncio.wait((handling,))
        if (written := self.written(session)) is not None:
            await asyncio.wait((written,))

    def written(self, session: Session) -> asyncio.Future[bool] | None:
        """Return what is done when what the handled stanzas have begun to write is durable; None when it is."""
        self.counts.ensure(session)
        return self._host.stores.settled()

    def hibernate(self, session: Session, end: End) -> bool:
        """Keep a session whose connection is gone; tell whether it is one that can be resumed."""
        if session not in self._digests or end.reason not in HIBERNATES:
            return False
        self._hibernate(session, end)
        asleep = self._hibernating[session.account]
        if len(asleep) > self._limits.max_hibernating:
            asleep[0].stream.end()
        return True

    def wake(self, session: Session) -> bool:
        """Let a session hibernate no longer; tell whether it did."""
        asleep = self._hibernating.get(session.account, [])
        if session not in asleep:
            return False
        assert isinstance(session.stream, Hibernating)
        self._sweep.remove(session.stream)
        self._number.dec()
        asleep.remove(session)
        if not asleep:
            del self._hibernating[session.account]
        return True

    def resumed(self, session: Session) -> None:
        """Note that a session goes on with another connection."""
        session.resumed += 1
        assert session.disconnected is not None
        self._host.tell(SessionResumed(session, session.disconnected))

    def end(self, session: Session, *, may_return: bool = False) -> list[Unacked]:
        """Forget a session that is over; return what its client never acknowledged.

        With `may_return`, the client does not know that it is over.
        """
        digest = self._digests.pop(session, None)
        if digest is not None:
            del self._by_digest[digest]
            self.counts.end(session, digest, may_return=may_return)
        return session.acks.give_up() if session.acks is not None else []

    async def suspend(self) -> None:
        """Store all sessions that hibernate, for the server stops and nothing comes any more."""
        handling = [session.handling for session in self._host.sessions if session.handling is not None]
        if handling:
            await asyncio.wait(handling)
        await self._host.dispatch.drain()
        kept: dict[str, list[Suspended]] = {}
        now, clock = time.time(), self._sweep.clock()
        for session, digest in list(self._digests.items()):
            if isinstance(session.stream, Hibernating) and session.acks is not None:
                expires = now + session.stream.until - clock
                record = suspend(session, digest, session.acks, session.stream.lost, expires)
                # What modules have sent at the last moment may have been too much for it.
                if session in self._digests:
                    kept.setdefault(session.account.local, []).append(record)
        if kept:
            await self._store.set_many(kept)

    async def restore(self) -> None:
        """Let all that was stored hibernate again; it is stored no more, so that nobody resumes what is not true."""
        for owner in await self._store.owners():
            try:
                for kept in await self._store.get(owner) or ():
                    if await self._host.exists(owner):
                        self._restore(Jid.make(owner, self._host.domain), kept)
            except (StorageError, ValueError, SyntaxError) as error:
                # Somebody has changed what was stored.
                log.error("a session of %s cannot be restored: %s", owner, error)
            await self._store.delete(owner)
        await self.counts.load()

    def _restore(self, account: Jid, kept: Suspended) -> None:
        # The clock may have been set back meanwhile.
        left = min(max(0.0, kept.expires - time.time()), self.timeout)
        lost = disconnection(kept.last, account)
        stream = Hibernating(lost, self._sweep.clock() + left, self._sweep.clock)
        session = Session(account.with_resource(kept.resource), self._host, stream, kept.identity)
        if self._host.sessions.find(session.jid) is not None:
            raise ValueError(f"{session.jid} is there already")
        restore(session, kept, self.acks())
        self._host.sessions.add(session)
        self._remember(session, kept.digest)
        self._sleep(session, stream)
        self._host.dispatch.observe(self._host.hooks.run(SessionRestored(session, kept.modules)))

    def _remember(self, session: Session, digest: bytes) -> None:
        self._by_digest[digest] = session
        self._digests[session] = digest

    def _hibernate(self, session: Session, end: End) -> None:
        timeout = self.timeout
        if session.identity is not None:
            # What a token lets be ends with it, connected or not.
            timeout = min(timeout, session.identity.expires - time.time())
        lost = Disconnection(session.stream.facts(), end, time.time())
        stream = Hibernating(lost, self._sweep.clock() + timeout, self._sweep.clock)
        session.stream = stream
        self._sleep(session, stream)
        self._host.tell(SessionDisconnected(session, lost))

    def _sleep(self, session: Session, stream: Hibernating) -> None:
        session.disconnected = stream.lost
        stream.over = partial(self._over, session)
        self._hibernating.setdefault(session.account, []).append(session)
        self._sweep.add(stream, stream.until)
        self._number.inc()

    def _over(self, session: Session, end: End) -> None:
        if self.wake(session):
            left = self.end(session, may_return=True)
            self._host.unbind(session, end)
            deliver_again(self._host, session, left)


def deliver_again(host: Host, session: Session, left: list[Unacked]) -> None:
    """Send what a client has never acknowledged to where it goes without it (RFC 6121 section 8.5)."""
    account = session.account
    for each in left:
        if each.kind == "message":
            others = any(other.presence is not None and other.priority >= 0 for other in host.sessions.of(account))
            was_for_all = each.to is not None and each.to.is_bare
            if each.type not in ("chat", "normal") or (was_for_all and others) or each.sender == account:
                # Rooms and headlines are for who is there; the account's other clients have what was for all of them;
                # what the account itself sends are copies and pages of its archive.
                continue
            late = each.stanza().plus(delay(host.domain, each.when))
            host.dispatch.post(late.addressed(to=account, sender=each.sender))
        elif each.kind == "iq" and each.type in ("get", "set"):
            # To nobody any more, so that its sender is told.
            host.dispatch.post(each.stanza())


def _scope(identity: Identity | None) -> tuple[str, str]:
    return ("", "") if identity is None else (identity.device, identity.room)


def _digest(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
