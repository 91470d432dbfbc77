"""RFC 6121 section 4, presence.

Broadcast to contacts and own resources, probes, directed presence, unavailable when a session ends.
Who may see whom is the business of `subscriptions`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable
from typing import Final

from xmppws.config import Section
from xmppws.core.delivery import send_all
from xmppws.core.events import (
    AudienceChanged,
    DirectedPresenceFromUser,
    PresenceAllowed,
    PresenceAudience,
    PresenceFromUser,
    PresenceToUser,
    RosterWanted,
    RouteRestored,
    SessionAvailable,
    SessionEnded,
)
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.module import Module, on
from xmppws.core.roster import RosterItem
from xmppws.core.session import Session
from xmppws.errors import BadRequest, NotAcceptable, PolicyViolation
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza, presence
from xmppws.xml.writer import element

_PRIORITY: Final = re.compile(r"\s*([+-]?[0-9]{1,3})\s*")
_MAX_DIRECTED: Final = 1000
# Sessions whose contacts are told at the same time.
_BROADCASTS: Final = 16
# In bytes: each session holds its own, and one stanza becomes as many as there are contacts and resources.
_MAX_SIZE: Final = 16 * 1024
# So many addresses are told at once. Then others have their turn, and what takes time is waited for.
_AT_ONCE: Final = 100


class Presence(Module):
    name = "presence"
    requires = ("roster",)

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        # Each holds a roster and what it sends: all clients come back at once after a restart.
        self._broadcasts = asyncio.Semaphore(_BROADCASTS)

    @on(PresenceFromUser, Phase.DELIVER)
    async def broadcast(self, event: PresenceFromUser) -> Verdict:
        """Keep the presence, and tell all who may know (sections 4.2, 4.4, 4.5)."""
        session, stanza = event.session, event.stanza
        if len(stanza.content) > _MAX_SIZE:
            raise PolicyViolation(f"Presence for everybody has at most {_MAX_SIZE} bytes")
        if stanza.type == "":
            await self._available(session, stanza)
        elif stanza.type == "unavailable":
            if session.presence is not None:
                # Section 4.5.2: also "to the resource that generated the unavailable presence in the first place".
                session.send(stanza.addressed(to=session.jid.bare, sender=session.jid))
            await self._leave(session, stanza)
        elif stanza.type != "error":
            raise BadRequest(f"A presence of type '{stanza.type}' needs an address")
        return STOP

    @on(DirectedPresenceFromUser, Phase.DELIVER)
    def direct(self, event: DirectedPresenceFromUser) -> Verdict:
        """Remember to whom a session has shown itself (section 4.6.3)."""
        session, stanza = event.session, event.stanza
        assert stanza.to is not None
        if self.host.sessions.find(session.jid) is not session:
            return STOP  # It ended while an earlier handler waited, and nobody would tell that it is gone.
        if stanza.type == "":
            session.directed = session.directed or set()
            if len(session.directed) >= _MAX_DIRECTED and stanza.to not in session.directed:
                raise NotAcceptable(f"Presence was directed to {_MAX_DIRECTED} addresses already")
            session.directed.add(stanza.to)
        elif stanza.type == "unavailable" and session.directed:
            session.directed.discard(stanza.to)
        return None

    @on(PresenceToUser, Phase.DELIVER)
    def receive(self, event: PresenceToUser) -> Verdict | Awaitable[Verdict]:
        """Hand presence to the account's available resources, and answer probes (sections 4.3.2 and 8.5.2.1.2)."""
        stanza = event.stanza
        assert stanza.to is not None
        if stanza.type == "probe":
            return self._answer_probe(stanza)
        if stanza.type not in ("", "unavailable", "error"):
            return None
        sessions = self.host.sessions.of(stanza.to.bare)
        if stanza.to.resource:
            sessions = tuple(session for session in sessions if session.jid == stanza.to)
        if stanza.type == "unavailable":
            _forget_directed(sessions, stanza)
        if stanza.to.resource:
            for session in sessions:
                session.send(stanza)
        else:
            send_all(_available(sessions), stanza)
        return STOP

    @on(SessionEnded, Phase.DELIVER)
    async def ended(self, event: SessionEnded) -> Verdict:
        """Tell everybody who saw the session that it is gone (section 4.5.2)."""
        await self._leave(event.session, presence("unavailable", to=None, sender=event.session.jid))
        return None

    @on(AudienceChanged, Phase.DELIVER)
    async def tell(self, event: AudienceChanged) -> Verdict:
        """Show the account's resources to addresses, or take them from their sight (sections 3.1.5, 3.2.2, 3.3.3)."""
        for session in _available(self.host.sessions.of(event.account)):
            stanza = session.presence if event.shown else presence("unavailable", to=None, sender=session.jid)
            if stanza is None:
                continue  # It went while others were shown, and who saw it knows.
            for address in event.contacts:
                if event.shown and session.presence is not stanza:
                    break  # It went while others were shown, or shows them something newer.
                # In order: what says why must not overtake it, nor it that.
                await self._route(stanza.addressed(to=address, sender=session.jid))
        return None

    @on(RouteRestored, Phase.DELIVER)
    async def restored(self, event: RouteRestored) -> Verdict:
        """Tell contacts on other servers of all who are here, and ask after them (RFC 6121 sections 4.2 and 4.3)."""
        for session in _available(self.host.sessions):
            stanza = session.presence
            if stanza is None:
                continue  # It went while others were asked.
            async with self._broadcasts:
                roster = await self._roster(session.account)
                beyond = {address: item.subscription for address, item in roster.items() if event.reaches(address)}
                seers = {address for address, each in beyond.items() if each.seen_by_contact}
                await self._send(stanza, await self._audience(session.account, seers), of=session)
                seen = {address for address, each in beyond.items() if each.sees_contact}
                probe = presence("probe", to=None, sender=session.account)
                await self._send(probe, await self._audience(session.account, seen))
        return None

    async def _available(self, session: Session, stanza: Stanza) -> None:
        async with self._broadcasts:
            roster, earlier = await self._show(session, stanza)
        # It may have ended while others were told.
        if session.presence is stanza:
            await self.host.hooks.finish(SessionAvailable(session, roster, earlier))

    async def _show(self, session: Session, stanza: Stanza) -> tuple[dict[Jid, RosterItem], int | None]:
        before, earlier = session.presence, session.priority if session.presence is not None else None
        session.priority = _priority(stanza)
        session.presence = stanza
        try:
            roster = await self._tell_contacts(session, stanza)
        except Exception:
            # Nobody has been told, so when the client tries again, that is its initial presence still.
            if session.presence is stanza:
                session.presence, session.priority = before, earlier or 0
            raise
        if earlier is None and session.presence is stanza:
            await self._ask_contacts(session, roster)
        return roster, earlier

    async def _leave(self, session: Session, stanza: Stanza) -> None:
        was_available, session.presence = session.presence is not None, None
        directed, session.directed = session.directed or set(), None
        if was_available:
            async with self._broadcasts:
                roster = await self._tell_contacts(session, stanza)
            directed -= {address for address, item in roster.items() if item.subscription.seen_by_contact}
        successor = self._successor(session)
        if successor is not None:
            directed -= successor.directed or set()
        await self._send(stanza, await self._audience(session.jid.bare, directed))

    async def _tell_contacts(self, session: Session, stanza: Stanza) -> dict[Jid, RosterItem]:
        account = session.jid.bare
        roster = await self._roster(account)
        contacts = {address for address, item in roster.items() if item.subscription.seen_by_contact}
        await self._audience(account, contacts)
        await self._send(stanza, contacts, of=session)
        if not self._counts(stanza, session):
            return roster
        # Section 4.2.2: the user's own resources see each other, and the sender itself.
        send_all(_available(self.host.sessions.of(account)), stanza.addressed(to=account, sender=session.jid))
        return roster

    async def _ask_contacts(self, session: Session, roster: dict[Jid, RosterItem]) -> None:
        account = session.jid.bare
        for other in _available(self.host.sessions.of(account)):
            if other is not session and other.presence is not None:
                session.send(other.presence.addressed(to=account, sender=other.jid))
        seen = {address for address, item in roster.items() if item.subscription.sees_contact}
        await self._audience(account, seen)
        # Section 4.3.1: from the bare JID. On this host there is nothing to ask for: the answer is known, and goes to
        # this resource alone.
        here = {address for address in seen if address.domain == self.host.domain}
        await self._send(presence("probe", to=None, sender=session.jid), here)
        await self._send(presence("probe", to=None, sender=account), seen - here)

    async def _answer_probe(self, probe: Stanza) -> Verdict:
        assert probe.sender is not None and probe.to is not None
        account, asker = probe.to.bare, probe.sender
        allowed = PresenceAllowed(account, asker)
        await self.host.hooks.finish(allowed)
        sessions = self.host.sessions.of(account)
        if probe.to.resource:
            sessions = tuple(session for session in sessions if session.jid == probe.to)
        if not allowed.allowed:
            shown = [session for session in sessions if _was_directed(session, asker)]
            if not shown:
                # Section 4.3.2: who is not subscribed is told so, and so is who asks for an account that is not there.
                await self._route(_reply(probe, "unsubscribed", to=asker.bare, sender=account))
        else:
            shown = _available(sessions)
            if not shown:
                await self._route(_reply(probe, "unavailable", to=asker, sender=probe.to))
        for session in shown:
            if probe.to.resource or not allowed.allowed or session.presence is None:
                # Sections 4.3.2 and 4.6.6: nothing but that this one resource is available.
                await self._route(presence(to=asker, sender=session.jid))
            else:
                await self._route(session.presence.addressed(to=asker, sender=session.jid))
        return STOP

    async def _roster(self, account: Jid) -> dict[Jid, RosterItem]:
        wanted = RosterWanted(account)
        await self.host.hooks.finish(wanted)
        return wanted.items or {}

    async def _audience(self, account: Jid, contacts: set[Jid]) -> set[Jid]:
        if contacts:
            await self.host.hooks.finish(PresenceAudience(account, contacts))
        return contacts

    async def _send(self, stanza: Stanza, addresses: Iterable[Jid], *, of: Session | None = None) -> None:
        """Send to many; with a session, as long as the stanza counts for it."""
        dispatch = self.host.dispatch
        left = list(addresses)
        while left and (of is None or self._counts(stanza, of)):
            batch, left = left[:_AT_ONCE], left[_AT_ONCE:]
            sent = (dispatch.send(stanza.addressed(to=address, sender=stanza.sender)) for address in batch)
            pending = [task for each in sent if (task := dispatch.observe(each)) is not None]
            # Whoever sends much waits for it: else tasks would pile up, and later stanzas overtake these.
            if pending:
                await asyncio.wait(pending)
            elif left:
                await asyncio.sleep(0)

    async def _route(self, stanza: Stanza) -> None:
        sent = self.host.dispatch.send(stanza)
        if sent is not None:
            await sent

    def _counts(self, stanza: Stanza, session: Session) -> bool:
        """Tell whether contacts are still to see a presence: the session may have ended, or been replaced meanwhile."""
        return session.presence is stanza if stanza.type == "" else self._successor(session) is None

    def _successor(self, session: Session) -> Session | None:
        """Return the available session that has taken the place of one that ended."""
        other = self.host.sessions.find(session.jid)
        return other if other is not None and other is not session and other.presence is not None else None


