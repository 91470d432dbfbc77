"""One writes to another: as fast as it goes, or as real clients do, who count their stanzas and keep an archive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from bench.generator import Client, Clients, Failed, text
from bench.login import RESOURCE, Script, ask, follow, log_in, log_out, username
from bench.measure import LAST_STRAY, Figure, Size, Target, connect, measured

BODY: Final = 100
SM: Final = "urn:xmpp:sm:3"
ENABLE: Final = f"<enable xmlns='{SM}' resume='true'/>".encode()
CARBONS: Final = b"<iq xmlns='jabber:client' type='set' id='copies'><enable xmlns='urn:xmpp:carbons:2'/></iq>"
_REQUEST: Final = text(f"<r xmlns='{SM}'/>".encode())
# A sender asks what has come after so many messages.
_ASKS_AFTER: Final = 5
_H: Final = re.compile(rb"<a [^>]*h=.([0-9]+)")
_NEWEST: Final = (
    b"<iq xmlns='jabber:client' type='set' id='newest'><query xmlns='urn:xmpp:mam:2'>"
    b"<set xmlns='http://jabber.org/protocol/rsm'><max>1</max><before/></set></query></iq>"
)


class Pair:
    """One who writes and one who reads. Every message has a number, and has to come once and in its turn."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent = self.received = 0
        self.is_stopping = False
        self.sender: Client | None = None
        self.receiver: Client | None = None
        to = f"{username(2 * number + 1)}@localhost/{RESOURCE}"
        filling = "x" * (BODY - 10)
        start = f"<message xmlns='jabber:client' to='{to}' type='chat' id='"
        # All numbers have ten digits, so the frame's head fits them all.
        example = text(f"{start}{0:010}'><body>{0:010}{filling}</body></message>".encode())
        self._message = example.replace(b"%", b"%%").replace(b"0000000000", b"%010d")
        self._body = f"<body>%010d{filling}</body>".encode()

    def send(self, count: int) -> None:
        """Send the next messages in one write."""
        assert self.sender is not None
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        self.sender.send(b"".join([self._message % (number, number) for number in numbers]))

    def receive(self, payloads: list[bytes]) -> None:
        """Check what has come, and send as much again."""
        for payload in payloads:
            if self._body % self.received not in payload:
                raise Failed(f"Message {self.received} had to come, but this came: {payload!r}")
            self.received += 1
        if not self.is_stopping:
            self.send(len(payloads))

    def stray(self, payloads: list[bytes]) -> None:
        """Take what comes to the sender."""
        raise Failed(f"The sender got {payloads!r}")


class CountingPair(Pair):
    """A pair that acknowledges what comes, and asks now and then what has come (XEP-0198)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.acknowledged = 0

    def send(self, count: int) -> None:
        """Send the next messages, and ask after some."""
        asked = self.sent // _ASKS_AFTER
        super().send(count)
        if self.sent // _ASKS_AFTER > asked:
            self.ask()

    def ask(self) -> None:
        """Ask what has come."""
        assert self.sender is not None
        self.sender.send(_REQUEST)

    def receive(self, payloads: list[bytes]) -> None:
        """Check what has come, answer whether it has, and send as much again."""
        messages = [payload for payload in payloads if not payload.startswith(b"<r ")]
        if messages:
            super().receive(messages)
        if len(messages) < len(payloads):
            self.acknowledge()

    def acknowledge(self) -> None:
        """Say what has come."""
        assert self.receiver is not None
        self.receiver.send(text(f"<a xmlns='{SM}' h='{self.received}'/>".encode()))

    def stray(self, payloads: list[bytes]) -> None:
        """Take how many messages the server has taken."""
        for payload in payloads:
            found = _H.match(payload)
            if found is None or not self.acknowledged <= int(found[1]) <= self.sent:
                raise Failed(f"The sender, who has sent {self.sent} messages, got {payload!r}")
            self.acknowledged = int(found[1])

    def leave(self) -> Script:
        """Look whether the last message is the archive's, too, and log out."""
        newest = yield from ask(_NEWEST, b"urn:xmpp:mam:2")
        if self._body % (self.sent - 1) not in newest:
            raise Failed(f"Message {self.sent - 1} had to be the last of the archive, but it has {newest!r}")
        yield from log_out()


def chat(target: Target, size: Size, in_flight: int) -> Figure:
    """CPU time per delivered message, in microseconds."""
    with closing(Clients(target.port)) as clients:
        pairs = [Pair(number) for number in range(size.pairs)]
        users = connect(clients, range(2 * size.pairs))
        return _load(target, size, clients, pairs, users, in_flight)


def counted_chat(target: Target, size: Size) -> Figure:
    """The same, 1 in flight, with stream management, carbons and archives."""
    with closing(Clients(target.port)) as clients:
        pairs = [CountingPair(number) for number in range(size.pairs)]
        users = connect(clients, range(2 * size.pairs), _log_in_counting)
        figure = _load(target, size, clients, pairs, users, 1)
        for pair in pairs:
            pair.ask()
            # What was not acknowledged would be sent once more.
            pair.acknowledge()
        clients.run_until(lambda: all(pair.acknowledged == pair.sent for pair in pairs))
        left = 0

        def done(client: Client) -> None:
            nonlocal left
            left += 1
            clients.disconnect(client)

        for number, client in enumerate(users):
            follow(client, pairs[number // 2].leave(), done)
        clients.run_until(lambda: left == len(users))
        return figure


def _load(
    target: Target, size: Size, clients: Clients, pairs: Sequence[Pair], users: list[Client], in_flight: int
) -> Figure:
    for pair, sender, receiver in zip(pairs, users[::2], users[1::2], strict=True):
        pair.sender, pair.receiver = sender, receiver
        sender.receive, receiver.receive = pair.stray, pair.receive
        pair.send(in_flight)
    clients.run_for(size.warm_up)
    figure = measured(target, clients, size.seconds, lambda: sum(pair.received for pair in pairs), 1)
    for pair in pairs:
        pair.is_stopping = True
    clients.run_until(lambda: all(pair.received == pair.sent for pair in pairs))
    # One that comes twice after all others would be refused here.
    clients.run_for(LAST_STRAY)
    return figure


def _log_in_counting(name: str) -> Script:
    yield from log_in(name)
    yield from with_features()


def with_features() -> Script:
    """Ask for copies of other clients' messages, and to count stanzas."""
    yield from ask(CARBONS, b"copies")
    yield from ask(ENABLE, b"<enabled")
