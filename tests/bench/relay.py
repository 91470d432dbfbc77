"""What the router `upstream` costs: CPU time per relayed message, and memory per relayed session.

Beside it stand a proxy that does nothing but copy bytes, and what the server behind itself takes for the same messages
on its own WebSocket port. All servers share a core; the CPU time of each is its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import unittest
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme

from bench import copier, machine
from bench.login import PASSWORD, username
from bench.measure import Figure, Size, Target
from bench.scenarios import SCENARIOS
from peers import Peer, ejabberd, prosody
from servers import program

FILE: Final = """
data_dir = "{directory}"
admin_socket = ""
metrics.listen = []
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[hosts."localhost"]
http_host = ["127.0.0.1"]
router = "upstream"
[hosts."localhost".upstream]
address = ["127.0.0.1:{port}"]
tls = "{tls}"
{ca}
"""
RELAY, RELAY_TLS, COPIER, OWN = "relay", "relay over TLS", "copier", "its own WebSocket"
BEHIND: Final = {"prosody": prosody, "ejabberd": ejabberd}


@dataclass(frozen=True)
class Way:
    """A way to a server: the port to connect to, and the process whose CPU time and memory are of interest."""

    name: str
    port: int
    pid: int


@asynccontextmanager
async def relaying(name: str, directory: Path, port: int, ca: Path | None = None) -> AsyncIterator[Way]:
    """Run this server in front of a port, which speaks TLS if there is an authority for it."""
    file = directory / f"{name.replace(' ', '-')}.toml"
    tls, where = ("direct", f'ca_file = "{ca}"') if ca else ("none", "")
    file.write_text(FILE.format(directory=directory, port=port, tls=tls, ca=where), encoding="utf-8")
    async with program(file) as server:
        yield Way(name, server.port, server.process.pid)


@asynccontextmanager
async def copying(port: int, certificate: Path | None = None) -> AsyncIterator[Way]:
    """Run the proxy that copies in front of a port, with TLS if there is a certificate."""
    command = (sys.executable, copier.__file__, str(port), *([str(certificate)] if certificate else []))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Way(COPIER, int(await process.stdout.readline()), process.pid)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def ways(name: str, accounts: Mapping[str, str]) -> AsyncIterator[list[Way]]:
    """Run a server with accounts, and all that stands in front of it."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind: Peer = await stack.enter_async_context(BEHIND[name](directory, accounts))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(directory / "own.pem")
        secured = await stack.enter_async_context(copying(behind.c2s_port, directory / "own.pem"))
        yield [
            Way(OWN, behind.port, behind.pid),
            await stack.enter_async_context(copying(behind.port)),
            await stack.enter_async_context(relaying(RELAY, directory, behind.c2s_port)),
            await stack.enter_async_context(relaying(RELAY_TLS, directory, secured.port, directory / "ca.pem")),
        ]


async def measure(name: str, scenarios: list[str], size: Size, repeats: int, cores: machine.Cores) -> None:
    """Measure every way to a server in every scenario, in turns, and print the medians."""
    accounts = {username(number): PASSWORD for number in range(max(size.sessions, 2 * size.pairs))}
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    with machine.calibrator_on(cores) as calibrator:
        for scenario in (by_name[each] for each in scenarios):
            found: dict[str, list[Figure]] = {}
            for _ in range(repeats):
                async with AsyncExitStack() as stack:
                    with cores.starting_server():
                        started = await stack.enter_async_context(ways(name, accounts))
                    for way in started:
                        target = Target(way.port, way.pid, calibrator)
                        figure = await asyncio.to_thread(scenario.run, target, size)
                        found.setdefault(way.name, []).append(figure)
            own = statistics.median(each.cost for each in found[OWN])
            for way_name, figures in found.items():
                cost = statistics.median(each.cost for each in figures)
                shown = f"{scenario.name:8}{name:10}{way_name:20}{cost:10.3g}  {scenario.unit:12}{cost / own:6.2f}"
                print(shown, flush=True)


def main() -> None:
    """Measure and print; the last column is the cost beside that of the server's own WebSocket port."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--scenarios", nargs="+", choices=("chat", "chat16", "login", "idle"), default=["chat", "idle"])
    parser.add_argument("--servers", nargs="+", choices=BEHIND, default=list(BEHIND))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--quiet", type=float, default=4.0)
    args = parser.parse_args()
    machine.allow_many_files()
    print("load average", *(f"{average:.1f}" for average in os.getloadavg()), flush=True)
    size = Size(pairs=args.pairs, sessions=args.sessions, seconds=args.seconds, quiet=args.quiet)
    cores = machine.cores()
    for name in args.servers:
        try:
            asyncio.run(measure(name, args.scenarios, size, args.repeats, cores))
        except unittest.SkipTest as reason:
            print(f"{name} is left out: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
