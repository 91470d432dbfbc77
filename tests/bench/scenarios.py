"""What is measured: each scenario loads a server that runs alone on its core, and returns what a unit of it cost."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from typing import Final

from bench import crowds
from bench.generator import Client, Clients, Failed, text
from bench.login import RESOURCE, Script, log_in, log_out, play, username
from bench.machine import pss_kib
from bench.measure import LAST_STRAY, LOGINS_AT_A_TIME, Figure, Scenario, Size, Target, connect, measured

BODY: Final = 100


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
        raise Failed(f"The sender got {payloads!r}")


def _chat(target: Target, size: Size, in_flight: int) -> Figure:
    """CPU time per delivered message, in microseconds."""
    with closing(Clients(target.port)) as clients:
        pairs = [Pair(number) for number in range(size.pairs)]
        users = connect(clients, range(2 * size.pairs))
        for pair, sender, receiver in zip(pairs, users[::2], users[1::2], strict=True):
            pair.sender, sender.receive, receiver.receive = sender, pair.stray, pair.receive
            pair.send(in_flight)
        clients.run_for(size.warm_up)
        figure = measured(target, clients, size.seconds, lambda: sum(pair.received for pair in pairs), 1)
        for pair in pairs:
            pair.is_stopping = True
        clients.run_until(lambda: all(pair.received == pair.sent for pair in pairs))
        # One that comes twice after all others would be refused here.
        clients.run_for(LAST_STRAY)
        return figure


def _login(target: Target, size: Size) -> Figure:
    """CPU time per login with SCRAM-SHA-1, from the connection until the stream is closed again, in milliseconds."""
    done = 0
    # Nobody is logged in twice at a time.
    free = deque(range(2 * size.pairs))
    with closing(Clients(target.port)) as clients:

        def start() -> None:
            number = free.popleft()
            play(clients, _session(username(number)), lambda client: ended(number, client))

        def ended(number: int, client: Client) -> None:
            nonlocal done
            done += 1
            clients.disconnect(client)
            free.append(number)
            start()

        for _ in range(min(LOGINS_AT_A_TIME, size.pairs)):
            start()
        # Until the generator has the keys of all.
        clients.run_until(lambda: done >= 2 * size.pairs)
        clients.run_for(size.warm_up)
        return measured(target, clients, size.seconds, lambda: done, 1000)


def _session(name: str) -> Script:
    """Log in, and out again."""
    yield from log_in(name)
    yield from log_out()


def _idle(target: Target, size: Size) -> Figure:
    """KiB of memory per session that has logged in and does nothing."""
    with closing(Clients(target.port)) as clients:
        for client in connect(clients, range(min(LOGINS_AT_A_TIME, size.sessions))):
            clients.disconnect(client)
        clients.run_for(size.quiet / 2)
        before = pss_kib(target.pid)
        connect(clients, range(size.sessions))
        clients.run_for(size.quiet)
        return Figure((pss_kib(target.pid) - before) / size.sessions, size.sessions)


def _of_pairs(size: Size) -> int:
    return 2 * size.pairs


def _of_crowd(size: Size) -> int:
    return size.occupants


SCENARIOS: Final = (
    Scenario("chat", "message, 1 in flight", "µs/message", _of_pairs, lambda target, size: _chat(target, size, 1)),
    Scenario("chat16", "message, 16 in flight", "µs/message", _of_pairs, lambda target, size: _chat(target, size, 16)),
    Scenario(
        "room", "copy to a room of 50, 1 in flight", "µs/copy", _of_crowd, lambda t, size: crowds.room(t, size, 1)
    ),
    Scenario(
        "room16", "copy to a room of 50, 16 in flight", "µs/copy", _of_crowd, lambda t, size: crowds.room(t, size, 16)
    ),
    Scenario(
        *("channel", "copy to 50 pages, 1 in flight", "µs/copy", _of_crowd),
        lambda target, size: crowds.channel(target, size, 1),
        pages=True,
    ),
    Scenario(
        *("channel16", "copy to 50 pages, 16 in flight", "µs/copy", _of_crowd),
        lambda target, size: crowds.channel(target, size, 16),
        pages=True,
    ),
    Scenario("login", "login, SCRAM-SHA-1", "ms/login", _of_pairs, _login),
    Scenario("idle", "idle session", "KiB/session", lambda size: size.sessions, _idle),
)
