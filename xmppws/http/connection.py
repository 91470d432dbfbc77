"""A WebSocket that speaks XMPP: messages to the framing machine, and from there to the router's handler.

| phase       | meaning                                          | ends by           |
|-------------|--------------------------------------------------|-------------------|
| NEW         | nothing of XMPP has arrived                      | handshake_timeout |
| STRANGER    | the stream was opened, nobody has logged in      | auth_timeout      |
| ESTABLISHED | somebody has logged in                           | pings and probes  |
| ENDING      | the stream is over, the client's `<close/>` due  | close_timeout     |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from xmppws.core.router import Handler, Request, TakesBytes
from xmppws.core.watch import Direction, Happening, Watch
from xmppws.errors import ConnectionTimeout, End, HostUnknown, Reason, Side, StreamError, StreamPolicyViolation
from xmppws.http.proxies import Client
from xmppws.http.socket import WebSocket
from xmppws.http.vhosts import Candidates
from xmppws.jid import InvalidJid, Jid
from xmppws.stream import framing
from xmppws.stream.frames import FrameError, text_frame, text_frames
from xmppws.stream.framing import Framing, Open
from xmppws.xml.parser import Parser

if TYPE_CHECKING:
    from xmppws.http.endpoint import Endpoint

_NOT_SECURE: Final = (
    "This stream is not secure. Use wss; behind a proxy that ends TLS, list the proxy in http.trusted_proxies "
    "and let it set X-Forwarded-Proto, or set http.consider_websocket_secure"
)


class Phase(IntEnum):
    NEW = 1
    STRANGER = 2
    ESTABLISHED = 3
    ENDING = 4


class Connection(WebSocket):
    """A client's stream, and the `core.router.Stream` that its handler sees. `watch` is set while somebody watches."""

    __slots__ = (
        "_candidates",
        "_domain",
        "_framing",
        "_handler",
        "_opener",
        "_parser",
        "_phase",
        "_request",
        "_takes",
        "watch",
    )

    def __init__(self, endpoint: Endpoint, client: Client, candidates: Candidates, request: Request, id: str) -> None:
        limits = endpoint.limits
        deadline = endpoint.deadlines.now + limits.handshake_timeout
        # With several, only the stream's `to` will tell.
        only = candidates.domains[0] if len(candidates.domains) == 1 else ""
        super().__init__(endpoint, client, id, occupies=only, limit=limits.max_unauthenticated_size, deadline=deadline)
        self._candidates: Candidates | None = candidates
        self._request: Request | None = request
        self._domain = ""
        self._opener = ""
        self._framing = Framing()
        self._handler: Handler | None = None
        self._takes: Callable[[bytes], bool] | None = None
        self._parser = Parser(
            endpoint.vocabulary,
            client.network,
            max_depth=limits.max_depth,
            max_elements=limits.max_elements,
            reserve=endpoint.vocabulary.per_process * 3 // 4,
        )
        self._phase = Phase.NEW
        self.watch: Watch | None = None

    @property
    def host(self) -> str:
        """The virtual host that the stream was opened to."""
        return self._domain

    @property
    def stage(self) -> str:
        """The phase, for the metrics."""
        return self._phase.name.lower()

    # --- what the handler calls ---

    def open(self, sender: str, id: str, *messages: bytes) -> None:
        """Answer the client's `<open/>`."""
        if self._phase < Phase.ENDING:
            self._framing.sent(framing.Event.OPEN_SENT)
            self.send(framing.open_message(sender, id, to=self._opener), *messages)
            self._opener = ""

    def send(self, *messages: bytes) -> None:
        """Send messages in one write."""
        if self._phase < Phase.ENDING:
            if self.watch is not None:
                self.watch.show(self.id, Direction.OUT, *messages)
            self.write(text_frame(messages[0]) if len(messages) == 1 else text_frames(messages))

    def authenticated(self, name: str, *, guest: bool = False) -> None:
        """Note that the client has logged in."""
        if self._phase is Phase.STRANGER:
            self.name = name
            self._allow(self._allowances.guest if guest else self._allowances.user)
            self.watch = self._endpoint.watches.get(name)
            if self.watch is not None:
                self.watch.tell(self.id, Happening.LOGGED_IN, address=self.address)
            self._phase = Phase.ESTABLISHED
            self._parser.trust()
            self._reader.limit = self._endpoint.max_stanza_sizes[self._domain]
            self._endpoint.left_strangers(self)
            self._endpoint.deadlines.move(self, self.keepalive.next(self._endpoint.intervals))

    def end(self, error: StreamError | None = None) -> None:
        """End the stream: the error, `<close/>`, and then the closing handshake (RFC 7395 sections 3.5 and 3.6)."""
        if self.ended is not None:
            return
        end = End(Reason.SHUTDOWN, Side.SERVER) if error is None else error.end
        self._say_goodbye(error)
        self.end_with(end)
        if end.reason.code == 1000:
            self.due_in(self._endpoint.limits.close_timeout)
        else:
            self.close(end.reason.code, end.text)

    # --- what the socket calls ---

    def message(self, payload: bytes) -> Awaitable[None] | None:
        """Take a message of the client's."""
        self.keepalive.stanza = self._endpoint.deadlines.now
        is_open = self._framing.state is framing.State.OPEN
        if is_open and self._takes is not None and self.watch is None and self._takes(payload):
            return None
        root = self._parser.parse(payload)
        if self.watch is not None:
            self.watch.show(self.id, Direction.IN, payload)
        item = self._framing.received(root)
        if item is None:
            if self._framing.state is framing.State.CLOSED:
                self._client_closed()
            return None
        if isinstance(item, Open):
            return self._opened(item)
        assert self._handler is not None
        return self._handler.received(item)

    def fail(self, error: StreamError) -> None:
        """End the stream with an error."""
        self.end(error)

    def broken(self, error: FrameError) -> None:
        """Say in XMPP what is wrong with a frame, unless it broke WebSocket itself, then fail the connection."""
        if error.reason is not Reason.WEBSOCKET_PROTOCOL and self._phase < Phase.ENDING:
            self._say_goodbye(StreamPolicyViolation(str(error), error.reason))
        super().broken(error)

    def check_open(self, now: float) -> float | None:
        """End what has not got on in time; keep alive what has."""
        if self._phase is Phase.ESTABLISHED:
            return self.check_alive(now)
        if now < self._deadline:
            return self._deadline
        if self._phase is Phase.NEW:
            self.end(ConnectionTimeout("No <open/> came in time", Reason.HANDSHAKE_TIMEOUT))
        elif self._phase is Phase.STRANGER:
            self.end(ConnectionTimeout("No login in time", Reason.AUTH_TIMEOUT))
        else:
            self.close(1000, Reason.CLOSE_TIMEOUT.id)
        return None  # Whatever it was has set a deadline of its own.

    def probe(self) -> None:
        """Let the handler ask for a stanza."""
        if self._handler is not None:
            self._handler.probe()

    def writable(self, ready: bool) -> None:
        """Tell the handler that the client reads too slowly, or has caught up."""
        if self._handler is not None:
            self._handler.writable(ready)

    def over(self, end: End) -> None:
        """Tell the handler that the stream is over."""
        self._phase = Phase.ENDING
        if self._handler is not None:
            self._handler.closed(end)
            self._handler = self._takes = None

    # --- the stream ---

    def _opened(self, open: Open) -> Awaitable[None] | None:
        self._opener = _bare(open.sender)
        if self._handler is None:
            self._handler = self._accept(open)
            if isinstance(self._handler, TakesBytes):
                self._takes = self._handler.takes
        elif open.to is not None and not self._is_for(open.to):
            raise HostUnknown("A restart cannot change the host")
        return self._handler.opened(open)

    def _is_for(self, to: str) -> bool:
        try:
            return Jid.parse(to).text == self._domain
        except InvalidJid:
            return False

    def _accept(self, open: Open) -> Handler:
        assert self._candidates is not None and self._request is not None
        self._domain = self._endpoint.virtual_hosts.choose(self._candidates, open.to)
        if not self.secure:
            raise StreamPolicyViolation(_NOT_SECURE, Reason.NOT_SECURE)
        self._endpoint.occupy(self, self._domain)
        handler = self._endpoint.routers[self._domain].accept(self, self._request)
        self._candidates = self._request = None
        self._endpoint.opens[self._domain] += 1
        self._phase = Phase.STRANGER
        self.due_in(self._endpoint.limits.auth_timeout)
        return handler

    def _client_closed(self) -> None:
        if self._phase < Phase.ENDING:
            # RFC 7395 section 3.6: the `<close/>` is answered, then the WebSocket is closed.
            self.send(framing.CLOSE)
            self.end_with(End(Reason.CLIENT_CLOSE, Side.CLIENT))
        self.close(1000)

    def _say_goodbye(self, error: StreamError | None) -> None:
        sender = self._domain or self._endpoint.name_of(self._candidates)
        self.send(*self._framing.ending(error, sender, self.id))


def _bare(sender: str | None) -> str:
    # RFC 6120 section 4.7.2: a `from` of the client's is answered with `to`, "the bare JID specified in the 'from'".
    try:
        return Jid.parse(sender).bare.text if sender else ""
    except InvalidJid:
        return ""
