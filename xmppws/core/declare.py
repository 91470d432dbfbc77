"""How modules declare what their methods do: a declaration is pinned to a method, and found when the module is loaded.

Every kind of declaration is a frozen dataclass of its own, so that new kinds need nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_PINNED = "_xmppws_declarations"


@dataclass(frozen=True, slots=True)
class Binding:
    """One declaration of one loaded module, with the method that it stands on."""

    owner: str
    declaration: object
    method: Callable[..., Any]


def declare(declaration: object) -> Callable[[F], F]:
    """Return a decorator that pins a declaration to a method."""

    def pin(method: F) -> F:
        setattr(method, _PINNED, (*getattr(method, _PINNED, ()), declaration))
        return method

    return pin


def bindings(owner: str, module: object) -> Iterator[Binding]:
    """Return what a module's class declares, in the order of definition, base classes first."""
    names = dict.fromkeys(name for base in reversed(type(module).__mro__) for name in vars(base))
    for name in names:
        for declaration in getattr(getattr(type(module), name, None), _PINNED, ()):
            yield Binding(owner, declaration, getattr(module, name))
