"""Load modules onto a host: order them by what they require, make them, and register what they declare."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from xmppws.core.host import Host
from xmppws.core.module import HookDeclaration, IqDeclaration, IqHandler, Module


class ModuleError(Exception):
    """A module that cannot be loaded; the text is for the sysadmin."""


def load(host: Host, names: Iterable[str], known: Mapping[str, type[Module]]) -> None:
    """Load modules by name. Raises `ModuleError`."""
    for name in _ordered(host.domain, list(names), known):
        module = known[name](host)
        host.modules[name] = module
        for declaration, method in module.declared():
            if isinstance(declaration, HookDeclaration):
                host.hooks.add(declaration.event, declaration.phase, method, name)
            else:
                _add_iq_handler(host, declaration, method, name)


def _add_iq_handler(host: Host, declaration: IqDeclaration, handler: IqHandler, owner: str) -> None:
    try:
        host.add_iq_handler(declaration, handler)
    except ValueError as error:
        raise ModuleError(f"{host.domain}: module '{owner}': {error}") from None


def _ordered(domain: str, names: list[str], known: Mapping[str, type[Module]]) -> list[str]:
    """Put every module behind those that it requires, and otherwise keep the order given."""
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered:
            return
        if name not in known:
            raise ModuleError(_unknown(domain, name, known))
        if name in path:
            raise ModuleError(f"{domain}: modules require each other in a circle: {' → '.join((*path, name))}")
        for required in known[name].requires:
            if required not in names:
                raise ModuleError(f"{domain}: module '{name}' requires '{required}', which is not enabled")
            visit(required, (*path, name))
        ordered.append(name)

    for name in names:
        visit(name, ())
    return ordered


def _unknown(domain: str, name: str, known: Mapping[str, type[Module]]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(sorted(known))}"
    return f"{domain}: there is no module '{name}'; {hint}"
