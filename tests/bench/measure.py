"""What a scenario is, and how what it counts becomes a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from bench.generator import Client, Clients, Failed
from bench.login import Script, log_in, play, username
from bench.machine import Calibrator, cpu_us

# ejabberd answers a stream's end after a tenth of a second: with few at a time its core would sleep meanwhile.
LOGINS_AT_A_TIME: Final = 32
# Fewer pieces of the calibrator's work say too little.
ENOUGH_PIECES: Final = 100
# After all has come, for what would come twice.
LAST_STRAY: Final = 0.1


@dataclass(frozen=True)
class Size:
    """How much load, and for how long (in seconds)."""

    pairs: int = 100
    sessions: int = 2000
    seconds: float = 4.0
    quiet: float = 4.0
    occupants: int = 50

    @property
    def warm_up(self) -> float:
        return min(1.0, self.seconds / 2)


@dataclass(frozen=True)
class Figure:
    """What a unit cost, how many were counted, and microseconds for a piece of the calibrator's work (0: unknown).

    `trips` are the round trips of each, where they are counted.
    """

    cost: float
    units: int
    calibration: float = 0.0
    trips: int = 0


@dataclass(frozen=True)
class Target:
    """A server under load."""

    port: int
    pid: int
    calibrator: Calibrator


class Needs(Enum):
    """What a server has to have; one that has archives has stream management and carbons, too.

    Pages speak JSON: no peer serves them.
    """

    ACCOUNTS = auto()
    ARCHIVES = auto()
    PAGES = auto()


@dataclass(frozen=True)
class Scenario:
    """`accounts` are needed for a size; `run` measures. The README calls it by its title."""

    name: str
    title: str
    unit: str
    accounts: Callable[[Size], int]
    run: Callable[[Target, Size], Figure]
    needs: Needs = Needs.ACCOUNTS


def measured(target: Target, clients: Clients, seconds: float, done: Callable[[], int], scale: float) -> Figure:
    """Let the load run, and divide the server's CPU time in microseconds by the units done, and by a scale."""
    units, (pieces, spent), before = done(), target.calibrator.reading(), cpu_us(target.pid)
    clients.run_for(seconds)
    cpu, (pieces_after, spent_after), units_after = cpu_us(target.pid), target.calibrator.reading(), done()
    if units_after == units:
        raise Failed(f"Nothing was done in {seconds} s")
    calibration = (spent_after - spent) / (pieces_after - pieces) if pieces_after - pieces >= ENOUGH_PIECES else 0.0
    return Figure((cpu - before) / (units_after - units) / scale, units_after - units, calibration)


def connect(clients: Clients, numbers: range, script: Callable[[str], Script] = log_in) -> list[Client]:
    """Log in the users of these numbers, some at a time, and return them in their order."""
    found: dict[int, Client] = {}
    waiting = iter(numbers)

    def start() -> None:
        if (number := next(waiting, None)) is not None:
            play(clients, script(username(number)), lambda client: arrived(number, client))

    def arrived(number: int, client: Client) -> None:
        found[number] = client
        start()

    for _ in range(LOGINS_AT_A_TIME):
        start()
    clients.run_until(lambda: len(found) == len(numbers))
    return [found[number] for number in numbers]
