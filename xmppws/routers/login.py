"""From a client's first `<open/>` to its session: new, or one that goes on."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from xmppws.core.events import FeaturesWanted
from xmppws.core.logins import note_login
from xmppws.core.router import Stream
from xmppws.core.session import Session
from xmppws.core.stores import StorageError
from xmppws.errors import BadRequest, ResourceConstraint, SaslTemporaryAuthFailure, StreamResourceConstraint
from xmppws.jid import InvalidJid, Jid
from xmppws.routers.answers import Answers
from xmppws.stream import sasl2, sm
from xmppws.stream.c2s import Negotiation
from xmppws.stream.framing import Open
from xmppws.stream.sasl import Question, UpgradeWanted
from xmppws.stream.sasl.scram import HASHES
from xmppws.stream.sm import Acks, Resume
from xmppws.stream.steps import Attempt, Authenticated, Bind, Reply, Step
from xmppws.xml.delay import timestamp
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import Stanza, kept

if TYPE_CHECKING:
    from xmppws.routers.local import LocalRouter

log = logging.getLogger("xmppws.login")


class Early:
    """The `core.session.Hold` of a session whose client does not know of it yet.

    When more than `most` bytes wait, its stream ends.
    """

    def __init__(self, stream: Stream, most: int) -> None:
        self._stream = stream
        self._left = most
        self._stanzas: list[Stanza] = []

    def instead(self, stanza: Stanza) -> Iterable[Stanza]:
        """Keep a stanza."""
        self._left -= len(stanza.content)
        if self._left < 0:
            self._stream.end(StreamResourceConstraint("Too much came before the log-in was done"))
        else:
            # Its bytes: a tree takes many times as much.
            self._stanzas.append(kept(stanza.kind, stanza.type, stanza.content, to=stanza.to, sender=stanza.sender))
        return ()

    def held(self) -> Iterable[Stanza]:
        """Return all that is kept."""
        return self._stanzas


class LoggingIn:
    """A stream until it has a session, which is then given to `begin`. `ended` tells that the stream is over."""

    __slots__ = ("_answers", "_begin", "_lang", "_negotiation", "_router", "_stream", "ended")

    def __init__(self, router: LocalRouter, stream: Stream, begin: Callable[[Session, Answers], None]) -> None:
        self._router = router
        self._stream = stream
        self._begin = begin
        self._negotiation = Negotiation(router.offer, router.host.new_id)
        self._answers = Answers(router.host, router.providers, router.tokens, stream, self._negotiation)
        self._lang = ""
        self.ended = False

    @property
    def answers(self) -> Answers:
        """Who the client is, as far as that is known."""
        return self._answers

    @property
    def stream(self) -> Stream:
        """The client's stream."""
        return self._stream

    @property
    def account(self) -> Jid | None:
        """Whom the client has said it is."""
        return self._negotiation.claimed

    def opened(self, open: Open) -> None:
        """Answer the first `<open/>`, or the restart after SASL."""
        features = self._negotiation.opened(open.sender)
        # One object for all who speak it.
        self._lang = sys.intern(open.lang or "")
        self._stream.open(self._router.host.domain, self._router.host.new_id(), features)

    def received(self, root: Element) -> Awaitable[None] | None:
        """Take an element."""
        return self._take(self._negotiation.received(root))

    def _take(self, step: Step) -> Awaitable[None] | None:
        if isinstance(step, Reply):
            self._reply(step)
        elif isinstance(step, Bind):
            self._bind(step)
        elif isinstance(step, Resume):
            return self._resume(step)
        elif isinstance(step, Authenticated):
            return self._authenticated(step)
        elif not isinstance(step, UpgradeWanted) and (wait := self._stream.count_login()):
            told = f"Too many log-ins from your address; try again in {ceil(wait)} s"
            self._reply(self._negotiation.failed(SaslTemporaryAuthFailure(told)))
        else:
            self._answers.expect(step)
            return self._ask(step)
        return None

    async def _ask(self, question: Question | UpgradeWanted) -> None:
        step = await self._answers.to(question)
        if not self.ended and (pending := self._take(step)) is not None:
            await pending

    def _reply(self, reply: Reply) -> None:
        self._stream.send(*reply.messages)
        if reply.attempt is not None:
            self._note(reply.attempt)
        if reply.error is not None:
            raise reply.error
        if self._negotiation.jid is not None:
            self._stream.authenticated(self._negotiation.jid.text, guest=self._answers.guest is not None)

    # --- Attempts ---

    def _note(self, attempt: Attempt) -> None:
        host, login = self._router.host, self._answers.login
        # Mechanisms that are not offered have names of the client's making: one label for all of them.
        mechanism = attempt.mechanism or "other"
        facts = note_login(
            host.domain,
            host.traffic,
            self._stream,
            username=attempt.username,
            mechanism=mechanism,
            failure=attempt.failure,
            provider=login.provider if login is not None and not attempt.failure else "",
        )
        if attempt.failure and mechanism in HASHES:
            # The client has its answer, so the time this takes tells nothing.
            host.dispatch.observe(self._explain(attempt.username, mechanism, facts))

    async def _explain(self, username: str, mechanism: str, facts: dict[str, str]) -> None:
        """Tell the admin why a right password may have failed."""
        host = self._router.host
        try:
            localpart = Jid.make(username, host.domain).local
        except InvalidJid:
            return
        if await self._router.providers.lacks_keys(localpart, HASHES[mechanism]):
            told = "id=%s host=%s user=%r has no keys for %s yet: it has to log in with what is offered from now on"
            log.warning(told, *(facts[name] for name in ("id", "host", "user")), mechanism, extra=facts)

    # --- A resource, RFC 6120 section 7 ---

    def _bind(self, bind: Bind) -> None:
        account = self._account
        try:
            session = self._new_session(account, bind.resource or self._device(account))
        except InvalidJid as error:
            self._reply(self._negotiation.bind_refused(bind, BadRequest(str(error))))
        except ResourceConstraint as error:
            # RFC 6120 section 7.6.2.1.
            self._reply(self._negotiation.bind_refused(bind, error))
        else:
            self._reply(self._negotiation.bound(bind, session.jid))
            self._begin(session, self._answers)

    def _new_session(self, account: Jid, resource: str) -> Session:
        session = self._router.host.bind(account, resource, self._stream, self._answers.identity)
        session.lang = self._lang
        return session

    @property
    def _account(self) -> Jid:
        account = self._negotiation.jid
        assert account is not None
        return account

    def _device(self, account: Jid) -> str:
        """Return the resource that the device in a token makes, "" for none."""
        identity = self._answers.identity
        device = identity.device if identity is not None else ""
        if device and self._router.host.sessions.find(account.with_resource(device)) is not None:
            # Two tabs with one token must not end each other for ever.
            return f"{device}.{self._router.host.new_id()}"
        return device

    # --- A session that goes on, XEP-0198 section 5 ---

    async def _resume(self, resume: Resume) -> None:
        session, failed = await self._awaken(resume, self._account)
        if self.ended:
            return
        if session is None:
            self._reply(Reply((failed,)))
        else:
            self._negotiation.resumed()
            self._go_on(session, resume, lambda resumed: Reply((resumed,)))

    async def _awaken(self, resume: Resume, account: Jid) -> tuple[Session | None, bytes]:
        """Return the session, which has no connection now, or what to tell the client when there is none."""
        resumptions = self._router.resumptions
        while (session := resumptions.find(resume.id, account, self._answers.identity)) is not None:
            # Before another stream ends for it: `h` may be wrong.
            self._acks(session).acknowledge(resume.h)
            asleep = resumptions.lay_down(session)
            settled = resumptions.settled(session)
            if settled is not None:
                await settled
            if self.ended:
                return None, b""
            # Else somebody was faster, or it has expired meanwhile.
            if session.stream is asleep:
                # Somebody who waits, too, may have acknowledged more.
                self._acks(session).acknowledge(resume.h)
                if resumptions.wake(session):
                    return session, b""
        return None, await resumptions.failed(resume.id, account)

    def _go_on(self, session: Session, resume: Resume, reply: Callable[[bytes], Reply]) -> None:
        acks = self._acks(session)
        again = acks.resume(resume.h)
        session.stream = self._stream
        session.lang = self._lang
        told = reply(sm.resumed(resume.id, acks.tell(acks.handled)))
        self._reply(replace(told, messages=(*told.messages, *again)))
        self._begin(session, self._answers)
        # XEP-0352 section 5.2: a client is active when it comes back.
        session.release()
        self._router.resumptions.resumed(session)

    @staticmethod
    def _acks(session: Session) -> Acks:
        # Only sessions that count can be resumed.
        assert session.acks is not None
        return session.acks

    # --- All at once, XEP-0388 ---

    async def _authenticated(self, done: Authenticated) -> None:
        request = done.request
        inline = [token] if (token := await self._token(done)) else []
        if request.resume is not None:
            # XEP-0198 section 8.2: a resumption is tried first, and then nothing else is needed.
            session, failed = await self._awaken(request.resume, done.account)
            if session is not None:
                self._finish_resumed(session, request.resume, done, inline)
                return
            inline.append(failed)
        if self.ended:
            return
        if request.bind is None:
            self._reply(self._negotiation.finished(done, None, *inline))
        else:
            await self._finish_bound(done, request.bind, inline)

    def _finish_resumed(self, session: Session, resume: Resume, done: Authenticated, inline: list[bytes]) -> None:
        self._go_on(
            session,
            resume,
            lambda resumed: self._negotiation.finished(done, session.jid, *inline, resumed, is_counted=True),
        )

    async def _finish_bound(self, done: Authenticated, bind: sasl2.Inline, inline: list[bytes]) -> None:
        try:
            session = self._bind_tagged(done.account, bind.tag)
        except ResourceConstraint as error:
            self._reply(self._negotiation.failed(SaslTemporaryAuthFailure(str(error))))
            return
        session.hold_back(Early(self._stream, self._router.limits.max_unacked_size))
        self._begin(session, self._answers)
        event = FeaturesWanted(session, bind.wanted)
        await self._router.host.hooks.finish(event)
        if self._router.host.sessions.find(session.jid) is not session:
            return
        if (enable := bind.wanted.get(sm.ENABLE)) is not None:
            can_resume = sm.wants_resumption(enable) and self._answers.guest is None
            event.answers.append(self._router.resumptions.enable(session, can_resume))
        inline.append(sasl2.bound(*event.answers))
        self._reply(self._negotiation.finished(done, session.jid, *inline, is_counted=session.acks is not None))
        session.release()
        for wanted in bind.wanted.values():
            if (take := self._router.nonzas.get(tag_of(wanted))) is not None:
                take(session, wanted)
        if agent := done.request.agent:
            # XEP-0386 section 3.2: after binding "the server SHOULD terminate any earlier sessions from the same
            # client". Those that are connected are its other tabs.
            session.agent = hashlib.sha256(agent.encode()).digest()
            self._router.resumptions.replace(session)

    def _bind_tagged(self, account: Jid, tag: str) -> Session:
        resource = self._device(account)
        if tag and not resource:
            # XEP-0386 section 3.2.1: the client's tag, "/", and a part of the server's making.
            resource = f"{tag}/{self._router.host.new_id()}"
        try:
            return self._new_session(account, resource)
        except InvalidJid:
            return self._new_session(account, "")

    async def _token(self, done: Authenticated) -> bytes:
        """Return a token for the client, if it wants one or should have a new one; else nothing."""
        tokens, request, login = self._router.tokens, done.request, self._answers.login
        is_wanted = request.token in tokens.mechanisms or self._answers.is_due
        if not is_wanted or not request.agent or login is None or self._answers.guest is not None:
            return b""
        try:
            token, expires = await tokens.issue(done.account.local, request.agent, login)
        except StorageError:
            # The storage has said why. Its client is let in all the same, as it was until now.
            return b""
        return sasl2.token(token, timestamp(expires))
