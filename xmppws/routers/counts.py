"""How many stanzas of its client each session has handled, kept on the disk: XEP-0198's `h` for who cannot resume.

The number is written in the transaction that holds what the stanzas have caused. So after a crash, too, a client learns
which of its stanzas it has to send again: all of the others are there, and none of these.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from xmppws.core.host import Host
from xmppws.core.session import Session
from xmppws.jid import Jid

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
            past = self._past.setdefault(session.account, {})
            past[digest.hex()] = Handled(session.acks.handled, time.time() + _REMEMBERED_FOR)
            if len(past) > _MAX_PAST:
                del past[next(iter(past))]
            if len(self._past) > _MAX_ACCOUNTS:
                self._write_without(next(iter(self._past)))
        if may_return or noted is not None:
            self._write(session.account)

    def past(self, digest: bytes, account: Jid) -> int | None:
        """Return how many stanzas a session of the account had handled when it ended, None if nobody remembers."""
        handled = self._past.get(account, {}).get(digest.hex())
        return None if handled is None else handled.h

    async def load(self) -> None:
        """Read the numbers of a process that has ended; sessions that are there again go on with theirs."""
        now = time.time()
        alive = {digest.hex() for digest in self._digests.values()}
        for owner in await self._store.owners():
            known = await self._store.get(owner) or {}
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

    def _write_without(self, account: Jid) -> None:
        del self._past[account]
        self._write(account)

    def _write(self, account: Jid) -> None:
        numbers = self._current(account)
        for session in self._host.sessions.of(account):
            digest = self._digests.get(session)
            if digest is not None and session.acks is not None:
                self._noted[session] = session.acks.handled
                numbers[digest.hex()] = Handled(session.acks.handled)
        self._store.put(account.local, numbers or None)

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
