"""XEP-0160 Offline Messages: keeps messages for an account until a resource of it is there to take them.

They are stamped after XEP-0203. Chat states alone and messages that ask not to be stored (XEP-0334) are not kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from functools import partial
from typing import Annotated, Final

from xmppws.config import Section
from xmppws.config.options import Opt
from xmppws.core.delivery import available
from xmppws.core.events import AccountEnding, MessageUndelivered, OfflineWanted, SessionAvailable
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.module import Module, Xep, archive_store, on
from xmppws.core.session import Session
from xmppws.core.turns import Turns
from xmppws.errors import InternalServerError, ServiceUnavailable
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.delay import delay
from xmppws.xml.parser import tag_of
from xmppws.xml.stanza import Stanza, kept

log = logging.getLogger("xmppws.offline")

_PAGE: Final = 50
_NO_STORE: Final = frozenset(f"{{{ns.HINTS}}}{name}" for name in ("no-store", "no-permanent-store"))


class Offline(Module):
    name = "offline"
    xeps = (Xep(160, "1.0.1"), Xep(203, "2.0"), Xep(334, "0.4.0"))
    requires = ("presence",)
    # XEP-0160 section 5.
    features = ("msgoffline",)
    messages = archive_store("offline")

    class Options(Section, frozen=True, kw_only=True):
        max_messages: Annotated[int, Opt("Messages kept for an account; further ones are refused.", minimum=1)] = 500

    options: Options

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        # Of two resources that become available at once, one gets the messages. True: look again afterwards.
        self._flushing: dict[Jid, bool] = {}
        # Messages are counted and then written: one after the other for each account.
        self._turns = Turns()
        # How many of an account's messages are not in the store yet.
        self._unwritten: Counter[Jid] = Counter()

    @on(MessageUndelivered, Phase.DELIVER)
    async def keep(self, event: MessageUndelivered) -> Verdict:
        """Keep a message (XEP-0160 section 3)."""
        stanza = event.stanza
        assert stanza.to is not None and stanza.sender is not None
        if not _is_worth_keeping(stanza):
            return STOP
        account = stanza.to.bare
        async with self._turns.of(account):
            number = await self.messages.count(account.local) + self._unwritten[account]
            if number >= self.options.max_messages:
                # Section 2: then the sender is told, as if there were no such service.
                raise ServiceUnavailable("Too many messages wait for this user already")
            written = self.messages.append(account.local, stanza.content, when=time.time(), with_=stanza.sender.text)
        if written.done():
            self._kept(account, stanza, written)
        else:
            self._unwritten[account] += 1
            written.add_done_callback(partial(self._written, account, stanza))
        return STOP

    @on(SessionAvailable, Phase.DELIVER)
    async def hand_out(self, event: SessionAvailable) -> Verdict:
        """Send what was kept to the first resource that takes messages (sections 2 and 3)."""
        session = event.session
        account = session.jid.bare
        taken_before = event.earlier is not None and event.earlier >= 0
        if session.priority >= 0 and not taken_before:
            await self._hand_over(account, session)
        return None

    @on(AccountEnding, Phase.GUARD)
    async def settle(self, event: AccountEnding) -> Verdict:
        """Let messages that are about to be kept come to the store, before all data of the account goes."""
        async with self._turns.of(event.account):
            return None

    async def _hand_over(self, account: Jid, session: Session) -> None:
        if account in self._flushing:
            self._flushing[account] = True
            return
        takers = [session]
        try:
            while takers:
                self._flushing[account] = False
                is_all = await self._flush(account, takers[-1])
                takers = available(self.host.sessions.of(account)) if self._flushing[account] or not is_all else []
        finally:
            self._flushing.pop(account, None)

    async def _flush(self, account: Jid, session: Session) -> bool:
        """Send what waits to a session; return whether that was all, or the session has ended."""
        while entries := await self.messages.page(account.local, limit=_PAGE):
            sent = []
            for entry in entries:
                await session.writable()
                if self.host.sessions.find(session.jid) is not session:
                    break
                message = kept("message", "", entry.data, to=account, sender=Jid.prepared(entry.with_))
                if await self.host.hooks.finish(OfflineWanted(session, message)) is not STOP:
                    session.send(message.plus(delay(self.host.domain, entry.when)))
                sent.append(entry.id)
            await self.messages.remove(account.local, ids=sent)
            if len(sent) < len(entries):
                return False
        return True

    def _written(self, account: Jid, stanza: Stanza, written: asyncio.Future[str]) -> None:
        self._unwritten[account] -= 1
        if not self._unwritten[account]:
            del self._unwritten[account]
        self._kept(account, stanza, written)

    def _kept(self, account: Jid, stanza: Stanza, written: asyncio.Future[str]) -> None:
        if not written.cancelled() and (error := written.exception()) is not None:
            log.error("a message from %s to %s could not be kept", stanza.sender, stanza.to, exc_info=error)
            self.host.dispatch.post(stanza.error(InternalServerError()))
        elif takers := available(self.host.sessions.of(account)):
            # They came while it was written, and found nothing yet.
            self.host.dispatch.observe(self._hand_over(account, takers[-1]))


def _is_worth_keeping(message: Stanza) -> bool:
    tags = [tag_of(child) for child in message.element]
    if not _NO_STORE.isdisjoint(tags):
        return False
    # Section 3: what holds chat states alone is not worth it; nor is a thread id.
    return any(not tag.startswith((f"{{{ns.CHAT_STATES}}}", f"{{{ns.CLIENT}}}thread")) for tag in tags)
