"""RFC 6121 section 2, the roster: get, set, remove, pushes and versions.

A version (section 2.6) is a hash of the roster, so it needs no record of changes: who knows the roster gets an empty
answer, everybody else the whole of it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from msgspec import msgpack, structs

from xmppws.config import Section
from xmppws.core.events import AccountEnding, ContactRemoved, PresenceAllowed, RosterChange, RosterWanted
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.module import Module, Target, iq_get, iq_set, map_store, on
from xmppws.core.roster import RosterItem
from xmppws.core.turns import Turns
from xmppws.errors import BadRequest, Forbidden, ItemNotFound, NotAcceptable, NotAllowed, ResourceConstraint
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza, iq
from xmppws.xml.writer import child, element

_MAX_ITEMS: Final = 5000
_MAX_NAME: Final = 1023
_MAX_GROUPS: Final = 50
# In bytes, of all that the owner chose. The whole roster is read for every presence, and sent in one stanza, which must
# fit into `c2s.max_send_buffer` with the markup around it.
_MAX_SIZE: Final = 512 * 1024
# That wait for the owner's answer, with _MAX_SIZE bytes altogether: strangers send them.
_MAX_REQUESTS: Final = 1000


class Roster(Module):
    name = "roster"
    features = (ns.ROSTER,)
    stream_features = f'<ver xmlns="{ns.ROSTER_VERSIONS}"/>'.encode()
    items = map_store("roster", RosterItem)

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        # A change reads, thinks and writes: one after the other for each account.
        self._turns = Turns()

    @on(RosterWanted, Phase.ANSWER)
    async def provide(self, event: RosterWanted) -> Verdict:
        """Give another module an account's roster."""
        stored = await self.items.all(event.account.local)
        event.items = {Jid.prepared(address): item for address, item in stored.items()}
        return STOP

    @on(PresenceAllowed, Phase.ANSWER)
    async def allow(self, event: PresenceAllowed) -> Verdict:
        """Let those see an account whose subscription it has granted, and the account itself."""
        asker = event.asker.bare
        event.allowed = asker == event.account
        if not event.allowed:
            item = await self.items.get(event.account.local, asker.text)
            event.allowed = item is not None and item.subscription.seen_by_contact
        return STOP

    @on(RosterChange, Phase.ANSWER)
    async def change(self, event: RosterChange) -> Verdict:
        """Change one item for another module."""
        async with self._turns.of(event.account):
            known = await self.items.all(event.account.local)
            event.before = known.get(event.contact.text)
            event.after = event.change(event.before)
            if event.after != event.before:
                await self._keep(known, event.account, event.contact, event.after)
            if event.kept is not None:
                event.kept(event)
            # Section 2.6.3: versions of pushes are unique, so what the owner does not see is not pushed.
            if _shown(event.after) != _shown(event.before):
                self._push(event.account, event.contact, event.after, known)
        return STOP

    @iq_get(ns.ROSTER, "query", to=Target.SELF)
    async def get(self, iq: Stanza) -> Stanza:
        """Return the roster; from now on the resource is interested in changes (section 2.1.3)."""
        assert iq.sender is not None and iq.payload is not None
        async with self._turns.of(iq.sender.bare):  # Or a push could come before the result that lacks it.
            session = self.host.sessions.find(iq.sender)
            if session is not None:
                session.interested = True
            items = await self.items.all(iq.sender.local)
        known = iq.payload.get("ver")
        if known is None:
            return iq.result(_query(items))
        version = _version(items)
        return iq.result(None if known == version else _query(items, version))

    @iq_set(ns.ROSTER, "query", to=Target.SELF)
    async def set(self, iq: Stanza) -> Stanza:
        """Add, change or remove one item, tell every interested resource, then answer (sections 2.1.5 and 2.1.6)."""
        assert iq.sender is not None and iq.payload is not None
        address, wanted, remove = _read_item(iq.payload)
        owner = iq.sender.bare
        if address == owner:
            raise NotAllowed("Nobody is a contact of themselves")
        if remove:
            await self._remove(owner, address)
        else:
            async with self._turns.of(owner):
                known = await self.items.all(owner.local)
                # Section 2.1.2: the client sets name and groups, the server the rest.
                item = structs.replace(
                    known.get(address.text, wanted), name=wanted.name, groups=wanted.groups, listed=True
                )
                await self._keep(known, owner, address, item)
                self._push(owner, address, item, known)
        return iq.result()

    @iq_get(ns.ROSTER, "query", to=Target.OTHER)
    @iq_set(ns.ROSTER, "query", to=Target.OTHER)
    def refuse(self, iq: Stanza) -> Stanza:
        """Keep other people's rosters from everybody (sections 2.1.3 and 2.1.5)."""
        raise Forbidden("A roster is its owner's alone")

    @on(AccountEnding, Phase.GUARD)
    async def settle(self, event: AccountEnding) -> Verdict:
        """Let changes that are under way come to an end, before all data of the account goes."""
        async with self._turns.of(event.account):
            return None

    async def _remove(self, owner: Jid, address: Jid) -> None:
        async with self._turns.of(owner):
            known = await self.items.all(owner.local)
            item = known.get(address.text)
            if item is None or not item.listed:
                raise ItemNotFound("There is no such contact")
            await self._keep(known, owner, address, None)
            self._push(owner, address, None, known)
        await self.host.hooks.finish(ContactRemoved(owner, address, item))

    async def _keep(self, known: dict[str, RosterItem], owner: Jid, address: Jid, item: RosterItem | None) -> None:
        """Write an item, and put it into `known`, in place of the one before."""
        known.pop(address.text, None)
        if item is None:
            await self.items.delete(owner.local, address.text)
        else:
            known[address.text] = item
            _check_size(known)
            await self.items.set(owner.local, address.text, item)

    def _push(self, owner: Jid, address: Jid, item: RosterItem | None, known: dict[str, RosterItem]) -> None:
        sessions = [session for session in self.host.sessions.of(owner) if session.interested]
        if not sessions:
            return
        query = element(ns.ROSTER, "query", {"ver": _version(known)})
        _add_item(query, address.text, item)
        push = iq("set", query, to=owner, sender=owner, id=self.host.new_id())
        for session in sessions:
            session.send(push.addressed(to=session.jid, sender=owner))


