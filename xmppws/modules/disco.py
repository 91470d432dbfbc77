"""XEP-0030 Service Discovery: identity, features and items of the host and of one's own account.

Nodes of the host are other modules' business; accounts have none yet.
"""

from __future__ import annotations

from xmppws.core.events import DiscoItemsWanted
from xmppws.core.hooks import STOP
from xmppws.core.module import Module, Target, Xep, iq_get
from xmppws.errors import ItemNotFound
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import child, element


class Disco(Module):
    name = "disco"
    xeps = (Xep(30, "2.5rc3"),)
    features = (ns.DISCO_INFO, ns.DISCO_ITEMS)

    @iq_get(ns.DISCO_INFO, "query", to=Target.HOST)
    def host_info(self, iq: Stanza) -> Stanza:
        """Say what the host is and can do."""
        features = {feature for module in self.host.modules.values() for feature in module.features}
        return iq.result(_info(iq, "server", "im", "xmppws", sorted(features)))

    @iq_get(ns.DISCO_INFO, "query", to=Target.SELF)
    def account_info(self, iq: Stanza) -> Stanza:
        """Say that the account is registered (XEP-0030 section 8)."""
        return iq.result(_info(iq, "account", "registered", "", [ns.DISCO_INFO, ns.DISCO_ITEMS]))

    @iq_get(ns.DISCO_ITEMS, "query", to=Target.HOST)
    async def host_items(self, iq: Stanza) -> Stanza:
        """Say what other modules list under a node of the host; the host itself has no items yet."""
        assert iq.payload is not None and iq.sender is not None
        query = element(ns.DISCO_ITEMS, "query")
        node = iq.payload.get("node", "")
        if node:
            query.set("node", node)
            wanted = DiscoItemsWanted(iq.sender.bare, node)
            verdict = self.host.hooks.run(wanted)
            if verdict is not STOP and verdict is not None:
                await verdict
            if wanted.items is None:
                raise ItemNotFound("There is no such node")
            for jid, item_node, name in wanted.items:
                child(query, ns.DISCO_ITEMS, "item", {"jid": jid, "node": item_node, "name": name})
        return iq.result(query)

    @iq_get(ns.DISCO_ITEMS, "query", to=Target.SELF)
    def account_items(self, iq: Stanza) -> Stanza:
        """Say that an account has no items."""
        _refuse_node(iq)
        return iq.result(element(ns.DISCO_ITEMS, "query"))


def _info(iq: Stanza, category: str, type: str, name: str, features: list[str]) -> Element:
    _refuse_node(iq)
    query = element(ns.DISCO_INFO, "query")
    identity = child(query, ns.DISCO_INFO, "identity", {"category": category, "type": type})
    if name:
        identity.set("name", name)
    for feature in features:
        child(query, ns.DISCO_INFO, "feature", {"var": feature})
    return query


def _refuse_node(iq: Stanza) -> None:
    # XEP-0030 section 7: an unknown node is item-not-found.
    if iq.payload is not None and iq.payload.get("node"):
        raise ItemNotFound("There is no such node")
