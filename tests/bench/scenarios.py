"""What is measured: each scenario loads a server that runs alone on its core, and returns what a unit of it cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Final

from bench import crowds
from bench.chat import chat, counted_chat
from bench.generator import Client, Clients
from bench.login import Script, counted, log_in, log_out, play, username
from bench.machine import pss_kib
from bench.measure import LOGINS_AT_A_TIME, Figure, Needs, Scenario, Size, Target, connect, measured
from bench.tokens import get_token, log_in_shortest


def _login(target: Target, size: Size) -> Figure:
    """CPU time per login with SCRAM-SHA-1, from the connection until the stream is closed again, in milliseconds."""
    with closing(Clients(target.port)) as clients:
        return _logins(target, size, clients, log_in)


def _login_shortest(target: Target, size: Size) -> Figure:
    """The same for a session with stream management and carbons, in as few steps as the server knows."""
    tokens: dict[str, bytes] = {}
    with closing(Clients(target.port)) as clients:
        for number in range(2 * size.pairs):
            gone: list[Client] = []
            play(clients, get_token(username(number), tokens), gone.append)
            clients.run_until(lambda gone=gone: bool(gone))  # type: ignore[misc]
            clients.disconnect(gone[0])
        return _logins(target, size, clients, lambda name: log_in_shortest(name, tokens))


def _logins(target: Target, size: Size, clients: Clients, script: Callable[[str], Script]) -> Figure:
    done = trips = 0
    # Nobody is logged in twice at a time.
    free = deque(range(2 * size.pairs))

    def start() -> None:
        number = free.popleft()
        play(clients, session(script(username(number))), lambda client: ended(number, client))

    def session(logging_in: Script) -> Script:
        """Log in, and out again."""
        nonlocal trips
        trips = yield from counted(logging_in)
        yield from log_out()

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
    return replace(measured(target, clients, size.seconds, lambda: done, 1000), trips=trips)


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
    Scenario("chat", "message, 1 in flight", "µs/message", _of_pairs, lambda target, size: chat(target, size, 1)),
    Scenario("chat16", "message, 16 in flight", "µs/message", _of_pairs, lambda target, size: chat(target, size, 16)),
    Scenario(
        *("chat-sm", "message with stream management, carbons and archives, 1 in flight", "µs/message", _of_pairs),
        lambda target, size: counted_chat(target, size),
        needs=Needs.ARCHIVES,
    ),
    Scenario(
        "room", "copy to a room of 50, 1 in flight", "µs/copy", _of_crowd, lambda t, size: crowds.room(t, size, 1)
    ),
    Scenario(
        "room16", "copy to a room of 50, 16 in flight", "µs/copy", _of_crowd, lambda t, size: crowds.room(t, size, 16)
    ),
    Scenario(
        *("channel", "copy to 50 pages, 1 in flight", "µs/copy", _of_crowd),
        lambda target, size: crowds.channel(target, size, 1),
        needs=Needs.PAGES,
    ),
    Scenario(
        *("channel16", "copy to 50 pages, 16 in flight", "µs/copy", _of_crowd),
        lambda target, size: crowds.channel(target, size, 16),
        needs=Needs.PAGES,
    ),
    Scenario("login", "login, SCRAM-SHA-1", "ms/login", _of_pairs, _login),
    Scenario(
        *("login-all", "login to a session with stream management and carbons", "ms/login", _of_pairs),
        _login_shortest,
        needs=Needs.ARCHIVES,
    ),
    Scenario("idle", "idle session", "KiB/session", lambda size: size.sessions, _idle),
)
