"""The sessions of one host, by account."""

from __future__ import annotations

from collections.abc import Iterator

from xmppws.core.session import Session
from xmppws.jid import Jid


class Sessions:
    """All sessions of one host.

    An account has few, so they stand in a tuple: one entry of a dict for an account, nothing nested.
    """

    __slots__ = ("_by_account", "_count")

    def __init__(self) -> None:
        self._by_account: dict[Jid, tuple[Session, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Session]:
        return (session for sessions in tuple(self._by_account.values()) for session in sessions)

    def of(self, account: Jid) -> tuple[Session, ...]:
        """Return the sessions of an account, oldest first."""
        return self._by_account.get(account, ())

    def find(self, full: Jid) -> Session | None:
        """Return the session with this full JID."""
        for session in self._by_account.get(full.bare, ()):
            if session.jid.resource == full.resource:
                return session
        return None

    def add(self, session: Session) -> None:
        """Add a session; its full JID is free."""
        account = session.jid.bare
        self._by_account[account] = (*self._by_account.get(account, ()), session)
        self._count += 1

    def remove(self, session: Session) -> bool:
        """Remove a session, and tell whether it was there."""
        account = session.jid.bare
        sessions = self._by_account.get(account, ())
        rest = tuple(other for other in sessions if other is not session)
        if len(rest) == len(sessions):
            return False
        if rest:
            self._by_account[account] = rest
        else:
            del self._by_account[account]
        self._count -= 1
        return True
