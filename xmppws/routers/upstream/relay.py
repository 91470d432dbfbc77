"""One client's stream, relayed: what it sends goes to the server behind, and what that sends comes to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Sequence
from enum import Enum
from math import ceil
from typing import TYPE_CHECKING, Final

from xmppws.core.logins import note_login
from xmppws.core.router import Stream
from xmppws.errors import (
    BadFormat,
    End,
    Reason,
    RemoteConnectionFailed,
    SaslInvalidMechanism,
    StreamError,
    StreamPolicyViolation,
    UnsupportedStanzaType,
    UnsupportedVersion,
)
from xmppws.routers.upstream import translate
from xmppws.routers.upstream.errors import UpstreamError
from xmppws.routers.upstream.greeting import Greeting, SeeOtherHost
from xmppws.routers.upstream.link import Link
from xmppws.stream.framing import Open
from xmppws.stream.tcp import CLOSE
from xmppws.xml import ns
from xmppws.xml.parser import Element, Parser, tag_of
from xmppws.xml.stanza import iq
from xmppws.xml.writer import element, serialize

if TYPE_CHECKING:
    from xmppws.routers.upstream.router import UpstreamRouter

log = logging.getLogger("xmppws.upstream")

# How nearly all begins that a server sends to a client that has logged in.
_COMMON: Final = (b"<message ", b"<presence ", b"<iq ", b"<r ", b"<a ")
_NAME: Final = re.compile(rb"<(?:[^ \t\r\n/>:]*:)?([^ \t\r\n/>]*)")
_IQ: Final = f"{{{ns.CLIENT}}}iq"
_STANZAS: Final = frozenset({_IQ, f"{{{ns.CLIENT}}}message", f"{{{ns.CLIENT}}}presence"})
_SPECIAL: Final = frozenset({b"features", b"success", b"failure", b"error", b"enabled", b"resumed"})
# Stream management, whose versions differ in nothing that matters here.
_VERSIONS: Final = (ns.STREAM_MANAGEMENT, "urn:xmpp:sm:2")
_COUNTING: Final = tuple(f"{{{version}}}{name}" for version in _VERSIONS for name in ("enabled", "resumed"))
_ENABLE: Final = frozenset(f"{{{version}}}enable" for version in _VERSIONS)
_SHOWN: Final = 100
_UNREACHABLE: Final = "The server of this domain cannot be reached at the moment"
# Names for metrics: who knows more mechanisms means to fill our memory.
_MAX_MECHANISMS: Final = 50


class Phase(Enum):
    STRANGER = "has not logged in"
    TRIES = "tries to log in, and the server has not said how that went"
    RESTARTS = "has logged in, and opens a new stream next (RFC 6120 section 6.4.6)"
    IN = "has logged in"


class Relay:
    """The `core.router.Handler` of one stream, and the `Sink` of its link.

    Nothing is put into the stream of a client that counts stanzas (XEP-0198) but what its server sends.
    """

    __slots__ = (
        "_counts",
        "_is_over",
        "_link",
        "_mechanism",
        "_own_url",
        "_parser",
        "_phase",
        "_probe",
        "_router",
        "_stream",
        "_username",
    )

    def __init__(self, router: UpstreamRouter, stream: Stream, own_url: str) -> None:
        self._router = router
        self._own_url = own_url
        self._stream = stream
        self._link: Link | None = None
        self._parser = Parser(router.vocabulary, router.domain)
        # What the client logs in with, and as whom.
        self._mechanism = self._username = ""
        self._phase = Phase.STRANGER
        self._is_over = False
        # The version of stream management by which stanzas are counted, "" if they are not: the server has enabled it,
        # or resumed a stream.
        self._counts = ""
        # The id of the ping that the client has yet to answer.
        self._probe = ""

    # --- What the client's stream calls ---

    def opened(self, open: Open) -> Awaitable[None] | None:
        """Open a stream to the server, or open it anew after the log-in."""
        if open.version != "1.0":
            raise UnsupportedVersion("This server speaks XMPP 1.0")
        if self._link is None:
            return self._connect(open)
        if self._phase is not Phase.RESTARTS:
            raise BadFormat("A second <open/> is allowed after a successful login only")
        self._phase = Phase.IN
        return self._restart(open, self._link)

    def received(self, root: Element) -> Awaitable[None] | None:
        """Send an element on."""
        if tag_of(root) not in _STANZAS:
            if not self._passes_up(root):
                return None
        elif self._probe and root.get("id") == self._probe and tag_of(root) == _IQ:
            self._probe = ""
            return None
        if self._link is not None:
            self._router.to_server.inc()
            self._link.send(serialize(root))
        return None

    def takes(self, message: bytes) -> bool:
        """Send a plain stanza on as it came.

        The server parses it anyway, and whatever it made of it would harm nobody but this client: no other shares the
        connection.
        """
        if self._probe or self._link is None or not self._router.plain.is_stanza(message):
            return False
        self._router.to_server.inc()
        self._link.send(message)
        return True

    def probe(self) -> None:
        """Ask the client for a sign of life, without its server's noticing."""
        if self._phase is not Phase.IN:
            return
        if self._counts:
            self._stream.send(b'<r xmlns="%b"/>' % self._counts.encode())
        else:
            self._probe = self._router.new_id()
            ping = iq("get", element(ns.PING, "ping"), to=None, sender=self._router.jid, id=self._probe)
            self._stream.send(ping.wire)

    def writable(self, ready: bool) -> None:
        """Read from the server as fast as the client reads."""
        if self._link is not None:
            self._link.pause(ready)

    def closed(self, end: End) -> None:
        """End the connection to the server: with the stream where the client has closed that, else without.

        Then a server that can resume streams keeps the session.
        """
        self._is_over = True
        if self._link is not None:
            if end.reason is Reason.CLIENT_CLOSE:
                self._link.send(CLOSE)
            self._drop(self._link)

    # --- What the link calls ---

    def stanza(self, stanza: bytes) -> None:
        """Send a stanza on to the client."""
        self._router.to_clients.inc()
        self._stream.send(stanza)

    def arrived(self, elements: Sequence[bytes]) -> None:
        """Send elements on to the client, in one write."""
        passed: list[bytes] = []
        for each in elements:
            if each.startswith(_COMMON) or _local_name(each) not in _SPECIAL:
                passed.append(each)
                continue
            try:
                passed.append(self._special(each))
            except StreamError as error:
                self._pass(passed)
                self._stream.end(error)
                return
        self._pass(passed)

    def _pass(self, elements: list[bytes]) -> None:
        if elements:
            self._router.to_clients.inc(len(elements))
            self._stream.send(*elements)

    def lost(self, error: UpstreamError | StreamError | None) -> None:
        """End the client's stream, because that of the server is over."""
        if error is None:
            self._stream.end(RemoteConnectionFailed("", Reason.UPSTREAM_CLOSED))
            return
        if isinstance(error, StreamError):
            self._stream.end(self._broken(error))
            return
        self._log("the connection was lost", error)
        self._stream.end(RemoteConnectionFailed("", Reason.UPSTREAM_LOST))

    def accepts(self, ready: bool) -> None:
        """Read from the client as fast as the server reads."""
        if ready:
            self._stream.resume_reading()
        else:
            self._stream.pause_reading()

    # --- The beginning ---

    async def _connect(self, open: Open) -> None:
        try:
            link, greeting = await self._router.connect(self._stream, open, self._parser.parse)
        except UpstreamError as error:
            self._log("there is no connection", error)
            raise RemoteConnectionFailed(_UNREACHABLE) from None
        self._link = link
        if self._is_over:
            # The client has gone meanwhile.
            self._drop(link)
        else:
            self._answer(greeting, link)

    async def _restart(self, open: Open, link: Link) -> None:
        try:
            greeting = await self._router.restart(link, open, self._parser.parse)
        except UpstreamError as error:
            if not self._is_over:
                self._log("the stream was not opened anew", error)
            if isinstance(error, SeeOtherHost):
                raise self._router.moved(self._stream.address, error.where, self._own_url) from None
            raise RemoteConnectionFailed("", Reason.UPSTREAM_LOST) from None
        self._answer(greeting, link)

    def _answer(self, greeting: Greeting, link: Link) -> None:
        features = translate.for_browsers(greeting.features)
        if len(self._router.mechanisms) < _MAX_MECHANISMS:
            self._router.mechanisms.update(translate.mechanisms(greeting.features)[0][:_MAX_MECHANISMS])
        self._stream.open(self._router.domain, greeting.header.id or self._router.new_id(), features)
        link.flow(self)

    # --- What is no stanza ---

    def _special(self, written: bytes) -> bytes:
        """Return what a client gets of an element that means something to us, too. Raises `StreamError` for an end."""
        try:
            root = self._parser.parse(written)
        except StreamError as error:
            raise self._broken(error) from None
        tag = tag_of(root)
        if tag in translate.SUCCESS:
            self._phase = Phase.RESTARTS if tag == translate.SASL_SUCCESS else Phase.IN
            self._logged_in(translate.account(root, self._username, self._router.domain))
        if tag == translate.ERROR:
            raise self._ended_by(root)
        if tag == translate.FEATURES:
            # After SASL2 they come without a new stream.
            return translate.for_browsers(root)
        if tag in translate.FAILURE:
            self._failed(translate.failure(root))
        if (counting := next(root.iter(*_COUNTING), None)) is not None:
            self._counts = tag_of(counting)[1:].partition("}")[0]
        return written

    def _broken(self, error: StreamError) -> StreamError:
        self._log("it broke the rules of XML streams", error)
        return RemoteConnectionFailed("", Reason.UPSTREAM_ERROR)

    def _ended_by(self, error: Element) -> StreamError:
        where = translate.other_host(error)
        self._log("it ended the stream", UpstreamError(translate.condition(error)))
        if where:
            return self._router.moved(self._stream.address, where, self._own_url)
        return translate.passed(error)

    # --- Logging in ---

    def _passes_up(self, root: Element) -> bool:
        """Tell whether the server is to get what is no stanza."""
        tag = tag_of(root)
        if tag in translate.REFUSED:
            raise UnsupportedStanzaType("This is not offered here")
        if tag in translate.AUTHENTICATE:
            return self._log_in(root)
        if tag in _ENABLE:
            # XEP-0198 section 4: the client counts what it sends from here on, and so the server has to get all of it.
            self._probe = ""
        return True

    def _log_in(self, authentication: Element) -> bool:
        if self._phase is not Phase.STRANGER:
            # Or the answer to one would be taken for that to the other, in logs and limits.
            raise UnsupportedStanzaType("Log in once, and wait for the outcome before you try again")
        if wait := self._stream.count_login():
            told = f"Too many log-ins from your address; try again in {ceil(wait)} s"
            raise StreamPolicyViolation(told, Reason.TOO_MANY_ATTEMPTS)
        self._mechanism = authentication.get("mechanism", "")[:_SHOWN]
        self._username = translate.username(authentication)
        if refusal := translate.refusal(authentication):
            self._failed(SaslInvalidMechanism.condition)
            self._stream.send(refusal)
            return False
        self._phase = Phase.TRIES
        return True

    def _failed(self, condition: str) -> None:
        if self._phase is Phase.TRIES:
            self._phase = Phase.STRANGER
        self._note(condition)

    def _logged_in(self, account: str) -> None:
        self._parser.trust()
        self._stream.authenticated(account)
        self._note("")

    def _note(self, failure: str) -> None:
        router = self._router
        # A client could name any; those that the server knows are few.
        mechanism = self._mechanism if self._mechanism in router.mechanisms else "other"
        note_login(
            router.domain,
            router.traffic,
            self._stream,
            username=self._username,
            mechanism=mechanism,
            failure=failure,
            provider="upstream",
        )

    # --- The end ---

    def _drop(self, link: Link) -> None:
        link.close()
        self._router.connections.dec()

    def _log(self, what: str, error: Exception) -> None:
        facts = {"id": self._stream.id, "host": self._router.domain}
        log.warning("id=%s host=%s upstream: %s: %s", *facts.values(), what, error, extra=facts)


def _local_name(written: bytes) -> bytes:
    match = _NAME.match(written)
    return match[1] if match else b""
