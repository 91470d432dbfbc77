"""What the server costs: CPU time per message and per login, memory per session. Run by `make bench`.

The server has core 0 for itself and this generator core 1. Its CPU time is what the kernel says its threads ran, so the
figures do not depend on how fast the generator is, but they do on what else the machine does: medians of several runs.
"""

from __future__ import annotations

import asyncio
import base64
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from raw import OPEN, Raw, frame
from servers import Program, program

PAIRS = 40
MESSAGES = 20_000
LOGINS = 200
IDLE = 1000
REPEATS = 3
BODY = b"x" * 100

FILE = """
data_dir = "{data}"
metrics.listen = []
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[c2s]
max_unauthenticated_per_address = 100000
[hosts."localhost"]
http_host = ["127.0.0.1"]
"""


def cpu_us(pid: int) -> float:
    """CPU time of all threads of a process, in microseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


def pss_kib(pid: int) -> int:
    """Memory of a process, what it shares divided among those who share it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


async def login(port: int, username: str, resource: str) -> Raw:
    """Log in with PLAIN and bind."""
    client = Raw(*await asyncio.open_connection("127.0.0.1", port))
    await client.upgrade(frame(OPEN))
    credentials = base64.b64encode(f"\0{username}\0password".encode()).decode()
    bind = f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind>"
    for text, answers in (
        (f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{credentials}</auth>", 3),
        (OPEN.decode(), 2),
        (f"<iq xmlns='jabber:client' type='set' id='b'>{bind}</iq>", 1),
    ):
        client.write(frame(text.encode()))
        for _ in range(answers):
            await client.frame()
    return client


async def chat(server: Program, in_flight: int) -> float:
    """Microseconds of the server's CPU time per delivered message; every message is checked to have arrived."""
    senders = [await login(server.port, "alice", f"a{n}") for n in range(PAIRS)]
    receivers = [await login(server.port, "bob", f"b{n}") for n in range(PAIRS)]
    rounds = MESSAGES // PAIRS // in_flight

    async def pair(number: int) -> None:
        sender, receiver = senders[number], receivers[number]
        attributes = b"xmlns='jabber:client' to='bob@localhost/b%d' type='chat' id='m'" % number
        message = frame(b"<message %b><body>%b</body></message>" % (attributes, BODY))
        for _ in range(rounds):
            sender.write(message * in_flight)
            for _ in range(in_flight):
                assert BODY in (await receiver.frame())[1]

    before = cpu_us(server.process.pid)
    await asyncio.gather(*(pair(number) for number in range(PAIRS)))
    cost = (cpu_us(server.process.pid) - before) / (PAIRS * rounds * in_flight)
    for client in (*senders, *receivers):
        client.writer.transport.abort()
    return cost


async def logins(server: Program) -> float:
    """Milliseconds of CPU time per login with PLAIN, connection and binding included."""
    before = cpu_us(server.process.pid)
    for number in range(LOGINS):
        client = await login(server.port, "alice", f"l{number}")
        client.writer.transport.abort()
    return (cpu_us(server.process.pid) - before) / LOGINS / 1000


async def idle(server: Program) -> float:
    """KiB of memory per bound session that does nothing."""
    before = pss_kib(server.process.pid)
    clients = [await login(server.port, "alice", f"i{number}") for number in range(IDLE)]
    cost = (pss_kib(server.process.pid) - before) / IDLE
    for client in clients:
        client.writer.transport.abort()
    return cost


@asynccontextmanager
async def fresh_server() -> AsyncIterator[Program]:
    """Run a server with alice and bob on core 0."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "xmppws.toml")
        file.write_text(FILE.format(data=directory))
        accounts = Path(directory, "accounts")
        accounts.write_text("alice@localhost password\nbob@localhost password\n")
        command = (sys.executable, "-m", "xmppws", "user", "add", "-c", str(file), "--file", str(accounts))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
        async with program(file) as server:
            for task in Path(f"/proc/{server.process.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {0})
            yield server


async def main() -> None:
    os.sched_setaffinity(0, {1})
    scenarios: list[tuple[str, str, Callable[[Program], Awaitable[float]]]] = [
        ("chat, 1 in flight", "us/message", lambda server: chat(server, 1)),
        ("chat, 16 in flight", "us/message", lambda server: chat(server, 16)),
        ("login, PLAIN", "ms/login", logins),
        ("idle session", "KiB/session", idle),
    ]
    print(f"{'':20}{'median':>10}{'least':>10}{'most':>10}")
    for name, unit, scenario in scenarios:
        figures = []
        for _ in range(REPEATS):
            async with fresh_server() as server:
                figures.append(await scenario(server))
        row = statistics.median(figures), min(figures), max(figures)
        print(f"{name:20}" + "".join(f"{figure:10.2f}" for figure in row) + f"  {unit}", flush=True)


asyncio.run(main())
