"""XEP-0160 Offline Messages: keeps messages for an account until a resource of it is there to take them.

They are stamped after XEP-0203. Chat states alone and messages that ask not to be stored (XEP-0334) are not kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Annotated, Final

from xmppws.config import Section
from xmppws.config.options import Opt
from xmppws.core.events import MessageUndelivered, SessionAvailable
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.module import Module, Xep, archive_store, on
from xmppws.core.session import Session
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
        # Of two resources that become available at once, one gets the messages.
        self._flushing: set[Jid] = set()

    @on(MessageUndelivered, Phase.DELIVER)
    async def keep(self, event: MessageUndelivered) -> Verdict:
        """Keep a message (XEP-0160 section 3)."""
        stanza = event.stanza
        assert stanza.to is not None and stanza.sender is not None
        if not _is_worth_keeping(stanza):
            return STOP
        owner = stanza.to.local
        if await self.messages.count(owner) >= self.options.max_messages:
            # Section 2: then the sender is told, as if there were no such service.
            raise ServiceUnavailable("Too many messages wait for this user already")
        written = self.messages.append(owner, stanza.content, when=time.time(), with_=stanza.sender.text)
        written.add_done_callback(partial(self._written, stanza))
        return STOP

    @on(SessionAvailable, Phase.DELIVER)
    async def deliver(self, event: SessionAvailable) -> Verdict:
        """Send what was kept to the first resource that takes messages (sections 2 and 3)."""
        session = event.session
        account = session.jid.bare
        taken_before = event.earlier is not None and event.earlier >= 0
        if session.priority >= 0 and not taken_before and account not in self._flushing:
            self._flushing.add(account)
            try:
                await self._flush(account, session)
            finally:
                self._flushing.discard(account)
        return None

    async def _flush(self, account: Jid, session: Session) -> None:
        while entries := await self.messages.page(account.local, limit=_PAGE):
            sent = []
            for entry in entries:
                await session.writable()
                if self.host.sessions.find(session.jid) is not session:
                    break
                message = kept("message", "", entry.data, to=account, sender=Jid.prepared(entry.with_))
                session.send(message.plus(delay(self.host.domain, entry.when)))
                sent.append(entry.id)
            await self.messages.remove(account.local, ids=sent)
            if len(sent) < len(entries):
                return

    def _written(self, stanza: Stanza, written: asyncio.Future[str]) -> None:
        if not written.cancelled() and (error := written.exception()) is not None:
            log.error("a message from %s to %s could not be kept", stanza.sender, stanza.to, exc_info=error)
            self.host.dispatch.post(stanza.error(InternalServerError()))


def _is_worth_keeping(message: Stanza) -> bool:
    tags = [tag_of(child) for child in message.element]
    if not _NO_STORE.isdisjoint(tags):
        return False
    # Section 3: what holds chat states alone is not worth it; nor is a thread id.
    return any(not tag.startswith((f"{{{ns.CHAT_STATES}}}", f"{{{ns.CLIENT}}}thread")) for tag in tags)
