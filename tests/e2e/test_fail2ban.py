"""The filter of contrib/fail2ban, read by fail2ban itself, against what the program logs."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from clients import connected
from servers import PASSWORDS, add_accounts, program

pytestmark = pytest.mark.e2e

FILTERS = Path(__file__).parents[2] / "contrib" / "fail2ban"
CONFIG = """
data_dir = "."
metrics.listen = []
admin_socket = ""
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[limits]
handshakes_per_second = 1
burst = "3s"
[hosts.localhost]
"""
# What somebody would call themselves to have another address banned.
FORGED = "x' INFO xmppws.login: id=1 login=not-authorized address=192.0.2.99 host="


async def test_failures_are_found_with_the_right_address(tmp_path: Path) -> None:
    if shutil.which("fail2ban-regex") is None:
        pytest.skip("fail2ban is missing; to run this test: apt-get install -y --no-install-recommends fail2ban")
    file = tmp_path / "xmppws.toml"
    file.write_text(CONFIG.replace('"."', f'"{tmp_path}"'))
    await add_accounts(file)
    async with program(file) as server:
        for address, username, password in (
            ("203.0.113.1", "alice", PASSWORDS["alice"]),
            ("203.0.113.2", "alice", "wrong"),
            ("2001:db8::2", "nobody", "wrong"),
            ("203.0.113.3", FORGED, "wrong"),
        ):
            async with connected(server.url, headers={"X-Forwarded-For": address}) as client:
                await client.open()
                await client.authenticate(username, password, "PLAIN")
        async with aiohttp.ClientSession(headers={"X-Forwarded-For": "203.0.113.4"}) as session:
            for _ in range(5):
                try:
                    await (await session.ws_connect(server.url, protocols=("xmpp",))).close()
                except aiohttp.WSServerHandshakeError as error:
                    assert error.status == 429
        await server.logged("cause=too-fast")
        await server.logged("login=not-authorized address=203.0.113.3")
    log = tmp_path / "xmppws.log"
    log.write_text("\n".join(server.lines) + "\n")
    found = Counter(await banned(log))
    assert found.pop("203.0.113.4") >= 1
    assert found == {"203.0.113.2": 1, "2001:db8::2": 1, "203.0.113.3": 1}


async def banned(log: Path) -> list[str]:
    """Return the addresses that fail2ban finds, once for each line."""
    process = await asyncio.create_subprocess_exec(
        *("fail2ban-regex", "--out", "<ip>", str(log), str(FILTERS / "filter.d" / "xmppws.conf")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return re.findall(r"^[0-9a-f.:]+$", output.decode(), re.MULTILINE)


def test_the_jail_names_the_filter() -> None:
    jail = (FILTERS / "jail.d" / "xmppws.conf").read_text()
    assert "filter = xmppws" in jail and (FILTERS / "filter.d" / "xmppws.conf").exists()
