"""The manual for module authors, followed to the letter: its first module is written, enabled, and used."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import aiohttp
import pytest

from clients import logged_in
from servers import PASSWORDS, add_accounts, program

MAN = Path(__file__).parent.parent.parent / "man"


def examples(page: str) -> list[str]:
    """Return the literal displays of a page as people see them."""
    text = (MAN / page).read_text()
    return [block.replace("\\e", "\\") for block in re.findall(r"\.Bd -literal[^\n]*\n(.*?)\.Ed", text, re.DOTALL)]


@pytest.mark.parametrize("page", ["xmppws.1", "xmppws-modules.7", "xmppws-servers.7"])
def test_mandoc_has_nothing_to_say(page: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is missing; on Debian: apt-get install mandoc")
    command = ["mandoc", "-T", "lint", str(MAN / page)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    # Pages of this package are not installed where the tests run.
    assert [line for line in said.splitlines() if "referenced manual not found" not in line] == []


async def test_the_first_module_of_the_manual_works(tmp_path: Path) -> None:
    module, configuration, *_ = examples("xmppws-modules.7")
    plugins = tmp_path / "modules"
    plugins.mkdir()
    (plugins / "dice.py").write_text(module)
    file = tmp_path / "xmppws.toml"
    file.write_text(
        f'data_dir = "{tmp_path / "data"}"\n'
        + configuration.replace("/etc/xmppws/modules", str(plugins))
        + '[http]\nlisten = ["127.0.0.1:0"]\nconsider_websocket_secure = true\n'
        + '[metrics]\nlisten = []\n[hosts."localhost"]\n'
    )
    await add_accounts(file)
    async with program(file) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            for count in ("1", "2"):
                answer = await alice.iq("get", "<roll xmlns='urn:example:dice'/>", to="localhost")
                assert answer[0].get("count") == count and 1 <= int(answer[0].text or "") <= 20
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.port}/dice") as response:
            assert re.fullmatch(r"127\.0\.0\.1 rolled \d+\n", await response.text())
