"""A page: one WebSocket, from the log-in on."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from math import ceil
from typing import TYPE_CHECKING

from xmppws.core.auth import Identity, Unavailable
from xmppws.core.logins import note_login
from xmppws.core.providers import Login, Refused
from xmppws.core.stores import StorageError
from xmppws.core.web import Socket, read_while
from xmppws.errors import ConnectionTimeout, End, NotAuthorized, Reason, ResourceConstraint, StreamError
from xmppws.jid import Jid
from xmppws.modules.channels import answers
from xmppws.modules.channels.places import Places
from xmppws.modules.channels.requests import Auth, Ping, Problem, Request, Subscribe, Unsubscribe, read
from xmppws.modules.channels.stream import PageSession, PageStream

if TYPE_CHECKING:
    from xmppws.modules.channels.module import Channels


class Page:
    """The module's side of the WebSocket of one page."""

    __slots__ = ("_active", "_channels", "_places", "_socket", "_token")

    def __init__(self, channels: Channels, socket: Socket, token: str) -> None:
        self._channels = channels
        self._socket = socket
        self._token = token
        # Where it is, once it has logged in.
        self._places: Places | None = None
        self._active = time.monotonic()

    def opened(self) -> Awaitable[None] | None:
        """Log in with the token of the query."""
        token, self._token = self._token, ""
        request = Auth(token)
        return self._finish(self._log_in(request, answer=False), request) if token else None

    def message(self, payload: bytes) -> Awaitable[None] | None:
        """Take a request."""
        self._active = time.monotonic()
        request: Request | None = None
        try:
            most = self._channels.options.max_message_size
            if len(payload) > most:
                raise Problem("message-too-large", f"A message has at most {most} bytes")
            request = read(payload)
            pending = self._handle(request)
        except Problem as problem:
            self._tell(problem, request)
            return None
        return None if pending is None else self._finish(pending, request)

    async def _finish(self, pending: Awaitable[None], request: Request) -> None:
        try:
            await pending
        except Problem as problem:
            self._tell(problem, request)

    def writable(self, ready: bool) -> None:
        """Read from the page no more while it does not read what it is sent."""
        if self._places is not None:
            self._places.session.reads(ready)
        else:
            read_while(ready, self._socket)

    def closed(self, end: End) -> None:
        """End the session, which leaves all rooms."""
        self._channels.forget(self)
        if self._places is not None:
            self._places.close(end)

    def end(self, error: StreamError) -> None:
        """End the page."""
        self._socket.end(error)

    def check(self, now: float) -> None:
        """End a page that has wanted nothing for long."""
        if self._places is None:
            return
        self._places.check(now)
        if not self._places.memberships and now - self._active > self._channels.options.idle_timeout:
            self.end(ConnectionTimeout("Subscribed to nothing for long", Reason.IDLE))

    def _handle(self, request: Request) -> Awaitable[None] | None:
        if isinstance(request, Ping):
            self._socket.send_text(answers.pong(request.id))
            return None
        if isinstance(request, Auth):
            if self._places is not None:
                raise Problem("bad-request", "This page has logged in already")
            return self._log_in(request)
        if self._places is None:
            raise Problem("not-authenticated", "Log in first: the token stands in the query, or in a request auth")
        if isinstance(request, Subscribe):
            return self._places.subscribe(request)
        if isinstance(request, Unsubscribe):
            return self._places.unsubscribe(request)
        return self._places.publish(request)

    # --- Logging in ---

    async def _log_in(self, request: Auth, *, answer: bool = True) -> None:
        identity = await self._verify(request.token)
        if self not in self._channels.pages:
            # It has ended meanwhile, and nothing would end its session.
            return
        account = Jid.make(identity.username, self._channels.host.domain)
        self._bind(account, identity)
        self._socket.authenticated(account.text, expires=identity.expires)
        if answer:
            self._socket.send_text(answers.authenticated(account.text, identity.expires, request.id))

    async def _verify(self, token: str) -> Identity:
        """Return whom a token is for. Raises `Problem`."""
        if wait := self._socket.count_login():
            raise Problem("too-many-logins", f"Too many log-ins from your address; try again in {ceil(wait)} s")
        try:
            login = await self._channels.providers.verify_token(token)
        except (StorageError, Unavailable):
            self._note("temporary-auth-failure")
            raise Problem("unavailable", "Tokens cannot be checked at the moment") from None
        except Refused as refused:
            self._note("not-authorized")
            text = f"The token is refused: {refused}" if str(refused) else "Nobody takes tokens here"
            raise Problem("token-invalid", text) from None
        assert login.identity is not None
        self._note("", login)
        return login.identity

    def _note(self, failure: str, login: Login | None = None) -> None:
        identity = None if login is None else login.identity
        host = self._channels.host
        note_login(
            host.domain,
            host.traffic,
            self._socket,
            username="" if identity is None else identity.username,
            mechanism=self._channels.name,
            failure=failure,
            provider="" if login is None else login.provider,
        )

    def _bind(self, account: Jid, identity: Identity) -> None:
        host = self._channels.host
        # Several pages with one token are one user, and each a client of its own.
        resource = f"{identity.device or 'page'}.{host.new_id()}"
        stream = PageStream(self._socket, secure=True)
        try:
            session = host.bind(account, resource, stream, identity, PageSession)
        except ResourceConstraint as error:
            raise Problem("too-many-pages", error.text) from None
        self._places = Places(self._channels, session, self._socket)
        stream.took = self._places.took

    def _tell(self, problem: Problem, request: Request | None) -> None:
        self._socket.send_text(problem.answer(request))
        if problem.code == "token-invalid":
            self._socket.end(NotAuthorized(problem.text, Reason.TOKEN_INVALID))