def _available(sessions: Iterable[Session]) -> list[Session]:
    # Presence goes to all available resources, whatever their priority.
    return [session for session in sessions if session.presence is not None]


def _forget_directed(sessions: Iterable[Session], unavailable: Stanza) -> None:
    # Section 4.6.1: who goes need not be told that the user goes.
    sender = unavailable.sender
    assert sender is not None
    for session in sessions:
        if session.directed and sender in session.directed and not _is_renaming(unavailable):
            session.directed.discard(sender)


def _is_renaming(unavailable: Stanza) -> bool:
    # XEP-0045 section 7.6: who is in a room is there under the next nickname, and the room still has to be told.
    statuses = unavailable.tree().iterfind(f"{{{ns.MUC_USER}}}x/{{{ns.MUC_USER}}}status")
    return any(status.get("code") == "303" for status in statuses)


def _reply(probe: Stanza, type: str, *, to: Jid, sender: Jid) -> Stanza:
    # Section 4.3.2.1: what is nobody's presence has the id of the probe.
    root = element(ns.CLIENT, "presence", {"type": type, "id": probe.id} if probe.id else {"type": type})
    return Stanza("presence", type, root, to=to, sender=sender)


def _was_directed(session: Session, asker: Jid) -> bool:
    return session.directed is not None and (asker in session.directed or asker.bare in session.directed)


def _priority(stanza: Stanza) -> int:
    text = stanza.element.findtext(f"{{{ns.CLIENT}}}priority")
    if text is None:
        return 0
    # Section 4.7.2.3: an integer from -128 to +127.
    match = _PRIORITY.fullmatch(text)
    if match is None or not -128 <= int(match[1]) <= 127:
        raise BadRequest("A priority is an integer from -128 to 127")
    return int(match[1])
