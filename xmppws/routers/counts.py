"""How many stanzas of its client each session has handled, kept on the disk: XEP-0198's `h` for who cannot resume.

The number is written in the transaction that holds what the stanzas have caused. So after a crash, too, a client learns
which of its stanzas it has to send again: all of the others are there, and none of these.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextvars import Context
from functools import partial
from typing import Final

from msgspec import Struct

from xmppws.core.events import AccountEnding
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.session import Session
from xmppws.core.stores import StorageError
from xmppws.jid import Jid
from xmppws.stream.sm import Acks

log = logging.getLogger("xmppws.resumption")

STORE: Final = "handled"
# Seconds for which a session is remembered that cannot be resumed any more; how many of one account, and accounts.
_REMEMBERED_FOR: Final = 86_400.0
_MAX_PAST: Final = 10
_MAX_ACCOUNTS: Final = 10_000


class Handled(Struct, frozen=True, array_like=True):
    """How many stanzas a session has handled. One that is over is forgotten at `until`, in seconds since 1970."""

    h: int
    until: float | None = None


class Counts:
    """The numbers of one host's sessions; `digests` are those of the ids by which they can be resumed."""

    def __init__(self, host: Host, digests: Mapping[Session, bytes]) -> None:
        self._host = host
        self._digests = digests
        self._store = host.stores.keyvalue(STORE, dict[str, Handled])
        # What was written last, or is about to be.
        self._noted: dict[Session, int] = {}
        # Of sessions that are over, by account and digest.
        self._past: dict[Jid, dict[str, Handled]] = {}
        host.hooks.add(AccountEnding, Phase.DELIVER, self._forget, "(resumption)")

    def note(self, session: Session) -> None:
        """Let it be written, with what is gathered now, how many stanzas a session has handled."""
        if session in self._digests:
            self._write(session.account)

    def ensure(self, session: Session) -> None:
        """Let it be written if it was not: nobody is told a number that a crash makes smaller."""
        if session.acks is not None and self._noted.get(session) != session.acks.handled:
            self.note(session)

    def end(self, session: Session, digest: bytes, *, may_return: bool) -> None:
        """Forget a session, which `digests` has no longer; its client may yet come back and ask for it."""
        noted = self._noted.pop(session, None)
        if may_return and session.acks is not None:
            self._remember(session, digest, session.acks)
        if may_return or noted is not None:
            self._write_now(session.account)

    def past(self, digest: bytes, account: Jid) -> int | None:
        """Return how many stanzas a session of the account had handled when it ended, None if nobody remembers."""
        handled = self._past.get(account, {}).get(digest.hex())
        return None if handled is None else handled.h

    async def load(self) -> None:
        """Read the numbers of a process that has ended; sessions that are there again go on with theirs."""
        now = time.time()
        alive = {digest.hex() for digest in self._digests.values()}
        for owner in await self._store.owners():
            try:
                known = await self._store.get(owner) or {}
            except StorageError as error:
                # Somebody has changed what was stored.
                log.error("how many stanzas of %s were handled is not known: %s", owner, error)
                continue
            past = {
                digest: Handled(each.h, each.until or now + _REMEMBERED_FOR)
                for digest, each in known.items()
                if digest not in alive and (each.until is None or each.until > now)
            }
            account = Jid.make(owner, self._host.domain)
            if past:
                self._past[account] = past
            if len(past) != len(known):
                self._write(account)

    def _remember(self, session: Session, digest: bytes, acks: Acks) -> None:
        past = self._past.setdefault(session.account, {})
        past[digest.hex()] = Handled(acks.handled, time.time() + _REMEMBERED_FOR)
        if len(past) > _MAX_PAST:
            del past[next(iter(past))]
        if len(self._past) > _MAX_ACCOUNTS:
            oldest = next(iter(self._past))
            del self._past[oldest]
            self._write_now(oldest)
        if session.handling is not None:
            session.handling.add_done_callback(partial(self._handled_late, session, digest, acks))

    def _handled_late(self, session: Session, digest: bytes, acks: Acks, _: asyncio.Future[None]) -> None:
        """Correct the number of a session that has ended while a stanza of it was handled."""
        past = self._past.get(session.account, {})
        if (remembered := past.get(digest.hex())) is not None:
            past[digest.hex()] = Handled(acks.handled, remembered.until)
            self._write_now(session.account)

    def _forget(self, event: AccountEnding) -> Verdict:
        """Forget the sessions of an account, whose data are about to go."""
        self._past.pop(event.account, None)
        return None

    def _write_now(self, account: Jid) -> None:
        """Write without waiting for the stanza, of whomever, that has caused it: then older numbers would come last."""
        try:
            Context().run(self._write, account)
        except StorageError as error:
            # The session is over all the same.
            log.error("how many stanzas of %s were handled could not be written: %s", account, error)

    def _write(self, account: Jid) -> None:
        numbers = self._current(account)
        noted: dict[Session, int] = {}
        for session in self._host.sessions.of(account):
            digest = self._digests.get(session)
            if digest is not None and session.acks is not None:
                noted[session] = session.acks.handled
                numbers[digest.hex()] = Handled(session.acks.handled)
        self._store.put(account.local, numbers or None)
        self._noted |= noted

    def _current(self, account: Jid) -> dict[str, Handled]:
        past = self._past.get(account)
        if past is None:
            return {}
        now = time.time()
        left = {digest: each for digest, each in past.items() if each.until is not None and each.until > now}
        if left:
            self._past[account] = left
        else:
            del self._past[account]
        return dict(left)
