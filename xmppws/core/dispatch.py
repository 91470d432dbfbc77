"""Every stanza's way in.

Validate what a client sends, stamp it, ask the hooks, and hand it to the route that owns its address.
What is raised on the way becomes an error stanza to the sender here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from xmppws.core.events import DirectedPresenceFromUser, IqFromUser, MessageFromUser, PresenceFromUser
from xmppws.core.histogram import Histogram
from xmppws.core.hooks import STOP, Verdict
from xmppws.core.route import Route
from xmppws.core.session import Session
from xmppws.errors import InternalServerError, InvalidFrom, RemoteServerNotFound, StanzaError
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza, read

if TYPE_CHECKING:
    from xmppws.core.host import Host

log = logging.getLogger("xmppws.dispatch")

_Routed: TypeAlias = MessageFromUser | IqFromUser | DirectedPresenceFromUser

# Of so many stanzas one is timed: reading the clock twice costs more than the other counting together.
_TIMED_OF: Final = 64


class Dispatch:
    """The one way in for stanzas of all hosts of this process, by domain. Routes are asked in order."""

    def __init__(self) -> None:
        self.hosts: Mapping[str, Host] = MappingProxyType({})
        self.routes: tuple[Route, ...] = ()
        self._turn = 0
        self._tasks: set[asyncio.Future[Any]] = set()

    def from_client(self, session: Session, root: Element) -> Awaitable[None] | None:
        """Take an element of a client. Raises `UnsupportedStanzaType` and `InvalidFrom`, which end the stream."""
        self._turn += 1
        if self._turn % _TIMED_OF:
            return self._from_client(session, root)
        began = perf_counter()
        pending = self._from_client(session, root)
        if pending is not None:
            return self._timed(pending, began, session.host.traffic.times)
        session.host.traffic.times.observe(perf_counter() - began)
        return None

    async def _timed(self, pending: Awaitable[None], began: float, times: Histogram) -> None:
        await pending
        times.observe(perf_counter() - began)

    def _from_client(self, session: Session, root: Element) -> Awaitable[None] | None:
        stanza, mistake = read(root)
        session.host.traffic.received[stanza.kind] += 1
        # RFC 6120 section 8.1.2.1: a `from` is the client's own full or bare JID, and the server stamps the full one.
        if stanza.sender is not None and stanza.sender not in (session.jid, session.account):
            raise InvalidFrom("A stanza from somebody else")
        stanza.sender = session.jid
        if session.lang and ns.LANG not in root.keys():
            # Section 8.1.5: a stanza that does not say its language has the stream's.
            root.set(ns.LANG, session.lang)
        try:
            if mistake is not None:
                raise mistake
            pending = self._outgoing(session, stanza)
        except Exception as error:
            self._failed(stanza, error, session)
            return None
        return None if pending is None else self._finish(stanza, pending, session)

    def session(self, full: Jid) -> Session | None:
        """Return the session of this process with this full JID."""
        host = self.hosts.get(full.domain)
        return None if host is None else host.sessions.find(full)

    def send(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza with `to` and `sender` from anywhere but a client; its sender is told of errors."""
        try:
            pending = self._route(stanza)
        except Exception as error:
            self._failed(stanza, error)
            return None
        return None if pending is None else self._finish(stanza, pending)

    def post(self, stanza: Stanza) -> None:
        """Send without waiting, as modules do that answer nobody."""
        self.observe(self.send(stanza))

    def observe(self, pending: Awaitable[Any] | Any) -> asyncio.Future[Any] | None:
        """See to the end of something nobody has to wait for, and log how it fails; return it while it goes on."""
        if not isinstance(pending, Awaitable):
            return None
        task = asyncio.ensure_future(pending)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    @property
    def ongoing(self) -> frozenset[asyncio.Future[Any]]:
        """What goes on now and nobody has to wait for."""
        return frozenset(self._tasks)

    async def drain(self) -> None:
        """Wait until all that nobody waits for is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed", exc_info=error)

    def _outgoing(self, session: Session, stanza: Stanza) -> Awaitable[None] | None:
        hooks = session.host.hooks
        if stanza.kind == "presence":
            if stanza.to is None:
                return self._then(hooks.run(PresenceFromUser(session, stanza)), None)
            directed = DirectedPresenceFromUser(session, stanza)
            return self._then(hooks.run(directed), directed)
        if stanza.to is None:
            # RFC 6120 section 10.3: without an address it is for the sender's own account.
            stanza.to = session.account
        if stanza.kind == "message":
            if MessageFromUser in hooks.handlers:
                message = MessageFromUser(session, stanza)
                verdict = hooks.run(message)
                return self._route(message.stanza) if verdict is None else self._then(verdict, message)
        elif stanza.to is not session.account and IqFromUser in hooks.handlers:
            iq = IqFromUser(session, stanza)
            return self._then(hooks.run(iq), iq)
        return self._route(stanza)

    def _then(self, verdict: Verdict | Awaitable[Verdict], event: _Routed | None) -> Awaitable[None] | None:
        if verdict is STOP:
            return None
        if verdict is not None:
            return self._then_on(verdict, event)
        return None if event is None else self._route(event.stanza)

    async def _then_on(self, pending: Awaitable[Verdict], event: _Routed | None) -> None:
        if await pending is STOP or event is None:
            return
        routed = self._route(event.stanza)
        if routed is not None:
            await routed

    def _route(self, stanza: Stanza) -> Awaitable[None] | None:
        assert stanza.to is not None
        for route in self.routes:
            if route.owns(stanza.to):
                return route.deliver(stanza)
        raise RemoteServerNotFound(f"No way to {stanza.to.domain} from here")

    async def _finish(self, stanza: Stanza, pending: Awaitable[None], session: Session | None = None) -> None:
        try:
            await pending
        except Exception as error:
            self._failed(stanza, error, session)

    def _failed(self, stanza: Stanza, error: Exception, session: Session | None = None) -> None:
        if not isinstance(error, StanzaError):
            log.error("a %s from %s to %s failed", stanza.kind, stanza.sender, stanza.to, exc_info=error)
            error = InternalServerError()
        if not stanza.answerable or stanza.sender is None:
            return
        answer = stanza.error(error)
        if session is None:
            self.post(answer)
        else:
            # It is the server's own word, whatever address it is about: no hook keeps it from the client.
            session.send(answer)
