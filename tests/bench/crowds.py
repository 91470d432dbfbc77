"""One writes and all read: in a room, as XMPP clients, and in a channel, as pages that speak JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from bench.generator import Client, Clients, Failed, text
from bench.login import Script, ask, follow, play, username
from bench.measure import LAST_STRAY, Figure, Size, Target, connect, measured
from jose import SECRET, hs256, token

FILLING: Final = "x" * 90
ROOM: Final = "crowd@conference.localhost"
CHANNEL: Final = "crowd"
PATH: Final = "/ws"
SETTINGS: Final = f"""
modules_enabled = ["default", "channels"]
authentication = ["jwt"]
jwt.secret = "{SECRET}"
modules.channels.max_room_users = 1000
modules.muc.max_occupants = 1000
"""
"""What a host has that serves pages."""

# All numbers have ten digits, so the frame's head fits them all.
_NUMBER: Final = f"{0:010}{FILLING}"
_MESSAGE: Final = (
    f"<message xmlns='jabber:client' to='{ROOM}' type='groupchat' id='{0:010}'><body>{_NUMBER}</body></message>"
)
_PUBLISH: Final = json.dumps({"type": "publish", "channel": CHANNEL, "event": "bench", "data": _NUMBER})
_CONFIGURE: Final = (
    f"<iq xmlns='jabber:client' to='{ROOM}' type='set' id='configure'>"
    "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>"
).encode()


class Crowd:
    """Who is there; the first writes. Every message has a number, and has to come to each once and in its turn."""

    def __init__(self, present: list[Client], message: str, content: bytes, mark: bytes) -> None:
        self.received = 0
        self.sent = 0
        self.is_stopping = False
        self._writer = present[0]
        self._count = len(present)
        self._message = text(message.encode()).replace(b"%", b"%%").replace(b"0000000000", b"%010d")
        self._holes = self._message.count(b"%010d")
        self._content = content
        self._mark = mark
        # How many have each of the messages that are on their way.
        self._reached: dict[int, int] = {}
        for client in present:
            client.receive = self._reader()

    @property
    def is_done(self) -> bool:
        """Whether everybody has everything."""
        return self.received == self.sent * self._count

    def send(self, count: int) -> None:
        """Send the next messages in one write."""
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        self._writer.send(b"".join([self._message % ((number,) * self._holes) for number in numbers]))

    def _reader(self) -> Callable[[list[bytes]], None]:
        following = 0

        def receive(payloads: list[bytes]) -> None:
            nonlocal following
            complete = 0
            for payload in payloads:
                if self._mark not in payload:
                    continue  # Somebody has come.
                if self._content % following not in payload:
                    raise Failed(f"Message {following} had to come, but this came: {payload!r}")
                complete += self._reach(following)
                following += 1
            if complete and not self.is_stopping:
                self.send(complete)

        return receive

    def _reach(self, number: int) -> bool:
        self.received += 1
        reached = self._reached.get(number, 0) + 1
        if reached < self._count:
            self._reached[number] = reached
            return False
        del self._reached[number]
        return True


def room(target: Target, size: Size, in_flight: int) -> Figure:
    """CPU time per copy of a message to a room, in microseconds."""
    with closing(Clients(target.port)) as clients:
        present = connect(clients, range(size.occupants))
        for number, client in enumerate(present):
            _wait(clients, client, _enter(number))
        crowd = Crowd(present, _MESSAGE, f"<body>%010d{FILLING}</body>".encode(), b"<body>")
        return _load(target, clients, crowd, size, in_flight)


def channel(target: Target, size: Size, in_flight: int) -> Figure:
    """CPU time per copy of a message to a channel, in microseconds."""
    with closing(Clients(target.port)) as clients:
        present: list[Client] = []
        for number in range(size.occupants):
            shown = token({"sub": username(number), "exp": time.time() + 3600}, hs256())
            play(clients, _subscribe(), present.append, path=f"{PATH}?token={shown}")
            clients.run_until(lambda entered=number + 1: len(present) == entered)  # type: ignore[misc]
        crowd = Crowd(present, _PUBLISH, f'"data":"%010d{FILLING}"'.encode(), b'"data"')
        return _load(target, clients, crowd, size, in_flight)


def _load(target: Target, clients: Clients, crowd: Crowd, size: Size, in_flight: int) -> Figure:
    crowd.send(in_flight)
    clients.run_for(size.warm_up)
    figure = measured(target, clients, size.seconds, lambda: crowd.received, 1)
    crowd.is_stopping = True
    clients.run_until(lambda: crowd.is_done)
    # One that comes twice after all others would be refused here.
    clients.run_for(LAST_STRAY)
    return figure


def _wait(clients: Clients, client: Client, script: Script) -> None:
    done: list[Client] = []
    follow(client, script, done.append)
    clients.run_until(lambda: bool(done))


def _enter(number: int) -> Script:
    """Enter the room, which the first one makes, and wait for its subject."""
    to = f"{ROOM}/{username(number)}"
    presence = f"<presence xmlns='jabber:client' to='{to}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    yield from ask(presence.encode(), b"<subject")
    if not number:
        yield from ask(_CONFIGURE, b"configure")


def _subscribe() -> Script:
    """Subscribe to the event of the channel."""
    yield b""  # the answer to the handshake
    wanted = {"type": "subscribe", "channel": CHANNEL, "event": "bench"}
    yield from ask(json.dumps(wanted).encode(), b'"subscribed"')
