"""What a module is: a class that declares what it handles. A module is made once for each host that has it enabled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import Flag
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from xmppws.core.hooks import Handler, Phase
from xmppws.xml.stanza import Stanza

if TYPE_CHECKING:
    from xmppws.core.host import Host


class Target(Flag):
    """To whom an IQ request is addressed."""

    HOST = 1
    """The host itself."""
    SELF = 2
    """The sender's own account: its bare JID, or no address at all (RFC 6120 section 10.3.3)."""
    OTHER = 4
    """The bare JID of another local account."""


@dataclass(frozen=True, slots=True)
class Xep:
    """A specification that a module implements, in which version."""

    number: int
    version: str


@dataclass(frozen=True, slots=True)
class IqDeclaration:
    """A method answers IQ requests of one type with one payload."""

    type: str
    tag: str
    to: Target


@dataclass(frozen=True, slots=True)
class HookDeclaration:
    """A method handles events of one type in one phase."""

    event: type
    phase: Phase


IqHandler: TypeAlias = Callable[[Stanza], Stanza | Awaitable[Stanza | None] | None]
F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E")
M = TypeVar("M")

_DECLARATIONS = "_xmppws_declarations"


def iq_get(namespace: str, name: str, *, to: Target) -> Callable[[F], F]:
    """Declare a method that answers IQs of type get with this payload.

    It returns the reply, or None if it sends one itself.
    """
    return _declare(IqDeclaration("get", f"{{{namespace}}}{name}", to))


def iq_set(namespace: str, name: str, *, to: Target) -> Callable[[F], F]:
    """Declare a method that answers IQs of type set with this payload.

    It returns the reply, or None if it sends one itself.
    """
    return _declare(IqDeclaration("set", f"{{{namespace}}}{name}", to))


def on(event: type[E], phase: Phase) -> Callable[[Callable[[M, E], Any]], Callable[[M, E], Any]]:
    """Declare a method that handles an event."""
    return _declare(HookDeclaration(event, phase))


def _declare(declaration: IqDeclaration | HookDeclaration) -> Callable[[F], F]:
    def mark(method: F) -> F:
        declarations = (*getattr(method, _DECLARATIONS, ()), declaration)
        setattr(method, _DECLARATIONS, declarations)
        return method

    return mark


class Module:
    """A feature in one file. Subclasses declare; methods marked with `iq_get`, `iq_set` and `on` do the work."""

    name: ClassVar[str]
    xeps: ClassVar[tuple[Xep, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    """Names of modules that must be enabled on the same host. They are talked to through hooks."""
    features: ClassVar[tuple[str, ...]] = ()
    """What service discovery says of the host."""
    stream_features: ClassVar[bytes] = b""
    """What is offered to a client after log-in, as XML that declares its namespace."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def declared(self) -> Iterator[tuple[IqDeclaration | HookDeclaration, Callable[[Any], Any]]]:
        """Return each declaration with its bound method, in the order of definition, base classes first."""
        names = dict.fromkeys(name for base in reversed(type(self).__mro__) for name in vars(base))
        for name in names:
            for declaration in getattr(getattr(type(self), name, None), _DECLARATIONS, ()):
                yield declaration, getattr(self, name)


__all__ = [
    "Handler",
    "HookDeclaration",
    "IqDeclaration",
    "IqHandler",
    "Module",
    "Phase",
    "Target",
    "Xep",
    "iq_get",
    "iq_set",
    "on",
]
