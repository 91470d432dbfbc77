"""The local router: log in to accounts of this server, bind a resource, then hand every stanza to dispatch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from xmppws.config import HostC2S
from xmppws.core.expiry import Expiry, Sweep, expire
from xmppws.core.host import Host
from xmppws.core.metrics import gauge
from xmppws.core.module import NonzaDeclaration
from xmppws.core.providers import Providers
from xmppws.core.router import Request, Stream
from xmppws.core.session import Session
from xmppws.core.stores import Gathering
from xmppws.errors import BadFormat, End, UnsupportedStanzaType, UnsupportedVersion
from xmppws.routers.answers import Answers
from xmppws.routers.fast import Tokens
from xmppws.routers.guest import Guest
from xmppws.routers.login import LoggingIn
from xmppws.routers.resumption import Resumptions, deliver_again
from xmppws.stream import sm
from xmppws.stream.framing import Open, limits_feature
from xmppws.stream.offer import Offer
from xmppws.stream.sm import Acks
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import iq
from xmppws.xml.writer import element


class LocalRouter:
    """Serves the streams of one host of this server."""

    hibernating = gauge("xmppws_sessions_hibernating", "Bound resources without a connection.")

    def __init__(self, host: Host, limits: HostC2S, *, sweep: Sweep, idle: float) -> None:
        self.host = host
        self.traffic = host.traffic
        self.providers = Providers(host.providers)
        self.sweep = sweep
        self.limits = limits
        self.idle = idle
        """Seconds without a stanza after which a client is asked for one (`c2s.read_timeout`)."""
        self.resumptions = Resumptions(host, sweep, limits, self.hibernating)
        self.tokens = Tokens(host, limits)
        self.refresh()

    @property
    def offer(self) -> Offer:
        """What a new stream is offered; it changes only when a provider's mechanisms do."""
        if self.providers.mechanisms() != self._offered_by:
            self.refresh()
        return self._offer

    def refresh(self) -> None:
        """Make the offer anew, after a module was reloaded too."""
        self._offered_by = self.providers.mechanisms()
        self.nonzas = {
            each.declaration.tag: each.method
            for each in self.host.bindings
            if isinstance(each.declaration, NonzaDeclaration)
        }
        limits = limits_feature(self.limits.max_stanza_size, self.idle)
        modules = self.host.modules.values()
        self._offer = Offer.of(
            self.host.domain,
            self.providers.offered(),
            features=limits + b"".join(module.stream_features for module in modules),
            inline=tuple(feature for module in modules for feature in module.inline_features),
            tokens=self.tokens.mechanisms,
            upgrades=self.providers.upgrades(),
            max_attempts=self.limits.max_auth_attempts,
        )

    def accept(self, stream: Stream, request: Request) -> LocalStream:
        """Make the handler of a new stream."""
        return LocalStream(self, stream)


