"""Load modules onto a host: order them by what they require, make them, and register what they declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xmppws.config import Section
from xmppws.core import metrics
from xmppws.core.catalog import Catalog, ModuleError
from xmppws.core.declare import Binding, bindings
from xmppws.core.host import Host
from xmppws.core.module import HookDeclaration, IqDeclaration, Module

OptionsOf = Callable[[str, type[Section]], Section]
"""Returns the options of a module by its name, as its class declares them."""


def defaults(name: str, section: type[Section]) -> Section:
    """Return the options of a module that is not configured."""
    return section()


def load(host: Host, names: Iterable[str], catalog: Catalog, options: OptionsOf = defaults) -> None:
    """Load modules by name. Raises `ModuleError`, and whatever `options` raises."""
    for name in _ordered(host.domain, list(names), catalog):
        module = catalog.find(name)
        _add(host, module(host, options(name, module.Options)))


async def replace(host: Host, module: type[Module], options: OptionsOf) -> None:
    """Put a module that was read again in the place of the one that is loaded. Raises `ModuleError`."""
    new = module(host, options(module.name, module.Options))
    old = host.modules[module.name]
    await old.stop()
    host.remove_bindings(module.name)
    try:
        _add(host, new)
    except ModuleError:
        host.remove_bindings(module.name)
        _add(host, old)
        await old.start()
        raise
    await new.start()


def _add(host: Host, module: Module) -> None:
    try:
        metrics.check(module.name, type(module))
    except ValueError as error:
        raise ModuleError(f"{host.domain}: module '{module.name}': {error}") from None
    host.modules[module.name] = module
    for binding in bindings(module.name, module):
        _bind(host, binding)


def _bind(host: Host, binding: Binding) -> None:
    declaration = binding.declaration
    if isinstance(declaration, HookDeclaration):
        host.hooks.add(declaration.event, declaration.phase, binding.method, binding.owner)
    elif isinstance(declaration, IqDeclaration):
        try:
            component = binding.owner if host.modules[binding.owner].component else ""
            host.add_iq_handler(declaration, binding.method, component)
        except ValueError as error:
            raise ModuleError(f"{host.domain}: module '{binding.owner}': {error}") from None
    host.bindings.append(binding)


def _ordered(domain: str, names: list[str], catalog: Catalog) -> list[str]:
    """Put every module behind those that it requires, and otherwise keep the order given."""
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered:
            return
        if name in path:
            raise ModuleError(f"{domain}: modules require each other in a circle: {' → '.join((*path, name))}")
        try:
            requires = catalog.find(name).requires
        except ModuleError as error:
            raise ModuleError(f"{domain}: {error}") from error
        for required in requires:
            if required not in names:
                raise ModuleError(f"{domain}: module '{name}' requires '{required}', which is not enabled")
            visit(required, (*path, name))
        ordered.append(name)

    for name in names:
        visit(name, ())
    return ordered
