"""Components of this process: domains of their own, each served by a module of a host.

A module whose class has a `component` label is one at LABEL.HOST, unless the configuration gives it other domains. What
it sends goes out by `host.dispatch`, as everybody's does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Collection, Iterable, Mapping
from types import MappingProxyType

from xmppws.core.catalog import ModuleError
from xmppws.core.delivery import answer
from xmppws.core.host import Host
from xmppws.core.module import Module, Target
from xmppws.jid import InvalidJid, Jid
from xmppws.xml.parser import tag_of
from xmppws.xml.stanza import Stanza

log = logging.getLogger("xmppws.component")


class Components:
    """The route to the components of the hosts of this process."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._served = {domain: (host, name) for host in hosts for domain, name in host.components.items()}

    def owns(self, to: Jid) -> bool:
        """Tell whether an address is at a component of this process."""
        return to.domain in self._served

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza."""
        to = stanza.to
        assert to is not None
        host, name = self._served[to.domain]
        if stanza.kind == "iq" and stanza.answerable and to.is_bare:
            assert stanza.payload is not None
            tag = tag_of(stanza.payload)
            handler = host.iq_handler(stanza.type, tag, name) or host.iq_handler(stanza.type, tag, Target.COMPONENT)
            if handler is not None:
                return answer(host, handler, stanza)
        return host.modules[name].deliver(stanza)


def assign(host: Host, configured: Mapping[str, str], taken: Collection[str]) -> None:
    """Give the modules of a host their domains. `configured` has module names by domain, `taken` all other domains.

    Raises `ModuleError` for a module that is not loaded or no component.
    """
    components = {}
    for domain, name in configured.items():
        if rule := mistake(host.domain, name, host.modules):
            raise ModuleError(f"components.{domain}: {rule}")
        components[domain] = name
    for name, module in host.modules.items():
        if module.component and name not in configured.values():
            default = _default(host.domain, module.component)
            if not default or default in taken or default in components:
                log.warning("%s: module '%s' has no address: set one in [components]", host.domain, name)
            else:
                components[default] = name
    host.components = MappingProxyType(components)


def mistake(host: str, name: str, modules: Mapping[str, Module | type[Module]]) -> str:
    """Return why a module cannot be a component of a host, "" if it can. `modules` are those of the host by name."""
    if name not in modules:
        return f"module '{name}' is not enabled on {host}"
    return "" if modules[name].component else f"module '{name}' is no component"


def _default(host: str, label: str) -> str:
    try:
        return Jid.parse(f"{label}.{host}").domain
    except InvalidJid:
        return ""
