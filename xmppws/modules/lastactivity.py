"""XEP-0012 Last Activity of accounts: since when they have been away, for those who may see their presence.

It is written when the last available resource leaves, so a crash keeps the time before. How long a connected user has
been idle, clients know. The uptime of the host is the module uptime's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Final

import msgspec

from xmppws.config import Section
from xmppws.core.events import IqToUser, PresenceAllowed, PresenceFromUser, SessionEnded
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.module import Module, Target, Xep, iq_get, keyvalue_store, on
from xmppws.core.session import Session
from xmppws.errors import Forbidden, ItemNotFound
from xmppws.xml import ns
from xmppws.xml.parser import tag_of
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import element

_QUERY: Final = f"{{{ns.LAST}}}query"
# In characters.
_MAX_STATUS: Final = 1024


class LastSeen(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an account was last available, in seconds since 1970, and the status that it left with."""

    when: float
    status: str = ""


class LastActivity(Module):
    name = "lastactivity"
    xeps = (Xep(12, "2.0"),)
    account_features = (ns.LAST,)
    seen = keyvalue_store("lastactivity", LastSeen)

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        # What is being written: one task for an account, however often it comes and goes meanwhile.
        self._leaving: dict[str, LastSeen] = {}

    @iq_get(ns.LAST, "query", to=Target.SELF | Target.OTHER)
    async def answer(self, iq: Stanza) -> Stanza:
        """Say how long ago an account was available (section 3)."""
        assert iq.to is not None
        await self._check(iq)
        if any(session.presence is not None for session in self.host.sessions.of(iq.to)):
            return iq.result(element(ns.LAST, "query", {"seconds": "0"}))
        seen = await self.seen.get(iq.to.local)
        if seen is None:
            raise ItemNotFound("The account has not been available yet")
        # The clock may have been set back meanwhile.
        seconds = max(0, int(time.time() - seen.when))
        return iq.result(element(ns.LAST, "query", {"seconds": str(seconds)}, seen.status or None))

    @on(IqToUser, Phase.GUARD)
    def protect(self, event: IqToUser) -> Awaitable[None] | None:
        """Keep the question from a resource whose presence the asker may not see (section 4)."""
        iq = event.stanza
        assert iq.to is not None
        if iq.type != "get" or not iq.to.resource or iq.payload is None or tag_of(iq.payload) != _QUERY:
            return None
        return self._check(iq)

    # ARCHIVE: before the session is no longer available.
    @on(PresenceFromUser, Phase.ARCHIVE)
    def leave(self, event: PresenceFromUser) -> Verdict:
        """Remember when an account goes that stays connected, and with which status."""
        if event.stanza.type == "unavailable":
            self._left(event.session, event.stanza.element.findtext(f"{{{ns.CLIENT}}}status") or "")
        return None

    @on(SessionEnded, Phase.ARCHIVE)
    def ended(self, event: SessionEnded) -> Verdict:
        """Remember when an account goes without a word."""
        self._left(event.session, "")
        return None

    def _left(self, session: Session, status: str) -> None:
        others = (other for other in self.host.sessions.of(session.jid.bare) if other is not session)
        if session.presence is not None and all(other.presence is None for other in others):
            username = session.jid.local
            is_written = username in self._leaving
            self._leaving[username] = LastSeen(time.time(), status[:_MAX_STATUS])
            if not is_written:
                # Nobody waits for it: contacts shall hear of it at once.
                self.host.dispatch.observe(self._keep(username))

    async def _keep(self, username: str) -> None:
        written = None
        try:
            # The session may have ended because the account did, and nothing must be left of that.
            while written is not self._leaving[username] and await self.host.exists(username):
                written = self._leaving[username]
                await self.seen.set(username, written)
        finally:
            del self._leaving[username]

    async def _check(self, iq: Stanza) -> None:
        assert iq.sender is not None and iq.to is not None
        question = PresenceAllowed(iq.to.bare, iq.sender)
        question.allowed = iq.sender.bare == iq.to.bare
        if not question.allowed:
            await self.host.hooks.finish(question)
        if not question.allowed:
            raise Forbidden("Last activity is for those who may see the presence")
