"""A virtual host of the local router: its modules, its accounts and its sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from xmppws.core.audit import audit
from xmppws.core.auth import Identity, Provider
from xmppws.core.declare import Binding
from xmppws.core.events import SessionBound, SessionEnded
from xmppws.core.hooks import Hooks
from xmppws.core.module import IqDeclaration, IqHandler, Module, Target
from xmppws.core.session import Session
from xmppws.core.sessions import Sessions
from xmppws.core.stores import Stores
from xmppws.core.traffic import Traffic
from xmppws.errors import End, ResourceConstraint, StreamConflict
from xmppws.jid import Jid

if TYPE_CHECKING:
    from xmppws.core.dispatch import Dispatch
    from xmppws.core.router import Stream

log = logging.getLogger("xmppws.host")

MAX_RESOURCES: Final = 100
"""Of one account. All of them get its presence, and what is sent to its bare JID: a stanza becomes so many."""


class Newcomer(Protocol):
    """A client that has no session yet."""

    @property
    def stream(self) -> Stream:
        """Its stream."""

    @property
    def account(self) -> Jid | None:
        """Who it is, or says that it is; None while it has not said that."""


class Host:
    """One XMPP domain whose accounts live here. `providers` are asked in order who somebody is."""

    def __init__(
        self,
        domain: str,
        *,
        dispatch: Dispatch,
        stores: Stores,
        providers: tuple[Provider, ...],
        new_id: Callable[[], str],
        admins: frozenset[Jid] = frozenset(),
        slow_reader_wait: float = 1.0,
    ) -> None:
        self.domain = domain
        self.jid = Jid.parse(domain)
        self.dispatch = dispatch
        self.stores = stores
        self.providers = providers
        self.admins = admins
        """Accounts, as bare JIDs, that may do more."""
        self.slow_reader_wait = slow_reader_wait
        """Seconds for which who writes to a client that reads too slowly is not read."""
        self.new_id = new_id
        """Makes an unguessable id, a short string of letters and digits."""
        self.hooks = Hooks()
        self.modules: dict[str, Module] = {}
        self.components: Mapping[str, str] = MappingProxyType({})
        """The domains that modules of this host serve, each with the name of its module."""
        self.gateways: set[str] = set()
        """Domains of components of other programs that are attached to this server, and belong to this host."""
        self.bindings: list[Binding] = []
        """What the loaded modules declare, of every kind."""
        self.sessions = Sessions()
        self.newcomers: set[Newcomer] = set()
        """Those who are logging in."""
        self.traffic = Traffic()
        self._iq_handlers: dict[tuple[str, str, Target | str], IqHandler] = {}

    def add_iq_handler(self, declaration: IqDeclaration, handler: IqHandler, component: str = "") -> None:
        """Register a handler for each of its targets. Raises ValueError when another one answers that request.

        `component` is the module whose domains alone are meant by `Target.COMPONENT`, "" for those of all modules.
        """
        for target in declaration.to:
            key = (declaration.type, declaration.tag, _place(target, component))
            if key in self._iq_handlers:
                raise ValueError(f"iq {declaration.type} {declaration.tag} to {target.name} is answered already")
            self._iq_handlers[key] = handler

    def remove_bindings(self, owner: str) -> None:
        """Take back all that a module declares, before another takes its place."""
        for binding in self.bindings:
            if binding.owner == owner and isinstance(binding.declaration, IqDeclaration):
                component = owner if self.modules[owner].component else ""
                for target in binding.declaration.to:
                    key = (binding.declaration.type, binding.declaration.tag, _place(target, component))
                    self._iq_handlers.pop(key, None)
        self.bindings = [binding for binding in self.bindings if binding.owner != owner]
        self.hooks.remove(owner)

    def iq_handler(self, type: str, tag: str, target: Target | str) -> IqHandler | None:
        """Return who answers a request; the name of a module in place of a target means its own domains."""
        return self._iq_handlers.get((type, tag, target))

    async def exists(self, username: str) -> bool:
        """Tell whether there is such an account."""
        for provider in self.providers:
            if await provider.exists(username):
                return True
        return False

    def bind(
        self,
        account: Jid,
        resource: str,
        stream: Stream,
        identity: Identity | None = None,
        kind: type[Session] = Session,
    ) -> Session:
        """Make a session; `identity` is what a token says of its user.

        Raises `InvalidJid` for a resource that is none, `ResourceConstraint` for one too many.

        Conflict policy (RFC 6120 section 7.7.2.2): the newer session gets the resource, and the older one ends.
        """
        jid = account.with_resource(resource or self.new_id())
        older = self.sessions.find(jid)
        if older is not None:
            audit("session-replaced", id=older.stream.id, by=stream.id, user=jid.text, address=stream.address)
            older.stream.end(StreamConflict("A newer session took over the resource"))
        elif len(self.sessions.of(account)) >= MAX_RESOURCES:
            raise ResourceConstraint(f"An account has at most {MAX_RESOURCES} resources at a time")
        session = kind(jid, self, stream, identity)
        self.sessions.add(session)
        self.tell(SessionBound(session))
        return session

    def unbind(self, session: Session, end: End) -> asyncio.Future[Any] | None:
        """Remove a session whose stream is over; return what modules still do about it."""
        return self.tell(SessionEnded(session, end)) if self.sessions.remove(session) else None

    def tell(self, event: object) -> asyncio.Future[Any] | None:
        """Run the handlers of what has happened to a session; return what they still do about it."""
        # A module that fails must not keep a session from beginning, going on or ending.
        try:
            return self.dispatch.observe(self.hooks.run(event))
        except Exception:
            log.exception("a handler of %s failed", type(event).__name__)
            return None


def _place(target: Target, component: str) -> Target | str:
    return component if component and target is Target.COMPONENT else target