def _shown(item: RosterItem | None) -> RosterItem | None:
    """Return what of an item its owner sees."""
    return structs.replace(item, request=b"") if item is not None and item.listed else None


def _query(items: dict[str, RosterItem], version: str | None = None) -> Element:
    """Write the roster as its owner sees it."""
    query = element(ns.ROSTER, "query", {"ver": version} if version else None)
    for address, item in sorted(items.items()):
        if item.listed:
            _add_item(query, address, item)
    return query


def _version(items: dict[str, RosterItem]) -> str:
    # Made for every change, so not of the XML.
    shown = [(address, structs.replace(item, request=b"")) for address, item in sorted(items.items()) if item.listed]
    return blake2b(msgpack.encode(shown), digest_size=12).hexdigest()


def _check_size(items: dict[str, RosterItem]) -> None:
    listed = {address: item for address, item in items.items() if item.listed}
    if len(listed) > _MAX_ITEMS:
        raise ResourceConstraint(f"A roster holds at most {_MAX_ITEMS} contacts")
    # Groups are counted as they are written, for there may be many short ones.
    texts = ("<group/>".join((address, item.name, *item.groups)) for address, item in listed.items())
    if sum(len(text.encode()) for text in texts) > _MAX_SIZE:
        raise ResourceConstraint(f"The names and groups of a roster have at most {_MAX_SIZE} bytes")
    requests = [item.request for item in items.values() if item.request]
    if len(requests) > _MAX_REQUESTS or sum(map(len, requests)) > _MAX_SIZE:
        raise ResourceConstraint("Too many requests wait for an answer already")


def _add_item(query: Element, address: str, item: RosterItem | None) -> None:
    made = child(query, ns.ROSTER, "item", {"jid": address})
    if item is None:
        made.set("subscription", "remove")
        return
    made.set("subscription", item.subscription.value)
    if item.ask:
        made.set("ask", "subscribe")
    if item.approved:
        made.set("approved", "true")
    if item.name:
        made.set("name", item.name)
    for group in item.groups:
        child(made, ns.ROSTER, "group", text=group)


def _read_item(query: Element) -> tuple[Jid, RosterItem, bool]:
    # Section 2.3.3: exactly one item, no group twice, no group without a name.
    items = query.findall(f"{{{ns.ROSTER}}}item")
    if len(items) != 1:
        raise BadRequest("A roster set holds exactly one item")
    try:
        address = Jid.parse(items[0].get("jid", "")).bare
    except InvalidJid as error:
        raise BadRequest(str(error)) from None
    groups = tuple(group.text or "" for group in items[0].findall(f"{{{ns.ROSTER}}}group"))
    if len(set(groups)) != len(groups):
        raise BadRequest("A group stands twice")
    name = items[0].get("name", "")
    if len(groups) > _MAX_GROUPS or any(not 0 < len(text) <= _MAX_NAME for text in groups) or len(name) > _MAX_NAME:
        raise NotAcceptable(f"Names have 1 to {_MAX_NAME} characters, and a contact is in at most {_MAX_GROUPS} groups")
    return address, RosterItem(name, groups), items[0].get("subscription") == "remove"
