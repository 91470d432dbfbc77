"""RFC 6121 section 2, the roster: get, set, remove and pushes.

Versioning is left out; subscriptions follow with presence.
"""

from __future__ import annotations

from typing import Final

from xmppws.core.events import RosterWanted
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.module import Module, Target, iq_get, iq_set, map_store, on
from xmppws.core.roster import RosterItem
from xmppws.errors import BadRequest, ItemNotFound, NotAcceptable, NotAllowed, ResourceConstraint
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza, iq
from xmppws.xml.writer import child, element

_MAX_ITEMS: Final = 5000
_MAX_NAME: Final = 1023
_MAX_GROUPS: Final = 50
# In bytes, of all that the user chose. The whole roster is read for every presence, and sent in one stanza, which must
# fit into `c2s.max_send_buffer` with the markup around it.
_MAX_SIZE: Final = 512 * 1024


class Roster(Module):
    name = "roster"
    features = (ns.ROSTER,)
    items = map_store("roster", RosterItem)

    @on(RosterWanted, Phase.ANSWER)
    async def provide(self, event: RosterWanted) -> Verdict:
        """Give another module an account's roster."""
        stored = await self.items.all(event.account.local)
        event.items = {Jid.prepared(address): item for address, item in stored.items()}
        return STOP

    @iq_get(ns.ROSTER, "query", to=Target.SELF)
    async def get(self, iq: Stanza) -> Stanza:
        """Return the roster; from now on the resource is interested in changes (section 2.1.3)."""
        assert iq.sender is not None
        session = self.host.sessions.find(iq.sender)
        if session is not None:
            session.interested = True
        query = element(ns.ROSTER, "query")
        for address, item in (await self.items.all(iq.sender.local)).items():
            _add_item(query, address, item)
        return iq.result(query)

    @iq_set(ns.ROSTER, "query", to=Target.SELF)
    async def set(self, iq: Stanza) -> Stanza:
        """Add, change or remove one item, tell every interested resource, then answer (sections 2.1.5 and 2.1.6)."""
        assert iq.sender is not None and iq.payload is not None
        address, wanted, remove = _read_item(iq.payload)
        owner = iq.sender.bare
        if address == owner:
            raise NotAllowed("Nobody is a contact of themselves")
        known = await self.items.all(owner.local)
        current = known.get(address.text)
        if remove:
            if current is None:
                raise ItemNotFound("There is no such contact")
            await self.items.delete(owner.local, address.text)
            self._push(owner, address, None)
        else:
            # Section 2.1.2.5: the client cannot set the subscription.
            item = RosterItem(
                wanted.name, wanted.groups, current.subscription if current else RosterItem().subscription
            )
            _check_size({**known, address.text: item})
            await self.items.set(owner.local, address.text, item)
            self._push(owner, address, item)
        return iq.result()

    def _push(self, owner: Jid, address: Jid, item: RosterItem | None) -> None:
        query = element(ns.ROSTER, "query")
        _add_item(query, address.text, item)
        push = iq("set", query, to=owner, sender=owner, id=self.host.new_id())
        for session in self.host.sessions.of(owner):
            if session.interested:
                session.send(push.addressed(to=session.jid, sender=owner))


def _check_size(items: dict[str, RosterItem]) -> None:
    if len(items) > _MAX_ITEMS:
        raise ResourceConstraint(f"A roster holds at most {_MAX_ITEMS} contacts")
    # Groups are counted as they are written, for there may be many short ones.
    texts = ("<group/>".join((address, item.name, *item.groups)) for address, item in items.items())
    if sum(len(text.encode()) for text in texts) > _MAX_SIZE:
        raise ResourceConstraint(f"The names and groups of a roster have at most {_MAX_SIZE} bytes")


def _add_item(query: Element, address: str, item: RosterItem | None) -> None:
    made = child(query, ns.ROSTER, "item", {"jid": address})
    if item is None:
        made.set("subscription", "remove")
        return
    made.set("subscription", item.subscription.value)
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
