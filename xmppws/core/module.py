"""What a module is: a class that declares what it handles. A module is made once for each host that has it enabled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Flag
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from xmppws.config import Section
from xmppws.core.declare import declare
from xmppws.core.hooks import Phase
from xmppws.core.stores import Archive, KeyValue, Map, Stores
from xmppws.errors import ServiceUnavailable
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
    COMPONENT = 8
    """A component, or an address inside it without resource. What a module declares that is a component itself, it is
    asked at its own; what any other declares, at all components of the host."""


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
class NonzaDeclaration:
    """A method takes an element of a client's stream that is no stanza."""

    tag: str


@dataclass(frozen=True, slots=True)
class HookDeclaration:
    """A method handles events of one type in one phase."""

    event: type
    phase: Phase


IqHandler: TypeAlias = Callable[[Stanza], Stanza | Awaitable[Stanza | None] | None]
F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E")
M = TypeVar("M")
S = TypeVar("S")
T = TypeVar("T")


def iq_get(namespace: str, name: str, *, to: Target) -> Callable[[F], F]:
    """Declare a method that answers IQs of type get with this payload.

    It returns the reply, or None if it sends one itself.
    """
    return declare(IqDeclaration("get", f"{{{namespace}}}{name}", to))


def iq_set(namespace: str, name: str, *, to: Target) -> Callable[[F], F]:
    """Declare a method that answers IQs of type set with this payload.

    It returns the reply, or None if it sends one itself.
    """
    return declare(IqDeclaration("set", f"{{{namespace}}}{name}", to))


def nonza(namespace: str, name: str) -> Callable[[F], F]:
    """Declare a method that takes an element of a bound client's stream that is no stanza: `(self, session, element)`.

    It does not wait: what follows is handled when it returns (RFC 6120 section 10.1). Raise a `StreamError` to end the
    stream.
    """
    return declare(NonzaDeclaration(f"{{{namespace}}}{name}"))


def on(event: type[E], phase: Phase) -> Callable[[Callable[[M, E], Any]], Callable[[M, E], Any]]:
    """Declare a method that handles an event."""
    return declare(HookDeclaration(event, phase))


class StoreAttribute(Generic[S]):
    """A store as an attribute of a module's class: opened on the host's storage when first used."""

    def __init__(self, open: Callable[[Stores], S]) -> None:
        self._open = open
        self._attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    def __get__(self, module: Module, owner: type) -> S:
        store = self._open(module.host.stores)
        # Found there from now on: this descriptor stands behind the instance's own attributes.
        vars(module)[self._attribute] = store
        return store


def keyvalue_store(name: str, type: type[T]) -> StoreAttribute[KeyValue[T]]:
    """Declare a store of one value per owner."""
    return StoreAttribute(lambda stores: stores.keyvalue(name, type))


def map_store(name: str, type: type[T]) -> StoreAttribute[Map[T]]:
    """Declare a store of many keys per owner."""
    return StoreAttribute(lambda stores: stores.map(name, type))


def archive_store(name: str) -> StoreAttribute[Archive]:
    """Declare an append-only store, ordered by time."""
    return StoreAttribute(lambda stores: stores.archive(name))


class Module:
    """A feature in one file. Subclasses declare; methods marked with `iq_get`, `on` and their like do the work."""

    name: ClassVar[str]
    xeps: ClassVar[tuple[Xep, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    """Names of modules that must be enabled on the same host. They are talked to through hooks."""
    features: ClassVar[tuple[str, ...]] = ()
    """What service discovery says of the host."""
    account_features: ClassVar[tuple[str, ...]] = ()
    """What service discovery says of every account."""
    component_features: ClassVar[tuple[str, ...]] = ()
    """What service discovery says of every component."""
    component: ClassVar[str] = ""
    """The first label of the domain that the module serves by default, such as "conference"; "" if it serves none."""
    stream_features: ClassVar[bytes] = b""
    """What is offered to a client after log-in, as XML that declares its namespace."""
    inline_features: ClassVar[tuple[str, ...]] = ()
    """What a client may ask for while it logs in, for `FeaturesWanted` or a nonza (XEP-0386)."""
    Options: ClassVar[type[Section]] = Section
    """The module's table in the configuration, `[modules.NAME]`; what was configured is `self.options`."""

    options: Section

    def __init__(self, host: Host, options: Section) -> None:
        self.host = host
        self.options = options

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take what has come for a domain of the module, when it is a component and no handler has answered it.

        Raise a `StanzaError` for what the sender should be told.
        """
        raise ServiceUnavailable

    async def start(self) -> None:
        """Begin what the module does by itself; called when the server has started, or the module was reloaded."""

    async def stop(self) -> None:
        """End it; called before the server stops, or the module is replaced."""
