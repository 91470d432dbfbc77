"""The figures of relayed messages and sessions come to their end, with every way that is compared."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from bench.relay import COPIER, OWN, RELAY, RELAY_TLS

pytestmark = pytest.mark.e2e

TESTS = Path(__file__).parent.parent
TINY = ("--repeats", "1", "--seconds", "0.2", "--quiet", "0.1", "--pairs", "3", "--sessions", "20")
SCENARIOS = ("chat16", "idle")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
@pytest.mark.skipif(shutil.which("prosody") is None, reason="needs Prosody: apt install prosody")
async def test_every_way_is_measured() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.relay", "--servers", "prosody", "--scenarios", *SCENARIOS, *TINY),
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    _, *lines = output.decode().splitlines()
    shown = [(line[:8].strip(), line[18:38].strip()) for line in lines]
    assert shown == [(scenario, way) for scenario in SCENARIOS for way in (OWN, COPIER, RELAY, RELAY_TLS)]