class LocalStream:
    """One client's stream: first it logs in, then it has a session."""

    __slots__ = ("_expiry", "_guest", "_logging_in", "_router", "_session", "_stream")

    def __init__(self, router: LocalRouter, stream: Stream) -> None:
        self._router = router
        self._stream = stream
        # None once it has its session.
        self._logging_in: LoggingIn | None = LoggingIn(router, stream, self._begin)
        router.host.newcomers.add(self._logging_in)
        self._session: Session | None = None
        self._guest: Guest | None = None
        self._expiry: Expiry | None = None

    def opened(self, open: Open) -> Awaitable[None] | None:
        """Answer the first `<open/>`, or the restart after SASL."""
        if open.version != "1.0":
            # RFC 6120 section 4.7.5: a client without a version speaks a protocol older than SASL.
            raise UnsupportedVersion("This server speaks XMPP 1.0")
        if self._logging_in is None:
            raise BadFormat("A second <open/> is allowed after a successful login only")
        self._logging_in.opened(open)
        return None

    def received(self, root: Element) -> Awaitable[None] | None:
        """Take an element: a stanza once the client is bound."""
        if self._session is not None:
            pending = self._from_client(self._session, root)
            guest = self._guest
        else:
            assert self._logging_in is not None
            pending = self._logging_in.received(root)
            guest = self._who_is_guest()
        return pending if pending is None or guest is None else guest.awaiting(pending)

    def _begin(self, session: Session, answers: Answers) -> None:
        """Let a session begin, or go on, with this stream."""
        identity = session.identity = answers.identity
        self._session = session
        self._guest = answers.guest
        if self._logging_in is not None:
            self._router.host.newcomers.discard(self._logging_in)
            self._logging_in = None
        if identity is not None:
            self._expiry = expire(self._stream, identity.expires, self._router.sweep)

    def _who_is_guest(self) -> Guest | None:
        return self._guest if self._logging_in is None else self._logging_in.answers.guest

    def _from_client(self, session: Session, root: Element) -> Awaitable[None] | None:
        if session.acks is not None:
            return self._from_counting_client(session, session.acks, root)
        try:
            return self._router.host.dispatch.from_client(session, root)
        except UnsupportedStanzaType:
            if not self._manage(session, root):
                raise
            return None

    def _from_counting_client(self, session: Session, acks: Acks, root: Element) -> Awaitable[None] | None:
        # What a stanza causes and the number of those that are handled become durable together.
        writes = self._router.host.stores.gather()
        try:
            with writes:
                pending = self._router.host.dispatch.from_client(session, root)
                if pending is not None:
                    session.handling = asyncio.ensure_future(self._handled_later(pending, session, acks, writes))
                    return session.handling
                self._handled(session, acks, writes)
        except UnsupportedStanzaType:
            if not self._manage(session, root):
                raise
        except BaseException:
            writes.finish()
            raise
        return None

    async def _handled_later(self, pending: Awaitable[None], session: Session, acks: Acks, writes: Gathering) -> None:
        try:
            await pending
            self._handled(session, acks, writes)
        finally:
            writes.finish()
            session.handling = None

    def _handled(self, session: Session, acks: Acks, writes: Gathering) -> None:
        acks.count()
        if writes:
            self._router.resumptions.counts.note(session)
            writes.finish()

    def probe(self) -> None:
        """Ask for an acknowledgement, or send an XMPP ping; any answer shows that the client is there."""
        if self._session is not None and self._session.acks is not None:
            self._stream.send(sm.REQUEST)
        elif self._session is not None:
            host = self._router.host
            self._session.send(
                iq("get", element(ns.PING, "ping"), to=self._session.jid, sender=host.jid, id=host.new_id())
            )

    def writable(self, ready: bool) -> None:
        """Stop reading from a client that does not read what it asked for."""
        if self._session is not None and self._session.stream is self._stream:
            self._session.reads(ready)
        elif ready:
            self._stream.resume_reading()
        else:
            self._stream.pause_reading()

    def closed(self, end: End) -> None:
        """End the session."""
        ended = None
        if self._logging_in is not None:
            self._logging_in.ended = True
            self._router.host.newcomers.discard(self._logging_in)
        # Else it goes on with another stream.
        if self._session is not None and self._session.stream is self._stream:
            self._session.lost()
            ended = self._end_session(self._session, end)
        if (guest := self._who_is_guest()) is not None:
            guest.leave(ended)
        if self._expiry is not None:
            self._router.sweep.remove(self._expiry)

    # --- Stream management, XEP-0198 ---

    def _manage(self, session: Session, root: Element) -> bool:
        """Take what is about stanzas and none itself; tell whether it is that."""
        tag = root.tag
        if tag == sm.R:
            if session.acks is not None:
                self._acknowledge(session, session.acks)
        elif tag == sm.A:
            if session.acks is not None:
                session.acks.acknowledge(sm.read_h(root))
        elif tag == sm.ENABLE:
            self._enable(session, root)
        elif tag == sm.RESUME:
            self._stream.send(sm.failed("unexpected-request"))
        elif (take := self._router.nonzas.get(tag_of(root))) is not None:
            take(session, root)
        else:
            return False
        return True

    def _enable(self, session: Session, root: Element) -> None:
        if session.acks is not None:
            self._stream.send(sm.failed("unexpected-request"))
        else:
            can_resume = sm.wants_resumption(root) and self._guest is None
            self._stream.send(self._router.resumptions.enable(session, can_resume))

    def _acknowledge(self, session: Session, acks: Acks) -> None:
        # Acknowledged means durable: what the handled stanzas have begun to write, and no more, is waited for.
        handled, written = acks.handled, self._router.resumptions.written(session)
        if written is None:
            self._stream.send(sm.answer(acks.tell(handled)))
        else:
            written.add_done_callback(lambda _: self._stream.send(sm.answer(acks.tell(handled))))

    def _end_session(self, session: Session, end: End) -> asyncio.Future[Any] | None:
        resumptions = self._router.resumptions
        if session.acks is None:
            return self._router.host.unbind(session, end)
        if resumptions.hibernate(session, end):
            return None
        left = resumptions.end(session)
        ended = self._router.host.unbind(session, end)
        deliver_again(self._router.host, session, left)
        return ended
