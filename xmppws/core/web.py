"""The port by which modules serve HTTP and WebSocket paths, with the server's own rules applied.

Before a module sees a request, the virtual host was found by Host, the client's address by the proxy rules, and the
Origin was checked; CORS headers are added to what it answers. A module's path is served on the virtual hosts on which
the module is enabled, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiohttp import web

from xmppws.core.admin import ConnectionFacts
from xmppws.core.declare import declare
from xmppws.errors import End, StreamError

if TYPE_CHECKING:
    from xmppws.core.host import Host

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request for a module: the client as the proxy rules see it, and aiohttp's own request."""

    host: Host
    address: str
    secure: bool
    http: web.Request


class Refuse(Exception):
    """What a module raises to refuse a request: HTTP status and one sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Socket(Protocol):
    """A client's WebSocket, as a module sees it. All methods are synchronous and may be called at any time."""

    @property
    def id(self) -> str:
        """An unguessable id, which stands in every log line about it."""

    @property
    def address(self) -> str:
        """The client's own address, behind proxies too."""

    def facts(self) -> ConnectionFacts:
        """Return what there is to know of the connection now."""

    def send_text(self, *messages: bytes) -> None:
        """Send text messages, as UTF-8, in one write. Does nothing on a socket that has ended."""

    def send_frames(self, frames: bytes) -> None:
        """Send what `stream.frames.text_frames` made: where many are sent the same, it is made once."""

    def count_login(self) -> float:
        """Count an attempt to log in: 0, or after how many seconds the client's address may make another."""

    def authenticated(self, name: str, *, expires: float = inf) -> None:
        """Note that the client has logged in, as `name`: the limits and deadlines of strangers end.

        What it has logged in with expires at `expires`, in seconds since 1970: then the socket ends.
        """

    def end(self, error: StreamError) -> None:
        """End the socket as this error ends a stream: the close frame has its code, and `reason-id: sentence`."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 section 7.4 for codes; the reason is cut to 123 bytes)."""

    def pause_reading(self) -> None:
        """Stop reading from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Read from the client again."""


def read_while(ready: bool, socket: Socket) -> None:
    """Read from a client only while it reads what it is sent: what a `SocketHandler.writable` may do."""
    if ready:
        socket.resume_reading()
    else:
        socket.pause_reading()


class SocketHandler(Protocol):
    """A module's side of one WebSocket."""

    def opened(self) -> Awaitable[None] | None:
        """Learn that what is sent reaches the client from now on; messages come when what is returned is done."""

    def message(self, payload: bytes) -> Awaitable[None] | None:
        """Take a text message; the next one comes when what is returned is done. It need not be UTF-8 yet."""

    def writable(self, ready: bool) -> None:
        """Learn that the client reads too slowly (False) or has caught up (True)."""

    def closed(self, end: End) -> None:
        """Learn, once, that the socket is over."""


@dataclass(frozen=True, slots=True)
class HttpPath:
    """A method answers HTTP requests: `async (self, WebRequest) -> web.StreamResponse`. `path` as in aiohttp."""

    method: str
    path: str
    max_body: int


@dataclass(frozen=True, slots=True)
class WebSocketPath:
    """A method takes WebSockets: `(self, WebRequest, Socket) -> SocketHandler`, or an awaitable of one.

    It raises `Refuse` before the upgrade.
    """

    path: str
    subprotocols: tuple[str, ...]
    max_message: int


def http_get(path: str) -> Callable[[F], F]:
    """Declare a method that answers GET and HEAD requests for a path, such as "/hello/{name}"."""
    return declare(HttpPath("GET", path, 0))


def http_post(path: str, *, max_body: int = 64 * 1024) -> Callable[[F], F]:
    """Declare a method that answers POST requests with a body of at most `max_body` bytes."""
    return declare(HttpPath("POST", path, max_body))


def http_put(path: str, *, max_body: int) -> Callable[[F], F]:
    """Declare a method that answers PUT requests with a body of at most `max_body` bytes."""
    return declare(HttpPath("PUT", path, max_body))


def http_delete(path: str) -> Callable[[F], F]:
    """Declare a method that answers DELETE requests."""
    return declare(HttpPath("DELETE", path, 0))


def websocket(path: str, *, subprotocols: tuple[str, ...] = (), max_message: int = 64 * 1024) -> Callable[[F], F]:
    """Declare a method that takes WebSockets; with `subprotocols`, one of them must be offered."""
    return declare(WebSocketPath(path, subprotocols, max_message))
