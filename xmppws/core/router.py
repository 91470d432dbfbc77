"""Seam 1, per stream: who negotiates after a client's `<open/>`.

A virtual host has one `Router`. For each stream that opens to the host it makes a `Handler`, which gets all that the
client sends, and answers through the `Stream`. Framing, limits and keep-alive of the socket are not its business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from xmppws.core.admin import ConnectionFacts
from xmppws.core.traffic import Traffic
from xmppws.errors import End, StreamError
from xmppws.stream.framing import Open
from xmppws.xml.parser import Element


@dataclass(frozen=True, slots=True)
class Request:
    """The HTTP request that became the WebSocket: path with query, and headers by lower-case name."""

    path: str
    headers: Mapping[str, str]


class Stream(Protocol):
    """The client's side of a stream, as a handler sees it.

    All methods are synchronous and may be called at any time.
    """

    @property
    def id(self) -> str:
        """An unguessable id of the connection, which stands in every log line about it."""

    @property
    def address(self) -> str:
        """The client's own address, behind proxies too."""

    @property
    def secure(self) -> bool:
        """Whether nobody between client and server can read along, as far as the server was told."""

    def facts(self) -> ConnectionFacts:
        """Return what there is to know of the connection now."""

    def open(self, sender: str, id: str, *messages: bytes) -> None:
        """Answer the client's `<open/>` with ours, from the domain `sender`, and send messages in the same write."""

    def send(self, *messages: bytes) -> None:
        """Send messages, each one whole element, in one write. Does nothing on a stream that has ended."""

    def count_login(self) -> float:
        """Count an attempt to log in: 0, or after how many seconds the client's address may make another."""

    def authenticated(self, name: str, *, guest: bool = False) -> None:
        """Note that the client has logged in, as `name`: the limits and deadlines of strangers end.

        A guest is nobody in particular, and may send less than a user.
        """

    def end(self, error: StreamError | None = None) -> None:
        """End the stream, with an error or without."""

    def pause_reading(self) -> None:
        """Stop reading from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Read from the client again."""


class Handler(Protocol):
    """The router's side of one stream.

    `opened` and `received` may return an awaitable: the stream's next message is handed over when it is done, so that
    one stream keeps one order. A `StreamError` raised or awaited ends the stream.
    """

    def opened(self, open: Open) -> Awaitable[None] | None:
        """Take the client's `<open/>`, the first one or a restart. Answer with `Stream.open`."""

    def received(self, root: Element) -> Awaitable[None] | None:
        """Take an element."""

    def probe(self) -> None:
        """Ask the client for a sign of life above WebSocket: it has sent no XMPP for `c2s.read_timeout`."""

    def writable(self, ready: bool) -> None:
        """Learn that the client reads too slowly (False) or has caught up (True)."""

    def closed(self, end: End) -> None:
        """Learn, once, that the stream is over. Nothing can be sent any more."""


@runtime_checkable
class TakesBytes(Protocol):
    """A handler that can do without the trees of most elements."""

    def takes(self, message: bytes) -> bool:
        """Take a message of an open stream as it came, or tell by False that it is to be `received` as an element.

        Nothing but its size has been checked: what it takes, it has to check itself.
        """


class Router(Protocol):
    """What serves the streams of one virtual host."""

    def accept(self, stream: Stream, request: Request) -> Handler:
        """Make the handler of a new stream."""


@runtime_checkable
class KnowsLogins(Protocol):
    """A router that learns who logs in, and counts it.

    What else a router counts, it may declare on its class, as modules do (`core.metrics`).
    """

    @property
    def traffic(self) -> Traffic:
        """What is counted."""
