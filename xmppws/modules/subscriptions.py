"""RFC 6121 section 3, presence subscriptions: requests, approvals, also ahead of the request, and cancellations.

The states are the table in core/subscription.py. Requests to other servers are not repeated (section 3.1.2 advises to).
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Final

from xmppws.core.delivery import send_all
from xmppws.core.events import (
    AccountEnding,
    AudienceChanged,
    ContactRemoved,
    DirectedPresenceFromUser,
    PresenceAudience,
    PresenceToUser,
    RosterChange,
    RosterWanted,
    SessionAvailable,
)
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.module import Module, on
from xmppws.core.roster import Half
from xmppws.core.subscription import TYPES, Way, after, passes
from xmppws.errors import NotAllowed, PolicyViolation
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza, kept, presence

# In bytes. A request is kept until it is answered, and an account has not much room for those of strangers.
_MAX_REQUEST: Final = 4 * 1024


class Subscriptions(Module):
    name = "subscriptions"
    requires = ("roster", "presence")
    stream_features = f'<sub xmlns="{ns.PRE_APPROVAL}"/>'.encode()

    @on(DirectedPresenceFromUser, Phase.DELIVER)
    def said(self, event: DirectedPresenceFromUser) -> Verdict | Awaitable[Verdict]:
        """Take what a client says about a subscription."""
        return self._send(event.session.jid.bare, event.stanza) if event.stanza.type in TYPES else None

    @on(PresenceToUser, Phase.DELIVER)
    def heard(self, event: PresenceToUser) -> Verdict | Awaitable[Verdict]:
        """Take what a contact says about a subscription."""
        stanza = event.stanza
        # The module presence has taken all else.
        assert stanza.to is not None and stanza.type in TYPES
        if stanza.type != "subscribe" and stanza.to.resource and self.host.sessions.find(stanza.to) is None:
            # Section 8.5.3.2.2: only a request to a resource that is not there is for the account.
            return STOP
        return self._receive(stanza)

    @on(SessionAvailable, Phase.DELIVER)
    def remind(self, event: SessionAvailable) -> Verdict:
        """Show a resource the requests that wait, until they are answered (section 3.1.3)."""
        if event.earlier is None:
            account = event.session.jid.bare
            for contact, item in event.roster.items():
                if item.request:
                    event.session.send(kept("presence", "subscribe", item.request, to=account, sender=contact))
        return None

    @on(ContactRemoved, Phase.DELIVER)
    async def removed(self, event: ContactRemoved) -> Verdict:
        """Cancel what there was with a contact that is taken from the roster (section 2.5.2)."""
        account, contact, item = event.account, event.contact, event.item
        if item.to is not Half.NO:
            await self._route(presence("unsubscribe", to=contact, sender=account))
        if item.from_ is Half.YES:
            # Who is blocked has not seen the account for long.
            audience = {contact}
            await self.host.hooks.finish(PresenceAudience(account, audience))
            await self.host.hooks.finish(AudienceChanged(account, audience, shown=False))
        if item.from_ is not Half.NO:
            await self._route(presence("unsubscribed", to=contact, sender=account))
        return None

    @on(AccountEnding, Phase.DELIVER)
    async def ending(self, event: AccountEnding) -> Verdict:
        """Cancel every subscription of an account that goes, so that nobody waits for it."""
        wanted = RosterWanted(event.account)
        await self.host.hooks.finish(wanted)
        for contact, item in (wanted.items or {}).items():
            await self.removed(ContactRemoved(event.account, contact, item))
        return None

    async def _send(self, account: Jid, stanza: Stanza) -> Verdict:
        """Appendix A.2."""
        assert stanza.to is not None
        contact = stanza.to.bare
        if contact == account:
            raise NotAllowed("An account needs no subscription to itself")
        change = RosterChange(account, contact, partial(after, way=Way.OUTBOUND, type=stanza.type))
        await self.host.hooks.finish(change)
        if stanza.type == "unsubscribed":
            # Section 3.2.2: unavailable presence goes out "while the user is still subscribed".
            await self._tell(change)
        if passes(change.before, Way.OUTBOUND, stanza.type):
            # Sections 3.1.2, 3.1.5, 3.2.2 and 3.3.2: these are between accounts, so both addresses are bare.
            await self._route(stanza.addressed(to=contact, sender=account))
        if stanza.type == "subscribed":
            await self._tell(change)
        return STOP

    async def _receive(self, stanza: Stanza) -> Verdict:
        """Appendix A.3."""
        assert stanza.to is not None and stanza.sender is not None
        account, contact = stanza.to.bare, stanza.sender.bare
        if not await self.host.exists(account.local):
            if stanza.type == "subscribe":
                await self._route(presence("unsubscribed", to=contact, sender=account))
            return STOP
        stanza = stanza.addressed(to=account, sender=contact)
        if stanza.type == "subscribe":
            await self._requested(account, contact, stanza)
        else:
            step = partial(after, way=Way.INBOUND, type=stanza.type)
            change = RosterChange(account, contact, step, partial(self._notify, stanza))
            await self.host.hooks.finish(change)
            await self._tell(change)
        return STOP

    async def _requested(self, account: Jid, contact: Jid, stanza: Stanza) -> None:
        if len(stanza.content) > _MAX_REQUEST:
            raise PolicyViolation(f"A request has at most {_MAX_REQUEST} bytes")
        step = partial(after, way=Way.INBOUND, type=stanza.type, request=stanza.content)
        change = RosterChange(account, contact, step)
        await self.host.hooks.finish(change)
        if change.after is not None and change.after.from_ is Half.YES:
            # Sections 3.1.3 and 3.4.2: who is subscribed already, or was approved ahead, is told at once.
            await self._route(presence("subscribed", to=contact, sender=account))
            await self.host.hooks.finish(AudienceChanged(account, (contact,), shown=True))
        elif passes(change.before, Way.INBOUND, stanza.type):
            # Section 3.1.3: to all available resources; the answers below go to interested ones.
            send_all([session for session in self.host.sessions.of(account) if session.presence is not None], stanza)

    def _notify(self, stanza: Stanza, change: RosterChange) -> None:
        # Sections 3.1.6, 3.2.3 and 3.3.3: "This MUST occur before sending the roster push".
        if passes(change.before, Way.INBOUND, stanza.type):
            send_all([session for session in self.host.sessions.of(change.account) if session.interested], stanza)

    async def _tell(self, change: RosterChange) -> None:
        before = change.before is not None and change.before.from_ is Half.YES
        now = change.after is not None and change.after.from_ is Half.YES
        if before != now:
            await self.host.hooks.finish(AudienceChanged(change.account, (change.contact,), shown=now))

    async def _route(self, stanza: Stanza) -> None:
        # In order: what follows for the contact must not overtake it.
        routed = self.host.dispatch.send(stanza)
        if routed is not None:
            await routed
