"""What contrib/prometheus asks for: the rules as promtool reads them, and metrics that the server has."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from clients import logged_in
from servers import PASSWORDS, config, running
from xmppws.config import Metrics

pytestmark = pytest.mark.e2e

FOLDER = Path(__file__).parents[2] / "contrib" / "prometheus"
NAME = re.compile(r"\b(?:xmppws|process)_\w+")


@pytest.mark.parametrize(
    "command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")], ids=" ".join
)
async def test_the_rules_are_right(command: tuple[str, ...]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing; to run this test: apt-get install -y --no-install-recommends prometheus")
    process = await asyncio.create_subprocess_exec(
        "promtool", *command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def dashboard() -> set[str]:
    """Return the metrics of the dashboard, having looked at its shape."""
    board = json.loads((FOLDER / "dashboard.json").read_text())
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(places) + 1))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return {name for expression in expressions for name in NAME.findall(expression)}


async def test_all_metrics_that_are_asked_for_are_there() -> None:
    asked = dashboard() | set(NAME.findall((FOLDER / "alerts.yml").read_text()))
    async with running(replace(config(), metrics=Metrics(listen=("127.0.0.1:0",)))) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]):
            pass  # There is no figure of logins before the first.
        (where,) = server.server.metrics_addresses
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{where.port}/metrics") as page:
            offered = set(re.findall(r"^(\w+)", await page.text(), re.MULTILINE))
    assert len(asked) > 15
    assert asked <= offered
