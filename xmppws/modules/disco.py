"""XEP-0030 Service Discovery: identities, features, forms (XEP-0128) and items of the host, its accounts, components.

Modules declare features on their class, and add what they cannot declare with `DiscoInfoWanted`. What an account is and
which resources it has is for those to know who may see its presence. Of the host's nodes for information only that of
its own capabilities (XEP-0115) is known, nodes for items are other modules' business, and accounts have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from xmppws.core.events import DiscoInfoWanted, DiscoItemsWanted, PresenceAllowed
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.module import Module, Target, Xep, iq_get, on
from xmppws.errors import ItemNotFound, ServiceUnavailable
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.caps import SOFTWARE, verification_string
from xmppws.xml.forms import Form, write_form
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import child, element, serialize


class Disco(Module):
    name = "disco"
    xeps = (Xep(30, "2.5.0"), Xep(128, "1.0.1"))
    features = (ns.DISCO_INFO, ns.DISCO_ITEMS)
    account_features = (ns.DISCO_INFO, ns.DISCO_ITEMS)
    component_features = (ns.DISCO_INFO, ns.DISCO_ITEMS)

    @on(DiscoInfoWanted, Phase.ANSWER)
    def provide(self, event: DiscoInfoWanted) -> Verdict:
        """Say what the loaded modules declare."""
        modules = self.host.modules.values()
        if event.to == self.host.jid:
            event.identities.insert(0, ("server", "im", "xmppws"))
            event.features.update(feature for module in modules for feature in module.features)
        elif event.to.domain in self.host.components:
            # What it is, the component says itself.
            event.features.update(feature for module in modules for feature in module.component_features)
        else:
            # Section 3.1: "the primary identity SHOULD have a category of "account" with an appropriate type".
            event.identities.insert(0, ("account", "registered", ""))
            event.features.update(feature for module in modules for feature in module.account_features)
        return None

    @iq_get(ns.DISCO_INFO, "query", to=Target.HOST)
    async def host_info(self, iq: Stanza) -> Stanza:
        """Say what the host is and can do."""
        assert iq.sender is not None
        node = _node(iq)
        # What a verification string stands for is the same for everybody.
        info = await self._info(self.host.jid if node else iq.sender.bare, self.host.jid)
        if node and node != _capabilities_node(info):
            raise _no_such_node()
        return _answer(iq, info, node)

    @iq_get(ns.DISCO_INFO, "query", to=Target.SELF | Target.OTHER)
    async def account_info(self, iq: Stanza) -> Stanza:
        """Say what an account is, to those who may know that it is there."""
        assert iq.sender is not None and iq.to is not None
        if not await self._may_see(iq.sender, iq.to):
            # Section 8: also when there is no such account, "no matter if the request specifies a node or not".
            raise ServiceUnavailable
        if _node(iq):
            raise _no_such_node()
        return _answer(iq, await self._info(iq.sender.bare, iq.to), "")

    @on(DiscoItemsWanted, Phase.ANSWER)
    async def components(self, event: DiscoItemsWanted) -> Verdict:
        """List the host's components among its items, by their names."""
        if event.to == self.host.jid and event.items is not None:
            for domain in self.host.components:
                info = await self._info(event.asker, Jid.parse(domain))
                event.items.append((domain, "", next((name for _, _, name in info.identities), "")))
            event.items += [(domain, "", "") for domain in sorted(self.host.gateways)]
        return None

    @iq_get(ns.DISCO_INFO, "query", to=Target.COMPONENT)
    async def component_info(self, iq: Stanza) -> Stanza:
        """Say what a component, or an address inside it, is and can do."""
        assert iq.sender is not None and iq.to is not None
        info = await self._info(iq.sender.bare, iq.to)
        if _node(iq):
            raise _no_such_node()
        # Each address says something else, and soon something new: not worth remembering.
        return iq.result().plus(_write(_node(iq), info.identities, info.features, info.forms))

    @iq_get(ns.DISCO_ITEMS, "query", to=Target.HOST | Target.COMPONENT)
    async def items(self, iq: Stanza) -> Stanza:
        """List what modules have under a node of the host or a component, or beside it."""
        assert iq.sender is not None and iq.to is not None
        node = _node(iq)
        # Several modules add to the host's own items; a node is one module's.
        wanted = DiscoItemsWanted(iq.sender.bare, iq.to, node, None if node else [])
        await self.host.hooks.finish(wanted)
        if wanted.items is None:
            raise _no_such_node()
        query = _query(ns.DISCO_ITEMS, node)
        for jid, item_node, name in wanted.items:
            item = child(query, ns.DISCO_ITEMS, "item", {"jid": jid})
            # Section 4.2: "The value of the 'node' attribute MUST NOT be null."
            for attribute, value in (("node", item_node), ("name", name)):
                if value:
                    item.set(attribute, value)
        return iq.result(query)

    @iq_get(ns.DISCO_ITEMS, "query", to=Target.SELF | Target.OTHER)
    async def account_items(self, iq: Stanza) -> Stanza:
        """List the available resources of an account, to those who may see them."""
        assert iq.sender is not None and iq.to is not None
        node = _node(iq)
        query = _query(ns.DISCO_ITEMS, node)
        if not await self._may_see(iq.sender, iq.to):
            # Section 8: "the server MUST return an empty result set", also when there is no such account.
            return iq.result(query)
        if node:
            raise _no_such_node()
        for session in self.host.sessions.of(iq.to):
            if session.presence is not None:
                child(query, ns.DISCO_ITEMS, "item", {"jid": session.jid.text})
        return iq.result(query)

    async def _info(self, asker: Jid, to: Jid) -> DiscoInfoWanted:
        info = DiscoInfoWanted(asker, to)
        await self.host.hooks.finish(info)
        return info

    async def _may_see(self, asker: Jid, account: Jid) -> bool:
        if asker.bare == account:
            return True
        question = PresenceAllowed(account, asker)
        await self.host.hooks.finish(question)
        return question.allowed


def _capabilities_node(info: DiscoInfoWanted) -> str:
    # XEP-0115 section 6.2: the 'node' of the capabilities, "#", and their 'ver'.
    identities = [(category, type, "", name) for category, type, name in info.identities]
    return f"{SOFTWARE}#{verification_string(identities, info.features, info.forms)}"


def _answer(iq: Stanza, info: DiscoInfoWanted, node: str) -> Stanza:
    return iq.result().plus(_written(node, tuple(info.identities), frozenset(info.features), tuple(info.forms)))


# Nearly everybody is told the same.
@lru_cache(maxsize=64)
def _written(
    node: str, identities: tuple[tuple[str, str, str], ...], features: frozenset[str], forms: tuple[Form, ...]
) -> bytes:
    return _write(node, identities, features, forms)


def _write(
    node: str, identities: Iterable[tuple[str, str, str]], features: Iterable[str], forms: Iterable[Form]
) -> bytes:
    query = _query(ns.DISCO_INFO, node)
    for category, type, name in identities:
        identity = child(query, ns.DISCO_INFO, "identity", {"category": category, "type": type})
        if name:
            identity.set("name", name)
    for feature in sorted(features):
        child(query, ns.DISCO_INFO, "feature", {"var": feature})
    query.extend(map(write_form, forms))
    return serialize(query)


def _query(namespace: str, node: str) -> Element:
    # Section 3.2: "the response MUST mirror the specified 'node' attribute".
    return element(namespace, "query", {"node": node} if node else None)


def _node(iq: Stanza) -> str:
    assert iq.payload is not None
    return iq.payload.get("node", "")


def _no_such_node() -> ItemNotFound:
    return ItemNotFound("There is no such node")
