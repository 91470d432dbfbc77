"""RFC 6121 section 4, presence.

Broadcast to contacts and own resources, probes, directed presence, unavailable when a session ends.
Subscription requests (section 3) are answered with feature-not-implemented for now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from xmppws.core.delivery import send_all
from xmppws.core.events import DirectedPresenceFromUser, PresenceFromUser, PresenceToUser, RosterWanted, SessionEnded
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.module import Module, on
from xmppws.core.roster import RosterItem
from xmppws.core.session import Session
from xmppws.errors import BadRequest, FeatureNotImplemented, NotAcceptable
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza, presence

_PRIORITY: Final = re.compile(r"\s*([+-]?[0-9]{1,3})\s*")
_MAX_DIRECTED: Final = 1000
_SUBSCRIPTIONS: Final = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})


class Presence(Module):
    name = "presence"
    requires = ("roster",)

    @on(PresenceFromUser, Phase.DELIVER)
    async def broadcast(self, event: PresenceFromUser) -> Verdict:
        """Keep the presence, and tell all who may know (sections 4.2, 4.4, 4.5)."""
        session, stanza = event.session, event.stanza
        if stanza.type == "":
            initial = session.presence is None
            session.priority = _priority(stanza)
            session.presence = stanza
            items = await self._tell_contacts(session, stanza)
            if initial:
                self._ask_contacts(session, items)
        elif stanza.type == "unavailable":
            await self._leave(session, stanza)
        elif stanza.type != "error":
            raise BadRequest(f"A presence of type '{stanza.type}' needs an address")
        return STOP

    @on(DirectedPresenceFromUser, Phase.DELIVER)
    def direct(self, event: DirectedPresenceFromUser) -> Verdict:
        """Remember to whom a session has shown itself (section 4.6.3)."""
        session, stanza = event.session, event.stanza
        assert stanza.to is not None
        if stanza.type in _SUBSCRIPTIONS:
            raise FeatureNotImplemented("Subscriptions are not available on this server yet")
        if stanza.type == "probe":
            raise BadRequest("Probes are the server's business")
        if stanza.type == "":
            session.directed = session.directed or set()
            if len(session.directed) >= _MAX_DIRECTED and stanza.to not in session.directed:
                raise NotAcceptable(f"Presence was directed to {_MAX_DIRECTED} addresses already")
            session.directed.add(stanza.to)
        elif stanza.type == "unavailable" and session.directed:
            session.directed.discard(stanza.to)
        return None

    @on(PresenceToUser, Phase.DELIVER)
    async def receive(self, event: PresenceToUser) -> Verdict:
        """Hand presence to the account's available resources, and answer probes (sections 4.3.2 and 8.5.2.1.2)."""
        stanza = event.stanza
        assert stanza.to is not None
        if stanza.type == "probe":
            await self._answer_probe(stanza)
        elif stanza.type in ("", "unavailable", "error"):
            sessions = self.host.sessions.of(stanza.to.bare)
            if stanza.to.resource:
                send_all([session for session in sessions if session.jid == stanza.to], stanza)
            else:
                send_all(_available(sessions), stanza)
        return STOP

    @on(SessionEnded, Phase.DELIVER)
    async def ended(self, event: SessionEnded) -> Verdict:
        """Tell everybody who saw the session that it is gone (section 4.5.2)."""
        await self._leave(event.session, presence("unavailable", to=None, sender=event.session.jid))
        return None

    async def _leave(self, session: Session, stanza: Stanza) -> None:
        was_available, session.presence = session.presence is not None, None
        directed, session.directed = session.directed or set(), None
        if was_available:
            items = await self._tell_contacts(session, stanza)
            directed -= {address for address, item in items.items() if item.subscription.seen_by_contact}
        for address in directed:
            self._post(stanza, address)

    async def _tell_contacts(self, session: Session, stanza: Stanza) -> dict[Jid, RosterItem]:
        account = session.jid.bare
        items = await self._roster(account)
        for address, item in items.items():
            if item.subscription.seen_by_contact:
                self._post(stanza, address)
        # Section 4.2.2: the user's own resources see each other, and the sender itself.
        send_all(_available(self.host.sessions.of(account)), stanza.addressed(to=account, sender=session.jid))
        return items

    def _ask_contacts(self, session: Session, items: dict[Jid, RosterItem]) -> None:
        account = session.jid.bare
        for other in _available(self.host.sessions.of(account)):
            if other is not session and other.presence is not None:
                session.send(other.presence.addressed(to=account, sender=other.jid))
        # Section 4.3.1: a probe is from the bare JID of the user; the answers go to all its resources.
        for address, item in items.items():
            if item.subscription.sees_contact:
                self.host.dispatch.post(presence("probe", to=address, sender=session.jid))

    async def _answer_probe(self, probe: Stanza) -> None:
        assert probe.sender is not None and probe.to is not None
        item = (await self._roster(probe.to.bare)).get(probe.sender.bare)
        if item is None or not item.subscription.seen_by_contact:
            return  # Section 4.3.2: who may not know, learns nothing.
        for session in _available(self.host.sessions.of(probe.to.bare)):
            if session.presence is not None:
                self.host.dispatch.post(session.presence.addressed(to=probe.sender, sender=session.jid))

    async def _roster(self, account: Jid) -> dict[Jid, RosterItem]:
        wanted = RosterWanted(account)
        verdict = self.host.hooks.run(wanted)
        if verdict is not None and verdict is not STOP:
            await verdict
        return wanted.items or {}

    def _post(self, stanza: Stanza, to: Jid) -> None:
        self.host.dispatch.post(stanza.addressed(to=to, sender=stanza.sender))


def _available(sessions: Iterable[Session]) -> list[Session]:
    # Presence goes to all available resources, whatever their priority.
    return [session for session in sessions if session.presence is not None]


def _priority(stanza: Stanza) -> int:
    text = stanza.element.findtext(f"{{{ns.CLIENT}}}priority")
    if text is None:
        return 0
    # Section 4.7.2.3: an integer from -128 to +127.
    match = _PRIORITY.fullmatch(text)
    if match is None or not -128 <= int(match[1]) <= 127:
        raise BadRequest("A priority is an integer from -128 to 127")
    return int(match[1])
