"""The local router: log in to accounts of this server, bind a resource, then hand every stanza to dispatch."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable
from math import ceil
from typing import Any

from xmppws.config import HostC2S
from xmppws.core.auth import Identity, Unavailable
from xmppws.core.expiry import Expiry, Sweep, expire
from xmppws.core.host import Host
from xmppws.core.logins import note_login
from xmppws.core.metrics import gauge
from xmppws.core.module import NonzaDeclaration
from xmppws.core.providers import Login, Providers, Refused
from xmppws.core.router import Request, Stream
from xmppws.core.session import Session
from xmppws.core.stores import StorageError
from xmppws.errors import (
    BadFormat,
    BadRequest,
    End,
    ResourceConstraint,
    SaslTemporaryAuthFailure,
    UnsupportedStanzaType,
    UnsupportedVersion,
)
from xmppws.jid import InvalidJid, Jid
from xmppws.routers.guest import Guest
from xmppws.routers.resumption import Resumptions, deliver_again
from xmppws.stream import sm
from xmppws.stream.c2s import Attempt, Bind, Negotiation, Offer, Reply, Resume, Step
from xmppws.stream.framing import Open, limits_feature
from xmppws.stream.sasl import AccountWanted, KeysWanted, TokenWanted
from xmppws.stream.sasl.scram import HASHES
from xmppws.stream.sm import Acks
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import iq
from xmppws.xml.writer import element

log = logging.getLogger("xmppws.login")


class LocalRouter:
    """Serves the streams of one host of this server."""

    hibernating = gauge("xmppws_sessions_hibernating", "Bound resources without a connection.")

    def __init__(self, host: Host, limits: HostC2S, *, sweep: Sweep) -> None:
        self.host = host
        self.traffic = host.traffic
        self.providers = Providers(host.providers)
        self.sweep = sweep
        self.limits = limits
        self.resumptions = Resumptions(host, sweep, limits, self.hibernating)
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
        own = sm.FEATURE + limits_feature(self.limits.max_stanza_size)
        features = own + b"".join(module.stream_features for module in self.host.modules.values())
        self._offer = Offer.of(self.host.domain, self.providers.offered(), features, self.limits.max_auth_attempts)

    def accept(self, stream: Stream, request: Request) -> LocalStream:
        """Make the handler of a new stream."""
        return LocalStream(self, stream)


class LocalStream:
    """One client's stream: first its negotiation, then its session."""

    __slots__ = ("_ended", "_expiry", "_guest", "_lang", "_login", "_negotiation", "_router", "_session", "_stream")

    def __init__(self, router: LocalRouter, stream: Stream) -> None:
        self._router = router
        self._stream = stream
        self._negotiation: Negotiation | None = Negotiation(router.offer, router.host.new_id)
        self._session: Session | None = None
        self._guest: Guest | None = None
        # Who lets the client in, if what it still has to prove is right; gone once it is bound.
        self._login: Login | None = None
        self._expiry: Expiry | None = None
        self._ended: End | None = None
        self._lang = ""

    def opened(self, open: Open) -> Awaitable[None] | None:
        """Answer the first `<open/>`, or the restart after SASL."""
        if open.version != "1.0":
            # RFC 6120 section 4.7.5: a client without a version speaks a protocol older than SASL.
            raise UnsupportedVersion("This server speaks XMPP 1.0")
        if self._negotiation is None:
            raise BadFormat("A second <open/> is allowed after a successful login only")
        features = self._negotiation.opened()
        # One object for all who speak it.
        self._lang = sys.intern(open.lang or "")
        self._stream.open(self._router.host.domain, self._router.host.new_id(), features)
        return None

    def received(self, root: Element) -> Awaitable[None] | None:
        """Take an element: a stanza once the client is bound."""
        if self._session is not None:
            pending = self._from_client(self._session, root)
        else:
            assert self._negotiation is not None
            pending = self._take(self._negotiation.received(root))
        return pending if pending is None or self._guest is None else self._guest.awaiting(pending)

    def _from_client(self, session: Session, root: Element) -> Awaitable[None] | None:
        try:
            pending = self._router.host.dispatch.from_client(session, root)
        except UnsupportedStanzaType:
            if not self._manage(session, root):
                raise
            return None
        acks = session.acks
        if acks is not None:
            if pending is not None:
                session.handling = asyncio.ensure_future(self._counted(pending, session, acks))
                return session.handling
            acks.count()
        return pending

    async def _counted(self, pending: Awaitable[None], session: Session, acks: Acks) -> None:
        try:
            await pending
            acks.count()
        finally:
            session.handling = None

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
        if self._session is not None:
            self._session.reads(ready)
        if ready:
            self._stream.resume_reading()
        else:
            self._stream.pause_reading()

    def closed(self, end: End) -> None:
        """End the session."""
        self._ended = end
        ended = None
        # Else it goes on with another stream.
        if self._session is not None and self._session.stream is self._stream:
            self._session.reads(True)
            ended = self._end_session(self._session, end)
        if self._guest is not None:
            self._guest.leave(ended)
        if self._expiry is not None:
            self._router.sweep.remove(self._expiry)

    def _take(self, step: Step) -> Awaitable[None] | None:
        if isinstance(step, Reply):
            self._reply(step)
        elif isinstance(step, Bind):
            self._bind(step)
        elif isinstance(step, Resume):
            return self._resume(step)
        elif wait := self._stream.count_login():
            told = f"Too many log-ins from your address; try again in {ceil(wait)} s"
            assert self._negotiation is not None
            self._reply(self._negotiation.failed(SaslTemporaryAuthFailure(told)))
        elif isinstance(step, KeysWanted):
            return self._look_up(step)
        elif isinstance(step, AccountWanted):
            anonymous = self._router.providers.anonymous
            assert anonymous is not None
            # Known before the account is made: the stream may end meanwhile.
            self._guest = Guest(self._router.host, anonymous)
            self._login = Login(anonymous.name)
            return self._admit(self._guest)
        elif isinstance(step, TokenWanted):
            return self._check_token(step.token)
        else:
            return self._check(step.username, step.password)
        return None

    def _reply(self, reply: Reply) -> None:
        self._stream.send(*reply.messages)
        if reply.attempt is not None:
            self._note(reply.attempt)
        if reply.error is not None:
            raise reply.error
        assert self._negotiation is not None
        if self._negotiation.jid is not None:
            self._stream.authenticated(self._negotiation.jid.text, guest=self._guest is not None)

    def _note(self, attempt: Attempt) -> None:
        host = self._router.host
        # Mechanisms that are not offered have names of the client's making: one label for all of them.
        mechanism = attempt.mechanism or "other"
        provider = self._login.provider if self._login is not None and not attempt.failure else ""
        facts = note_login(
            host.domain,
            host.traffic,
            self._stream,
            username=attempt.username,
            mechanism=mechanism,
            failure=attempt.failure,
            provider=provider,
        )
        if attempt.failure and mechanism in HASHES:
            # The client has its answer, so the time this takes tells nothing.
            host.dispatch.observe(self._explain(attempt.username, facts))

    async def _explain(self, username: str, facts: dict[str, str]) -> None:
        """Tell the admin why a right password may have failed."""
        host = self._router.host
        try:
            localpart = Jid.make(username, host.domain).local
        except InvalidJid:
            return
        if await self._router.providers.needs_plain(localpart):
            told = "id=%s host=%s user=%r has a hash of the password only: it has to log in with PLAIN before SCRAM"
            log.warning(told, *(facts[name] for name in ("id", "host", "user")), extra=facts)

    def _bind(self, bind: Bind) -> None:
        negotiation, host = self._negotiation, self._router.host
        assert negotiation is not None and negotiation.jid is not None
        resource = bind.resource or self._device(negotiation.jid)
        try:
            self._session = host.bind(negotiation.jid, resource, self._stream, self._identity)
        except InvalidJid as error:
            self._reply(negotiation.bind_refused(bind, BadRequest(str(error))))
            return
        except ResourceConstraint as error:
            # RFC 6120 section 7.6.2.1.
            self._reply(negotiation.bind_refused(bind, error))
            return
        self._session.lang = self._lang
        self._reply(negotiation.bound(bind, self._session.jid))
        self._begin(self._session)

    def _begin(self, session: Session) -> None:
        """Let a session begin, or go on, with this stream."""
        identity = session.identity = self._identity
        self._session = session
        self._negotiation = self._login = None
        if identity is not None:
            self._expiry = expire(self._stream, identity.expires, self._router.sweep)

    # --- Stream management, XEP-0198 ---

    def _manage(self, session: Session, root: Element) -> bool:
        """Take what is about stanzas and none itself; tell whether it is that."""
        tag = root.tag
        if tag == sm.R:
            if session.acks is not None:
                self._acknowledge(session.acks)
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
            return
        resumptions = self._router.resumptions
        wanted = root.get("resume", "") in ("true", "1") and resumptions.timeout > 0 and self._guest is None
        id = resumptions.add(session) if wanted else ""
        self._stream.send(sm.enabled(id, resumptions.timeout))
        session.acks = resumptions.acks()

    def _acknowledge(self, acks: Acks) -> None:
        # Acknowledged means durable: what the handled stanzas have begun to write, and no more, is waited for.
        handled, written = acks.handled, self._router.host.stores.settled()
        if written is None:
            self._stream.send(sm.answer(acks.tell(handled)))
        else:
            written.add_done_callback(lambda _: self._stream.send(sm.answer(acks.tell(handled))))

    def _resume(self, resume: Resume) -> Awaitable[None] | None:
        negotiation, resumptions = self._negotiation, self._router.resumptions
        assert negotiation is not None and negotiation.jid is not None
        session = resumptions.find(resume.id, negotiation.jid, self._identity)
        if session is None or session.acks is None:
            self._reply(Reply((sm.failed("item-not-found"),)))
            return None
        # Before another stream ends for it: `h` may be wrong.
        session.acks.acknowledge(resume.h)
        asleep = resumptions.lay_down(session)
        settled = resumptions.settled(session)
        if settled is not None:
            return self._resume_later(resume, session, asleep, settled)
        resumptions.wake(session)
        self._go_on(resume, session, session.acks)
        return None

    async def _resume_later(self, resume: Resume, session: Session, asleep: Stream, settled: Awaitable[object]) -> None:
        await settled
        if self._ended is not None:
            return
        if session.stream is asleep and session.acks is not None and self._router.resumptions.wake(session):
            self._go_on(resume, session, session.acks)
        elif (pending := self._resume(resume)) is not None:
            # Somebody was faster, or it has expired meanwhile.
            await pending

    def _go_on(self, resume: Resume, session: Session, acks: Acks) -> None:
        again = acks.resume(resume.h)
        session.stream = self._stream
        assert self._negotiation is not None
        self._negotiation.resumed()
        session.lang = self._lang
        self._begin(session)
        self._stream.send(sm.resumed(resume.id, acks.tell(acks.handled)), *again)
        # XEP-0352 section 5.2: a client is active when it comes back.
        session.release()

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

    @property
    def _identity(self) -> Identity | None:
        """What the token says that was shown to log in."""
        return self._login.identity if self._login is not None else None

    def _device(self, account: Jid) -> str:
        """Return the resource that the device in a token makes, "" for none."""
        device = self._identity.device if self._identity is not None else ""
        if device and self._router.host.sessions.find(account.with_resource(device)) is not None:
            # Two tabs with one token must not end each other for ever.
            return f"{device}.{self._router.host.new_id()}"
        return device

    async def _look_up(self, wanted: KeysWanted) -> None:
        assert self._negotiation is not None
        try:
            keys, self._login = await self._router.providers.scram_keys(wanted.username, wanted.hash_name)
        except StorageError:
            self._unavailable(self._negotiation)
            return
        self._take(self._negotiation.keys(keys))

    async def _check(self, username: str, password: str) -> None:
        assert self._negotiation is not None
        try:
            self._login = await self._router.providers.verify_password(username, password)
        except (StorageError, Unavailable):
            self._unavailable(self._negotiation)
            return
        except Refused as refused:
            self._refused(refused)
        self._take(self._negotiation.password_checked(self._login is not None))

    async def _check_token(self, token: str) -> None:
        assert self._negotiation is not None
        try:
            self._login = await self._router.providers.verify_token(token)
        except (StorageError, Unavailable):
            self._unavailable(self._negotiation)
            return
        except Refused as refused:
            self._refused(refused)
        identity = self._identity
        self._take(self._negotiation.token_checked(identity.username if identity else ""))

    def _refused(self, refused: Refused) -> None:
        self._login = None
        if str(refused):
            facts = {"id": self._stream.id, "host": self._router.host.domain}
            log.info("id=%s host=%s: the token is refused: %s", *facts.values(), refused, extra=facts)

    async def _admit(self, guest: Guest) -> None:
        assert self._negotiation is not None
        try:
            await guest.admit()
        except StorageError:
            self._guest = None
            self._unavailable(self._negotiation)
            return
        self._take(self._negotiation.account(guest.username))

    def _unavailable(self, negotiation: Negotiation) -> None:
        self._reply(negotiation.failed(SaslTemporaryAuthFailure("Accounts cannot be read at the moment")))
