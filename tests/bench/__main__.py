"""What xmppws costs beside Prosody and ejabberd: CPU time per message and per login, memory per session.

One server at a time has a core for itself, and the load comes from another. Its CPU time is what the kernel says its
threads ran, so the figures hardly depend on how fast the load is, but they do on what else the machine does: servers
take turns, everything is repeated, and the speed of the server's core is measured at the same time (see machine.py).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import unittest
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path

from bench import machine
from bench.generator import Failed
from bench.login import PASSWORD, username
from bench.measure import Needs, Scenario, Size, Target
from bench.report import HEAD, Results, lines, markdown
from bench.scenarios import SCENARIOS
from bench.targets import SERVERS, Start


class Bench:
    """A run over scenarios, repeats and servers. Servers that are not installed are left out, and told."""

    def __init__(self, args: argparse.Namespace, cores: machine.Cores, calibrator: machine.Calibrator) -> None:
        self.size = Size(args.pairs, args.sessions, args.seconds, args.quiet)
        self.repeats: int = args.repeats
        self.servers: list[str] = args.servers
        self.versions: dict[str, str] = {}
        self._cores = cores
        self._calibrator = calibrator

    async def measure(self, scenarios: Sequence[Scenario]) -> list[Results]:
        """Repeat scenarios with every server in turn, so that what else the machine does meets all alike.

        They need the same of a server, which runs for all of them, one after the other.
        """
        results = [Results(scenario) for scenario in scenarios]
        starts = SERVERS[scenarios[0].needs]
        for _ in range(self.repeats):
            for server in [each for each in self.servers if each in starts]:
                try:
                    await self._add_figures(results, server, starts[server])
                except unittest.SkipTest as reason:
                    print(f"{server} is left out: {reason}", file=sys.stderr)
                    self.servers.remove(server)
        return results

    async def _add_figures(self, results: Sequence[Results], server: str, start: Start) -> None:
        number = max(each.scenario.accounts(self.size) for each in results)
        accounts = {username(each): PASSWORD for each in range(number)}
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            with self._cores.starting_server():
                started = await stack.enter_async_context(start(Path(directory), accounts))
            self.versions[server] = started.version
            target = Target(started.port, started.pid, self._calibrator)
            for each in results:
                try:
                    # In a thread of its own, so that this one can read what the server logs.
                    figure = await asyncio.to_thread(each.scenario.run, target, self.size)
                except Failed as error:
                    raise SystemExit(f"{each.scenario.name}, {server}: {error}") from error
                each.figures.setdefault(server, []).append(figure)


def _count(written: str) -> int:
    """Read a number of the command line that has to be 1 at least."""
    if (number := int(written)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few: it has to be 1 at least")
    return number


def _seconds(written: str) -> float:
    if not 0 < (seconds := float(written)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{written} is no time: it has to be more than 0 seconds")
    return seconds


def arguments() -> argparse.ArgumentParser:
    """Describe the options."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=(__doc__ or "").partition("\n\n")[0], epilog="With make: make bench ARGS='...'"
    )
    names = [scenario.name for scenario in SCENARIOS]
    servers = list(SERVERS[Needs.ACCOUNTS])
    size = Size()
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"of {', '.join(names)}; default: all",
    )
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=servers,
        default=servers,
        metavar="NAME",
        help=f"of {', '.join(servers)}; default: all",
    )
    for name, kind, default, text in (
        ("repeats", _count, 3, "how often each server is measured in each scenario"),
        ("seconds", _seconds, size.seconds, "how long messages or logins are counted, each time"),
        ("pairs", _count, size.pairs, "pairs of users who chat"),
        ("sessions", _count, size.sessions, "sessions that idle"),
        ("quiet", _seconds, size.quiet, "seconds after the last login until memory is read"),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=f"{text}; default: {default}")
    together = "start servers once for all scenarios that need the same, not for each: one then finds what others left"
    parser.add_argument("--together", action="store_true", help=together)
    parser.add_argument("--markdown", action="store_true", help="print the README's table at the end")
    return parser


def _grouped(scenarios: Sequence[Scenario], together: bool) -> list[list[Scenario]]:
    """Return which scenarios a server that was started is used for."""
    if not together:
        return [[each] for each in scenarios]
    groups = [[each for each in scenarios if each.needs is needs] for needs in Needs]
    return [group for group in groups if group]


async def main(args: argparse.Namespace) -> None:
    machine.allow_many_files()
    cores = machine.cores()
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"load average {load}; above 1, other work makes the figures larger and less sure\n{HEAD}", flush=True)
    with machine.calibrator_on(cores) as calibrator:
        bench = Bench(args, cores, calibrator)
        measured: list[Results] = []
        for scenarios in _grouped([each for each in SCENARIOS if each.name in args.scenarios], args.together):
            for results in await bench.measure(scenarios):
                measured.append(results)
                print("\n".join(lines(results)), flush=True)
    if args.markdown:
        print("\n" + markdown(measured, bench.versions, date.today().isoformat()))


if __name__ == "__main__":
    asyncio.run(main(arguments().parse_args()))
