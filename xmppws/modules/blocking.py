"""XEP-0191 Blocking Command: nothing goes between an account and the addresses that it has blocked.

An entry is a full JID, an account, a domain, or a resource of a domain. Reports (XEP-0377) are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from xmppws.config import Section
from xmppws.config.options import Opt
from xmppws.core.events import (
    AudienceChanged,
    DirectedPresenceFromUser,
    IqFromUser,
    IqToUser,
    MessageFromUser,
    MessageToUser,
    PresenceAudience,
    PresenceToUser,
    RosterWanted,
    SessionEnded,
    SessionRestored,
    SessionSuspended,
)
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.module import Module, Target, Xep, iq_get, iq_set, keyvalue_store, on
from xmppws.core.session import Session
from xmppws.core.turns import Turns
from xmppws.errors import BadRequest, JidMalformed, NotAcceptable, ResourceConstraint, ServiceUnavailable
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza, iq, presence
from xmppws.xml.writer import child, element

# The list of nearly everybody; it is asked for with every stanza.
_NOTHING: Final[frozenset[str]] = frozenset()
# Addresses that are prepared at once: each may take milliseconds. Then others have their turn.
_AT_ONCE: Final = 10


class Blocked(NotAcceptable):
    """The sender has blocked whom it writes to (XEP-0191 section 3.5)."""

    specific = f"{{{ns.BLOCKING_ERRORS}}}blocked"


class Blocking(Module):
    name = "blocking"
    xeps = (Xep(191, "1.3"),)
    requires = ("roster", "presence")
    features = (ns.BLOCKING,)
    lists = keyvalue_store("blocking", tuple[str, ...])

    class Options(Section, frozen=True, kw_only=True):
        max_addresses: Annotated[int, Opt("Addresses that an account may block.", minimum=1)] = 1000

    options: Options

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        # Of accounts with sessions: every stanza asks for it.
        self._known: dict[Jid, frozenset[str]] = {}
        # Who has asked for the list is told of changes (section 3.3).
        self._interested: dict[Jid, set[Session]] = {}
        # A change reads, writes and tells: one after the other for each account.
        self._turns = Turns()

    @on(MessageFromUser, Phase.GUARD)
    def message_sent(self, event: MessageFromUser) -> Verdict | Awaitable[Verdict]:
        """Refuse a message to an address that the user has blocked."""
        account = event.session.account
        return None if self._known.get(account) == _NOTHING else self._check(account, self._sent, event.stanza)

    @on(DirectedPresenceFromUser, Phase.GUARD)
    def presence_sent(self, event: DirectedPresenceFromUser) -> Verdict | Awaitable[Verdict]:
        """Refuse presence to an address that the user has blocked."""
        account = event.session.account
        return None if self._known.get(account) == _NOTHING else self._check(account, self._sent, event.stanza)

    @on(IqFromUser, Phase.GUARD)
    def iq_sent(self, event: IqFromUser) -> Verdict | Awaitable[Verdict]:
        """Refuse an IQ to an address that the user has blocked."""
        account = event.session.account
        return None if self._known.get(account) == _NOTHING else self._check(account, self._sent, event.stanza)

    @on(MessageToUser, Phase.GUARD)
    def message_came(self, event: MessageToUser) -> Verdict | Awaitable[Verdict]:
        """Keep from the user a message of an address that it has blocked."""
        to = event.stanza.to
        assert to is not None
        account = to.bare
        return None if self._known.get(account) == _NOTHING else self._check(account, self._came, event.stanza)

    @on(PresenceToUser, Phase.GUARD)
    def presence_came(self, event: PresenceToUser) -> Verdict | Awaitable[Verdict]:
        """Keep from the user presence of an address that it has blocked."""
        to = event.stanza.to
        assert to is not None
        account = to.bare
        return None if self._known.get(account) == _NOTHING else self._check(account, self._came, event.stanza)

    @on(IqToUser, Phase.GUARD)
    def iq_came(self, event: IqToUser) -> Verdict | Awaitable[Verdict]:
        """Keep from the user an IQ of an address that it has blocked."""
        to = event.stanza.to
        assert to is not None
        account = to.bare
        return None if self._known.get(account) == _NOTHING else self._check(account, self._came, event.stanza)

    @on(PresenceAudience, Phase.GUARD)
    async def hide(self, event: PresenceAudience) -> Verdict:
        """Take blocked addresses out of those who get a user's presence."""
        blocked = await self._list(event.account)
        event.contacts.difference_update([jid for jid in event.contacts if _covers(blocked, jid)])
        return None

    @on(SessionEnded, Phase.OBSERVE)
    def forget(self, event: SessionEnded) -> None:
        """Forget what only sessions need."""
        account = event.session.jid.bare
        self._interested.get(account, set()).discard(event.session)
        if not self.host.sessions.of(account):
            self._known.pop(account, None)
            self._interested.pop(account, None)

    @on(SessionSuspended, Phase.OBSERVE)
    def suspended(self, event: SessionSuspended) -> Verdict:
        """Let it be stored that a client is told of changes."""
        if event.session in self._interested.get(event.session.account, ()):
            event.state[self.name] = "interested"
        return None

    @on(SessionRestored, Phase.OBSERVE)
    def restored(self, event: SessionRestored) -> Verdict:
        """Tell a client of changes again."""
        if self.name in event.state:
            self._interested.setdefault(event.session.account, set()).add(event.session)
        return None

    @iq_get(ns.BLOCKING, "blocklist", to=Target.SELF)
    async def get(self, iq: Stanza) -> Stanza:
        """Return the list (section 3.2)."""
        assert iq.sender is not None
        account = iq.sender.bare
        session = self.host.sessions.find(iq.sender)
        if session is not None:
            self._interested.setdefault(account, set()).add(session)
        return iq.result(_write("blocklist", sorted(await self._list(account))))

    @iq_set(ns.BLOCKING, "block", to=Target.SELF)
    async def block(self, iq: Stanza) -> Stanza:
        """Add addresses (section 3.3)."""
        assert iq.sender is not None and iq.payload is not None
        account, wanted = iq.sender.bare, await self._read(iq.payload)
        if not wanted:
            raise BadRequest("There is nothing to block")
        async with self._turns.of(account):
            before = await self._list(account)
            if len(before | wanted) > self.options.max_addresses:
                raise self._too_many()
            await self._set(account, before | wanted)
            new = wanted - before
            await self._tell_contacts(account, lambda jid: _covers(new, jid) and not _covers(before, jid), shown=False)
            self._push(account, _write("block", sorted(wanted)))
        return iq.result()

    @iq_set(ns.BLOCKING, "unblock", to=Target.SELF)
    async def unblock(self, iq: Stanza) -> Stanza:
        """Remove addresses, or all of them (sections 3.4 and 3.5)."""
        assert iq.sender is not None and iq.payload is not None
        account, named = iq.sender.bare, await self._read(iq.payload)
        async with self._turns.of(account):
            before = await self._list(account)
            left = before - named if named else _NOTHING
            await self._set(account, left)
            await self._tell_contacts(account, lambda jid: _covers(before, jid) and not _covers(left, jid), shown=True)
            self._push(account, _write("unblock", sorted(named)))
        return iq.result()

    def _check(
        self, account: Jid, check: Callable[[frozenset[str], Stanza], Verdict], stanza: Stanza
    ) -> Verdict | Awaitable[Verdict]:
        blocked = self._known.get(account)
        return self._check_later(account, check, stanza) if blocked is None else check(blocked, stanza)

    async def _check_later(
        self, account: Jid, check: Callable[[frozenset[str], Stanza], Verdict], stanza: Stanza
    ) -> Verdict:
        return check(await self._list(account), stanza)

    def _sent(self, blocked: frozenset[str], stanza: Stanza) -> Verdict:
        assert stanza.to is not None and stanza.sender is not None
        # The user's own account and server are always in reach, or nobody could be unblocked.
        if stanza.to.bare in (self.host.jid, stanza.sender.bare) or not _covers(blocked, stanza.to):
            return None
        raise Blocked("You have blocked this address")

    def _came(self, blocked: frozenset[str], stanza: Stanza) -> Verdict:
        assert stanza.to is not None and stanza.sender is not None
        if stanza.sender.bare in (self.host.jid, stanza.to.bare) or not _covers(blocked, stanza.sender):
            return None
        # Section 3.5: silence for presence; for the rest, what one gets who is not there.
        if stanza.kind == "presence":
            return STOP
        raise ServiceUnavailable

    async def _list(self, account: Jid) -> frozenset[str]:
        known = self._known.get(account)
        if known is not None:
            return known
        stored = frozenset(await self.lists.get(account.local) or ())
        if account not in self._known and self.host.sessions.of(account):
            self._known[account] = stored
        return self._known.get(account, stored)

    async def _set(self, account: Jid, blocked: frozenset[str]) -> None:
        # At once: nothing passes while it is written.
        self._known[account] = blocked
        try:
            await self.lists.set(account.local, tuple(sorted(blocked)))
        except BaseException:
            self._known.pop(account, None)
            raise
        if not self.host.sessions.of(account):
            self._known.pop(account, None)  # The session has ended meanwhile.

    async def _tell_contacts(self, account: Jid, concerned: Callable[[Jid], bool], *, shown: bool) -> None:
        wanted = RosterWanted(account)
        await self.host.hooks.finish(wanted)
        contacts = {jid for jid, item in (wanted.items or {}).items() if item.subscription.seen_by_contact}
        await self.host.hooks.finish(AudienceChanged(account, {jid for jid in contacts if concerned(jid)}, shown))
        if shown:
            return
        # Whom presence was sent directly learns that it is over, too.
        for session in self.host.sessions.of(account):
            for jid in [jid for jid in session.directed or () if concerned(jid)]:
                if session.directed and jid in session.directed:
                    session.directed.discard(jid)
                    sent = self.host.dispatch.send(presence("unavailable", to=jid, sender=session.jid))
                    if sent is not None:
                        await sent

    async def _read(self, payload: Element) -> frozenset[str]:
        items = payload.findall(f"{{{ns.BLOCKING}}}item")
        if len(items) > self.options.max_addresses:
            raise self._too_many()
        addresses = set()
        for number, item in enumerate(items, 1):
            try:
                addresses.add(Jid.parse(item.get("jid", "")).text)
            except InvalidJid as error:
                raise JidMalformed(str(error)) from None
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return frozenset(addresses)

    def _too_many(self) -> ResourceConstraint:
        return ResourceConstraint(f"An account blocks at most {self.options.max_addresses} addresses")

    def _push(self, account: Jid, payload: Element) -> None:
        push = iq("set", payload, to=account, sender=account, id=self.host.new_id())
        interested = self._interested.get(account, ())
        for session in self.host.sessions.of(account):
            if session in interested:
                session.send(push.addressed(to=session.jid, sender=account))


def _covers(blocked: frozenset[str], jid: Jid) -> bool:
    """Tell whether an entry matches (section 3.1: user@domain/resource, user@domain, domain/resource, domain)."""
    return jid.text in blocked or jid.bare.text in blocked or jid.domain in blocked


def _write(name: str, addresses: list[str]) -> Element:
    made = element(ns.BLOCKING, name)
    for address in addresses:
        child(made, ns.BLOCKING, "item", {"jid": address})
    return made
