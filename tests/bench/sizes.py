"""What a server of this package takes of memory: nobody there, sessions that do nothing, sessions with contacts.

The contacts are in groups of 21 where everybody is subscribed to everybody: a roster of 20, and 20 who are online. The
server that is measured has been started anew on data that another one has written. Linux alone tells these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from bench import machine
from bench.generator import Client, Clients, Failed, text
from bench.login import PASSWORD, Script, ask, follow, log_in, log_out, play, username
from bench.targets import FILE
from servers import Program, program

CONTACTS: Final = 20
GROUP: Final = CONTACTS + 1
AT_A_TIME: Final = 32
PRESENCE: Final = b"<presence xmlns='jabber:client'/>"
PING: Final = b"<iq xmlns='jabber:client' type='get' id='ping-answer'><ping xmlns='urn:xmpp:ping'/></iq>"
UNAVAILABLE: Final = b"<presence xmlns='jabber:client' type='unavailable'/>"
ROSTER: Final = b"<iq xmlns='jabber:client' type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>"
_MUTUAL: Final = re.compile(rb"subscription=.both.")


@dataclass(frozen=True)
class Sizes:
    """In KiB: the process when it has started, when some have come and gone, and each session's part of the rest.

    `burst` is what all take after they have sent presence at the same moment: the process keeps what that took.
    """

    started: float
    used: float
    idle: float
    present: float
    burst: float


async def measure(directory: Path, groups: int, quiet: float) -> Sizes:
    """Run two servers in a directory, one after the other: the first to get the rosters written."""
    file = directory / "xmppws.toml"
    file.write_text(FILE.format(directory=directory, disabled=["mam"]), encoding="utf-8")
    listed = directory / "accounts"
    people = range(groups * GROUP)
    listed.write_text("".join(f"{username(number)}@localhost {PASSWORD}\n" for number in people))
    command = (sys.executable, "-m", "xmppws", "user", "add", "-c", str(file), "--file", str(listed))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    if status := await process.wait():
        raise RuntimeError(f"xmppws user add ended with {status}")
    async with program(file) as server:
        await asyncio.to_thread(_befriend, server, people)
    async with program(file) as server:
        return await asyncio.to_thread(_sizes, server, people, quiet)


def _befriend(server: Program, people: range) -> None:
    """Subscribe everybody to everybody of their group. Approved before it is asked for (RFC 6121 section 3.4)."""
    with closing(Clients(server.port)) as clients:
        present = _log_in(clients, people)
        for type_ in ("subscribed", "subscribe"):
            for number, client in enumerate(present):
                _send(client, [_presence(type_, other) for other in _group(number) if other != number])
            _all(clients, present, _ping)
        _all(clients, present, _roster)


def _sizes(server: Program, people: range, quiet: float) -> Sizes:
    pid = server.process.pid
    with closing(Clients(server.port)) as clients:

        def settled() -> float:
            clients.run_for(quiet)
            return machine.pss_kib(pid)

        started = settled()
        some = _log_in(clients, people[:AT_A_TIME])
        _all(clients, some, log_out)
        for client in some:
            clients.disconnect(client)
        used = settled()
        present = _log_in(clients, people)
        idle = settled()
        _all(clients, present, _roster)
        _in_turn(clients, len(present), lambda number, done: _come(present[number], done))
        online = settled()
        for presence in (UNAVAILABLE, PRESENCE):
            for client in present:
                _send(client, [presence])
            _all(clients, present, _ping)
        sessions = len(people)
        return Sizes(started, used, (idle - used) / sessions, (online - used) / sessions, (settled() - used) / sessions)


def _log_in(clients: Clients, people: range) -> list[Client]:
    names = [username(number) for number in people]
    return _in_turn(clients, len(names), lambda number, done: play(clients, log_in(names[number]), done))


def _all(clients: Clients, present: list[Client], script: Callable[[], Script]) -> None:
    """Let every client follow a script."""
    _in_turn(clients, len(present), lambda number, done: follow(present[number], script(), done))


def _in_turn(clients: Clients, count: int, start: Callable[[int, Callable[[Client], None]], None]) -> list[Client]:
    """Start something for each of some clients, a few at a time, and return them when all have ended it."""
    found: dict[int, Client] = {}
    waiting = iter(range(count))

    def start_next() -> None:
        if (number := next(waiting, None)) is not None:
            start(number, lambda client: ended(number, client))

    def ended(number: int, client: Client) -> None:
        found[number] = client
        start_next()

    for _ in range(AT_A_TIME):
        start_next()
    clients.run_until(lambda: len(found) == count)
    return [found[number] for number in range(count)]


def _send(client: Client, stanzas: list[bytes]) -> None:
    client.send(b"".join(map(text, stanzas)))


def _come(client: Client, done: Callable[[Client], None]) -> None:
    _send(client, [PRESENCE])
    follow(client, _ping(), done)


def _group(number: int) -> range:
    first = number - number % GROUP
    return range(first, first + GROUP)


def _presence(type_: str, to: int) -> bytes:
    return f"<presence xmlns='jabber:client' type='{type_}' to='{username(to)}@localhost'/>".encode()


def _ping() -> Script:
    """Wait until the server has done all that the client sent before."""
    yield from ask(PING, b"ping-answer")


def _roster() -> Script:
    frame = yield from ask(ROSTER, b"jabber:iq:roster")
    if len(_MUTUAL.findall(frame)) != CONTACTS:
        raise Failed(f"The roster does not have {CONTACTS} mutual subscriptions: {frame!r}")


def _lines(sizes: Sizes, sessions: int) -> list[str]:
    return [
        f"{date.today()}, Python {platform.python_version()}, {sessions} sessions, PSS:",
        f"{sizes.started / 1024:7.1f} MiB  the process, started",
        f"{sizes.used / 1024:7.1f} MiB  the process, after {AT_A_TIME} sessions that came and went",
        f"{sizes.idle:7.1f} KiB  a session that is logged in",
        f"{sizes.present:7.1f} KiB  a session with presence, a roster of {CONTACTS}, and all of them online",
        f"{sizes.burst:7.1f} KiB  the same, after all have sent presence at the same moment",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--groups", type=int, default=48, help=f"of {GROUP} people each (48)")
    parser.add_argument("--quiet", type=float, default=4.0, help="seconds before memory is read (4)")
    args = parser.parse_args()
    machine.allow_many_files()
    with tempfile.TemporaryDirectory() as directory:
        sizes = asyncio.run(measure(Path(directory), args.groups, args.quiet))
    print(*_lines(sizes, args.groups * GROUP), sep="\n")


if __name__ == "__main__":
    main()
