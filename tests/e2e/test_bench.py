"""`make bench` runs to its end beside the real peers, and refuses to count what did not arrive."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from bench.chat import CountingPair, Pair
from bench.generator import Failed

pytestmark = pytest.mark.e2e

TESTS = Path(__file__).parent.parent
# The others are these with another number.
SCENARIOS = ("chat16", "room", "login", "idle", "chat-sm", "login-all", "channel")
TINY = (
    "--together",
    "--scenarios",
    *SCENARIOS,
    "--repeats",
    "1",
    "--seconds",
    "0.2",
    "--quiet",
    "0.1",
    "--pairs",
    "3",
    "--sessions",
    "20",
)


async def bench(*arguments: str, path: str = os.environ["PATH"], module: str = "bench") -> tuple[int, str, str]:
    """Run the benchmark; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env={**os.environ, "PATH": path, "PYTHONPATH": str(TESTS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.timeout(0)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
async def test_every_scenario_is_measured_with_every_server() -> None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    for command, package in (("prosody", "prosody"), ("ejabberdctl", "ejabberd")):
        if shutil.which(command, path=path) is None:
            pytest.skip(f"{package} is not installed: apt install --no-install-recommends {package}")
    status, output, errors = await bench(*TINY, "--markdown")
    assert status == 0, errors
    rows = [line.split() for line in output.splitlines() if line.startswith(SCENARIOS)]
    assert [row[:2] for row in rows] == [
        [one, server]
        for one in SCENARIOS
        for server in ("xmppws", "prosody", "ejabberd")
        if server == "xmppws" or one != "channel"
    ]
    trips = {tuple(row[:2]): int(row[-1]) for row in rows if row[0].startswith("login")}
    assert trips["login-all", "xmppws"] < trips["login", "xmppws"] < trips["login-all", "prosody"]
    # What stands there as counted has arrived: a message that is lost, twice, or not in its turn ends the run.
    assert all(int(row[6]) > 0 for row in rows)
    table = [line for line in output.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(SCENARIOS)
    assert table[0].startswith("| | xmppws ")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs a kernel that tells PSS: Linux")
async def test_the_sizes_of_sessions_are_measured() -> None:
    status, output, errors = await bench("--groups", "2", "--quiet", "0.1", module="bench.sizes")
    assert status == 0, errors
    head, *lines = output.splitlines()
    assert ", 42 sessions, PSS:" in head
    # Sessions without the roster that is told end the run. So few take less than other programs make PSS vary.
    assert len(lines) == 5
    assert 10 < float(lines[0].split()[0]) < 200


@pytest.mark.parametrize("numbers", [[1], [0, 0], [0, 2]], ids=["lost", "twice", "order"])
def test_a_message_out_of_its_turn_is_refused(numbers: list[int]) -> None:
    pair = Pair(0)
    pair.is_stopping = True
    filling = "x" * 90
    with pytest.raises(Failed, match="had to come"):
        pair.receive([f"<message><body>{number:010}{filling}</body></message>".encode() for number in numbers])


@pytest.mark.parametrize("h", [3, 0], ids=["too many", "less than before"])
def test_a_wrong_acknowledgement_is_refused(h: int) -> None:
    pair = CountingPair(0)
    pair.sent = 2
    pair.stray([b"<a xmlns='urn:xmpp:sm:3' h='1'/>"])
    assert pair.acknowledged == 1
    with pytest.raises(Failed, match="who has sent 2 messages"):
        pair.stray([f'<a h="{h}" xmlns="urn:xmpp:sm:3"/>'.encode()])


def test_a_message_that_is_in_no_archive_is_refused() -> None:
    pair = CountingPair(0)
    pair.sent = 2
    looking = pair.leave()
    next(looking)
    with pytest.raises(Failed, match="Message 1 had to be the last"):
        looking.send(b"<message><result xmlns='urn:xmpp:mam:2'><body>0000000000</body></result></message>")


def test_a_message_that_is_cut_short_is_refused() -> None:
    pair = Pair(0)
    pair.is_stopping = True
    pair.receive([f"<message><body>{0:010}{'x' * 90}</body></message>".encode()])
    with pytest.raises(Failed):
        pair.receive([f"<message><body>{1:010}{'x' * 89}</body></message>".encode()])
    assert pair.received == 1
