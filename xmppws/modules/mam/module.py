"""XEP-0313 Message Archive Management for accounts, with all of `#extended`, and preferences (XEP-0441).

Archived is what goes between people: chat and normal messages with a body, and what belongs to them; hints (XEP-0334)
are followed. A message has the id of the recipient's archive when it is delivered (XEP-0359). Rooms have no archives,
their messages are in none, and texts cannot be searched for.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Awaitable
from functools import partial

from xmppws.config import Section
from xmppws.core.events import (
    AccountEnding,
    FeaturesWanted,
    MessageFromUser,
    MessageToUser,
    OfflineWanted,
    SessionEnded,
)
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.metrics import counter
from xmppws.core.module import Module, Target, Xep, archive_store, iq_get, iq_set, keyvalue_store, on
from xmppws.core.session import Session
from xmppws.errors import Forbidden, InternalServerError, ItemNotFound
from xmppws.jid import Jid
from xmppws.modules.mam.archivable import (
    STANZA_ID,
    ids_by,
    is_archived,
    stanza_id,
    without_ids_by,
    without_ids_within,
)
from xmppws.modules.mam.expiry import Expiry
from xmppws.modules.mam.options import MamOptions
from xmppws.modules.mam.pages import Page, is_everything, read_page, write_fin, write_result
from xmppws.modules.mam.preferences import Policy, Preferences, read_preferences, write_preferences
from xmppws.modules.mam.query import FORM_OF_QUERIES, Query, read_query
from xmppws.modules.mam.seen import Seen, seen
from xmppws.modules.mam.wishes import Wishes
from xmppws.xml import ns
from xmppws.xml.delay import timestamp
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import Stanza, kept
from xmppws.xml.writer import child, element, serialize

_CARBONS = f"{{{ns.CARBONS}}}enable"


class Mam(Module):
    name = "mam"
    xeps = (Xep(313, "1.1.3"), Xep(59, "1.0"), Xep(359, "0.7.0"), Xep(441, "0.2.0"))
    account_features = (ns.MAM, f"{ns.MAM}#extended", f"{ns.MAM}#groupchat-field", ns.RSM, ns.STANZA_IDS)
    Options = MamOptions
    options: MamOptions

    # Each message as it was sent, addresses included; `with_` is the bare JID of the other side.
    messages = archive_store("mam")
    preferences = keyvalue_store("mam", Preferences)

    archived = counter("xmppws_mam_archived_total", "Messages put into archives.")
    queries = counter("xmppws_mam_queries_total", "Queries of archives.")
    expired = counter("xmppws_mam_expired_total", "Messages removed because of their age.")

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        self._wishes = Wishes(host, self.preferences, Policy(self.options.default_policy))
        # What clients have got from their archives, before they take what waits for them.
        self._seen: dict[Session, Seen] = {}
        self._latest = 0.0
        self._expiry = Expiry(self.messages, self.options.expire_after, self.expired.inc)

    async def start(self) -> None:
        """Begin to remove what is too old."""
        if self.options.expire_after:
            self._expiry.start()

    async def stop(self) -> None:
        """Remove nothing any more."""
        await self._expiry.stop()

    # --- What is archived ---

    @on(MessageFromUser, Phase.ARCHIVE)
    def sent(self, event: MessageFromUser) -> Verdict | Awaitable[Verdict]:
        """Archive what a user sends."""
        message, to = event.stanza, event.stanza.to
        assert to is not None
        tags = [tag_of(each) for each in message.element]
        if STANZA_ID in tags:
            # XEP-0359: "Stanza ID generating entities ... MUST delete that element". No client is one.
            event.stanza = without_ids_within(message, (self.host.domain, *self.host.components))
        if not is_archived(message.type, tags):
            return None
        policy = self._wishes.policy(event.session.account, to)
        if policy is None:
            return self._sent_later(event)
        if policy is Policy.ALWAYS:
            self._keep_sent(event)
        return None

    @on(MessageToUser, Phase.ARCHIVE)
    def came(self, event: MessageToUser) -> Verdict | Awaitable[Verdict]:
        """Archive what comes for a user."""
        message = event.stanza
        assert message.to is not None
        account, sender = message.to.bare, message.sender
        if sender is None or sender.bare == account:
            return None  # What a user sends to itself was archived when it was sent.
        tags = [tag_of(each) for each in message.element]
        if STANZA_ID in tags and (ids := ids_by(message, account)):
            return self._came_with_id(event, ids)
        if not is_archived(message.type, tags):
            return None
        policy = self._wishes.policy(account, sender)
        if policy is None:
            return self._came_later(event)
        if policy is Policy.ALWAYS:
            self._keep_received(event)
        return None

    async def _sent_later(self, event: MessageFromUser) -> Verdict:
        account = event.session.account
        assert event.stanza.to is not None
        async with self._wishes.turns.of(account):
            if await self._wishes.are(account, event.stanza.to):
                self._keep_sent(event)
        return None

    async def _came_later(self, event: MessageToUser) -> Verdict:
        to, sender = event.stanza.to, event.stanza.sender
        assert to is not None and sender is not None
        async with self._wishes.turns.of(to.bare):
            if await self._wishes.are(to.bare, sender) and await self._is_account(to.bare):
                self._keep_received(event)
        return None

    async def _came_with_id(self, event: MessageToUser, ids: list[str]) -> Verdict:
        """Archive a message that has an id of this archive, unless that is true: then it is on its way again."""
        to, sender = event.stanza.to, event.stanza.sender
        assert to is not None and sender is not None
        await self._settled()
        entry = await self.messages.get(to.local, ids[0]) if len(ids) == 1 else None
        if entry is not None and entry.with_ == sender.bare.text:
            return None
        event.stanza = without_ids_by(event.stanza, to.bare)
        verdict = self.came(event)
        return verdict if verdict is None or verdict is STOP else await verdict

    async def _is_account(self, account: Jid) -> bool:
        return bool(self.host.sessions.of(account)) or await self.host.exists(account.local)

    def _keep_sent(self, event: MessageFromUser) -> None:
        account, message = event.session.account, event.stanza
        assert message.to is not None
        id = self._keep(account, message.to, message)
        if message.to.bare == account:
            event.stanza = message.plus(id)
        else:
            # XEP-0313 section 3.5: not "in messages addressed to JIDs that do not have permissions to access the
            # archive, such as a user's outgoing messages to their contacts".
            event.for_sender += id

    def _keep_received(self, event: MessageToUser) -> None:
        message = event.stanza
        assert message.to is not None and message.sender is not None
        event.stanza = message.plus(self._keep(message.to.bare, message.sender, message))

    def _keep(self, account: Jid, other: Jid, message: Stanza) -> bytes:
        # The clock may be set back; the order stays.
        when = self._latest = max(self._latest, time.time())
        id = self.messages.next_id(when)
        written = self.messages.append(account.local, message.wire, when=when, with_=other.bare.text, id=id)
        if written.done():
            self._written(message, written)
        else:
            written.add_done_callback(partial(self._written, message))
        self.archived.inc()
        return stanza_id(account, id)

    def _written(self, message: Stanza, written: Future[str]) -> None:
        if not written.cancelled() and written.exception() is not None:
            # The storage has said why.
            self.host.dispatch.post(message.error(InternalServerError("The message could not be archived")))

    # --- Queries ---

    @iq_get(ns.MAM, "query", to=Target.SELF)
    def form(self, iq: Stanza) -> Stanza:
        """Say what can be asked for."""
        return iq.result().plus(FORM_OF_QUERIES)

    @iq_set(ns.MAM, "query", to=Target.SELF)
    async def query(self, iq: Stanza) -> Stanza | None:
        """Send a page of the user's archive."""
        assert iq.sender is not None and iq.payload is not None
        session = self.host.sessions.find(iq.sender)
        if session is None:
            raise ItemNotFound
        self.queries.inc()
        query = read_query(iq.payload, self.options.max_page)
        newest = self.messages.next_id(max(self._latest, time.time()))
        await self._settled()
        page = await read_page(self.messages, iq.sender.local, query)
        if not await self._send(session, query, page):
            return None
        self._note(session, seen(query, page, newest))
        return iq.result(write_fin(query, page, await self._count(iq.sender.local, query, page)))

    @iq_get(ns.MAM, "metadata", to=Target.SELF)
    async def metadata(self, iq: Stanza) -> Stanza:
        """Tell of the first and last message of the archive (section 5)."""
        assert iq.sender is not None
        return iq.result(await self._metadata(iq.sender.local))

    async def _metadata(self, owner: str) -> Element:
        await self._settled()
        made = element(ns.MAM, "metadata")
        for name, newest_first in (("start", False), ("end", True)):
            for entry in await self.messages.page(owner, limit=1, newest_first=newest_first):
                child(made, ns.MAM, name, {"id": entry.id, "timestamp": timestamp(entry.when)})
        return made

    @iq_get(ns.MAM, "prefs", to=Target.SELF)
    async def tell_preferences(self, iq: Stanza) -> Stanza:
        """Tell what is archived."""
        assert iq.sender is not None
        return iq.result(write_preferences(await self._wishes.of(iq.sender.bare)))

    @iq_set(ns.MAM, "prefs", to=Target.SELF)
    async def set_preferences(self, iq: Stanza) -> Stanza:
        """Archive something else from now on."""
        assert iq.sender is not None and iq.payload is not None
        wanted = await read_preferences(iq.payload, self.options.max_addresses)
        await self._wishes.set(iq.sender.bare, wanted)
        return iq.result(write_preferences(wanted))

    @iq_get(ns.MAM, "query", to=Target.OTHER)
    @iq_set(ns.MAM, "query", to=Target.OTHER)
    @iq_get(ns.MAM, "metadata", to=Target.OTHER)
    @iq_get(ns.MAM, "prefs", to=Target.OTHER)
    @iq_set(ns.MAM, "prefs", to=Target.OTHER)
    def refuse(self, iq: Stanza) -> Stanza:
        """Keep archives from everybody else (section 8.1)."""
        raise Forbidden("An archive is its owner's alone")

    async def _settled(self) -> None:
        """Wait for the archive to hold what was sent and delivered before: its ids are known to clients already."""
        written = self.host.stores.settled(gathered=True)
        if written is not None:
            await written

    async def _send(self, session: Session, query: Query, page: Page) -> bool:
        """Send the results as fast as the client takes them; tell whether it has stayed to the end."""
        for entry in reversed(page.entries) if query.flipped else page.entries:
            await session.writable()
            if self.host.sessions.find(session.jid) is not session:
                return False
            content = write_result(query, entry)
            session.send(kept("message", "normal", content, to=session.jid, sender=session.account))
        return True

    async def _count(self, owner: str, query: Query, page: Page) -> int | None:
        """Return how many messages fit a query, where that is known or can be counted without reading them."""
        if is_everything(query, page):
            return len(page.entries)
        return await self.messages.count(owner) if query.limit == 0 and not query.is_filtered else None

    # --- What clients know ---

    @on(FeaturesWanted, Phase.ANSWER)
    async def begins(self, event: FeaturesWanted) -> Verdict:
        """Tell a client that logs in what its archive holds (XEP-0386 section 3.2)."""
        account = event.session.account
        made = await self._metadata(account.local)
        event.answers.append(serialize(made))
        if len(made) and _CARBONS in event.wanted:
            # Who wants copies of what others get reads the archive for what came before. XEP-0386: messages that wait
            # are not sent then, "as they will be provided by MAM".
            self._note(event.session, Seen(made[0].get("id", ""), self.messages.next_id(time.time())))
        return None

    @on(OfflineWanted, Phase.ANSWER)
    def is_known(self, event: OfflineWanted) -> Verdict:
        """Keep from a client the messages that it has got from its archive (XEP-0313, User Archives)."""
        known = self._seen.get(event.session)
        if known is None:
            return None
        ids = ids_by(event.stanza, event.session.account)
        return STOP if ids and ids[0] in known else None

    @on(SessionEnded, Phase.OBSERVE)
    def forget(self, event: SessionEnded) -> Verdict:
        """Forget what only sessions need."""
        account = event.session.account
        self._seen.pop(event.session, None)
        if not self.host.sessions.of(account):
            self._wishes.forget(account)
        return None

    @on(AccountEnding, Phase.GUARD)
    async def settle(self, event: AccountEnding) -> Verdict:
        """Let what is about to be archived come to the store, before all data of the account goes."""
        async with self._wishes.turns.of(event.account):
            return None

    def _note(self, session: Session, now: Seen | None) -> None:
        if now is not None and self.host.sessions.find(session.jid) is session:
            before = self._seen.get(session)
            self._seen[session] = now if before is None else before.and_then(now)
