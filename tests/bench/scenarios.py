"""What is measured: each scenario loads a server that runs alone on its core, and returns what a unit of it cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from bench.generator import Client, Clients, Failed, text
from bench.login import RESOURCE, Script, log_in, log_out, play, username
from bench.machine import Calibrator, cpu_us, pss_kib

BODY: Final = 100
# ejabberd answers a stream's end after a tenth of a second: with few at a time its core would sleep meanwhile.
LOGINS_AT_A_TIME: Final = 32
# Fewer pieces of the calibrator's work say too little.
ENOUGH_PIECES: Final = 100
LAST_STRAY: Final = 0.1


@dataclass(frozen=True)
class Size:
    """How much load, and for how long (in seconds)."""

    pairs: int = 100
    sessions: int = 2000
    seconds: float = 4.0
    quiet: float = 4.0

    @property
    def warm_up(self) -> float:
        return min(1.0, self.seconds / 2)


@dataclass(frozen=True)
class Figure:
    """What a unit cost, how many were counted, and microseconds for a piece of the calibrator's work (0: unknown)."""

    cost: float
    units: int
    calibration: float = 0.0


@dataclass(frozen=True)
class Target:
    """A server under load."""

    port: int
    pid: int
    calibrator: Calibrator


@dataclass(frozen=True)
class Scenario:
    """`accounts` are needed for a size; `run` measures. The README calls it by its title."""

    name: str
    title: str
    unit: str
    accounts: Callable[[Size], int]
    run: Callable[[Target, Size], Figure]


def _measured(target: Target, clients: Clients, seconds: float, done: Callable[[], int], scale: float) -> Figure:
    """Let the load run, and divide the server's CPU time in microseconds by the units done, and by a scale."""
    units, (pieces, spent), before = done(), target.calibrator.reading(), cpu_us(target.pid)
    clients.run_for(seconds)
    cpu, (pieces_after, spent_after), units_after = cpu_us(target.pid), target.calibrator.reading(), done()
    if units_after == units:
        raise Failed(f"Nothing was done in {seconds} s")
    calibration = (spent_after - spent) / (pieces_after - pieces) if pieces_after - pieces >= ENOUGH_PIECES else 0.0
    return Figure((cpu - before) / (units_after - units) / scale, units_after - units, calibration)


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


def _connect(clients: Clients, numbers: range) -> list[Client]:
    """Log in the users of these numbers, some at a time, and return them in their order."""
    found: dict[int, Client] = {}
    waiting = iter(numbers)

    def start() -> None:
        if (number := next(waiting, None)) is not None:
            play(clients, log_in(username(number)), lambda client: arrived(number, client))

    def arrived(number: int, client: Client) -> None:
        found[number] = client
        start()

    for _ in range(LOGINS_AT_A_TIME):
        start()
    clients.run_until(lambda: len(found) == len(numbers))
    return [found[number] for number in numbers]


def _chat(target: Target, size: Size, in_flight: int) -> Figure:
    """CPU time per delivered message, in microseconds."""
    with closing(Clients(target.port)) as clients:
        pairs = [Pair(number) for number in range(size.pairs)]
        users = _connect(clients, range(2 * size.pairs))
        for pair, sender, receiver in zip(pairs, users[::2], users[1::2], strict=True):
            pair.sender, sender.receive, receiver.receive = sender, pair.stray, pair.receive
            pair.send(in_flight)
        clients.run_for(size.warm_up)
        figure = _measured(target, clients, size.seconds, lambda: sum(pair.received for pair in pairs), 1)
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
        return _measured(target, clients, size.seconds, lambda: done, 1000)


def _session(name: str) -> Script:
    """Log in, and out again."""
    yield from log_in(name)
    yield from log_out()


def _idle(target: Target, size: Size) -> Figure:
    """KiB of memory per session that has logged in and does nothing."""
    with closing(Clients(target.port)) as clients:
        for client in _connect(clients, range(min(LOGINS_AT_A_TIME, size.sessions))):
            clients.disconnect(client)
        clients.run_for(size.quiet / 2)
        before = pss_kib(target.pid)
        _connect(clients, range(size.sessions))
        clients.run_for(size.quiet)
        return Figure((pss_kib(target.pid) - before) / size.sessions, size.sessions)


def _of_pairs(size: Size) -> int:
    return 2 * size.pairs


SCENARIOS: Final = (
    Scenario("chat", "message, 1 in flight", "µs/message", _of_pairs, lambda target, size: _chat(target, size, 1)),
    Scenario("chat16", "message, 16 in flight", "µs/message", _of_pairs, lambda target, size: _chat(target, size, 16)),
    Scenario("login", "login, SCRAM-SHA-1", "ms/login", _of_pairs, _login),
    Scenario("idle", "idle session", "KiB/session", lambda size: size.sessions, _idle),
)
