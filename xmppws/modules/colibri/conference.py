"""A conference: endpoints, which are the clients of one, and relays, which are other bridges with clients of the same.

It knows who gets what; who has a socket, and how to send, is its peers' business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from xmppws.modules.colibri.messages import SERVER_HELLO, Message, connectivity, write

_STORED: Final = frozenset(
    {"LastNChangedEvent", "ReceiverVideoConstraints", "ReceiverAudioSubscription", "SourceVideoTypeMessage"}
)
_REPLACED: Final = (1000, "replaced")
_ENDPOINT_OVER: Final = (1001, "endpoint closed")
_RELAY_OVER: Final = (1001, "relay_closed")


class Channel(Protocol):
    """A WebSocket of a peer."""

    def send(self, message: bytes) -> None:
        """Send a text message."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""


class Peer(ABC):
    """An endpoint or a relay: it has one socket at a time, which it opens with its secret, again if need be."""

    __slots__ = ("channel", "conference", "id", "secret")

    over: tuple[int, str]
    """How its socket is closed when the conference has it no more."""

    def __init__(self, conference: Conference, id: str, secret: str) -> None:
        self.conference = conference
        self.id = id
        self.secret = secret
        self.channel: Channel | None = None

    def connect(self, channel: Channel) -> None:
        """Take a socket; an older one is closed."""
        if self.channel is not None:
            self.channel.close(*_REPLACED)
        self.channel = channel
        channel.send(SERVER_HELLO)

    def disconnect(self, channel: Channel) -> bool:
        """Note that a socket is gone; tell whether it was not replaced before."""
        if self.channel is not channel:
            return False
        self.channel = None
        return True

    def send(self, message: bytes) -> None:
        """Send a message, if there is a socket."""
        if self.channel is not None:
            self.channel.send(message)

    def end(self) -> None:
        """Close its socket for good."""
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.close(*self.over)

    @abstractmethod
    def take(self, message: Message) -> None:
        """Do what a message asks for; what is of no use without media is ignored."""


class Endpoint(Peer):
    """A client. `wishes` is what it has said last of each kind about the media that it wants."""

    __slots__ = ("_was_lost", "wishes")

    over = _ENDPOINT_OVER

    def __init__(self, conference: Conference, id: str, secret: str) -> None:
        super().__init__(conference, id, secret)
        self.wishes: dict[str, Message] = {}
        self._was_lost = False

    def connect(self, channel: Channel) -> None:
        """Take a socket; the others learn that the endpoint is back, if they were told that it was not."""
        super().connect(channel)
        if self._was_lost:
            self._was_lost = False
            self.conference.tell(connectivity(self.id, is_active=True), but=self)

    def disconnect(self, channel: Channel) -> bool:
        """Note that a socket is gone; the endpoint stays, and the others are told."""
        is_lost = super().disconnect(channel)
        if is_lost:
            self._was_lost = True
            self.conference.tell(connectivity(self.id, is_active=False), but=self)
        return is_lost

    def take(self, message: Message) -> None:
        """Take a message; whoever it says it is from, it is from this endpoint."""
        kind = message["colibriClass"]
        if kind == "ClientHello":
            self.send(SERVER_HELLO)
        elif kind in ("EndpointMessage", "EndpointStats"):
            message["from"] = self.id
            self.conference.forward(message, self)
        elif kind in _STORED:
            self.wishes[kind] = message


class Relay(Peer):
    """Another bridge. `endpoints` are the clients that it has; relays of one `mesh` reach each other themselves."""

    __slots__ = ("endpoints", "mesh")

    over = _RELAY_OVER

    def __init__(self, conference: Conference, id: str, secret: str, mesh: str) -> None:
        super().__init__(conference, id, secret)
        self.mesh = mesh
        self.endpoints: frozenset[str] = frozenset()

    def take(self, message: Message) -> None:
        """Take a message of one of its endpoints."""
        kind = message["colibriClass"]
        if kind == "ClientHello":
            self.send(SERVER_HELLO)
        elif kind in ("EndpointMessage", "EndpointStats"):
            self.conference.forward(message, self)


class Conference:
    """One conference: `id` is ours, `meeting` that of whoever asked for it."""

    def __init__(self, id: str, meeting: str, name: str) -> None:
        self.id = id
        self.meeting = meeting
        self.name = name
        self.endpoints: dict[str, Endpoint] = {}
        self.relays: dict[str, Relay] = {}

    @property
    def peers(self) -> Iterator[Peer]:
        """All of them."""
        yield from self.endpoints.values()
        yield from self.relays.values()

    def tell(self, message: bytes, *, but: Peer) -> None:
        """Send a message to all endpoints here but one."""
        for endpoint in self.endpoints.values():
            if endpoint is not but:
                endpoint.send(message)

    def forward(self, message: Message, sender: Peer) -> None:
        """Send a message on: to whom it is for, or to all where it names nobody."""
        to = message.get("to", "")
        written = write(message)
        for peer in self._all_but(sender) if not isinstance(to, str) or not to.strip() else self._named(to, sender):
            peer.send(written)

    def _all_but(self, sender: Peer) -> Iterable[Peer]:
        mesh = sender.mesh if isinstance(sender, Relay) else None
        for peer in self.peers:
            if peer is not sender and (mesh is None or not isinstance(peer, Relay) or peer.mesh != mesh):
                yield peer

    def _named(self, to: str, sender: Peer) -> Iterable[Peer]:
        if to in self.endpoints:
            return (self.endpoints[to],)
        # A relay is never asked for what another relay may have: it asks itself.
        beyond = () if isinstance(sender, Relay) else self.relays.values()
        return [relay for relay in beyond if to in relay.endpoints]

    def remove(self, peer: Peer) -> None:
        """Let a peer be part of it no more."""
        of_kind: dict[str, Any] = self.endpoints if isinstance(peer, Endpoint) else self.relays
        del of_kind[peer.id]
        peer.end()

    def end(self) -> None:
        """Let nobody be part of it."""
        for peer in list(self.peers):
            self.remove(peer)
