"""Accounts that Debian's Prosody has made, brought in by contrib/prosody/accounts.lua."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clients import Client, connected, logged_in
from one_trip import SASL2, bind, do_task, log_in, upgrade
from processes import installed
from servers import Running, config, running
from xmppws.cli.account_file import read
from xmppws.core.auth import Accounts

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).parents[2] / "contrib/prosody/accounts.lua"
DOMAIN = "localhost"
PROSODY = """
run_as_root = true
data_path = "{directory}/data"
log = {{ info = "{directory}/log" }}
authentication = "internal_hashed"
password_hash = "{password_hash}"
storage = "internal"
VirtualHost "{domain}"
"""
ACCOUNTS = {"alice": "wonder land", "bob.the=builder": "bauen & söhne", "zoë": "Ⅸ"}


def registered(directory: Path, password_hash: str) -> list[Path]:
    """Let prosodyctl make the accounts; return their files."""
    installed("prosody")
    file = directory / "prosody.cfg.lua"
    file.write_text(PROSODY.format(directory=directory, password_hash=password_hash, domain=DOMAIN))
    for name, password in ACCOUNTS.items():
        command = [installed("prosodyctl", "prosody"), "--root", "--config", str(file)]
        subprocess.run([*command, "register", name, DOMAIN, password], check=True, capture_output=True, timeout=60)
    return sorted((directory / "data" / DOMAIN / "accounts").iterdir())


def converted(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [installed("lua", "lua5.4"), str(SCRIPT), DOMAIN, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def bring_in(server: Running, lines: str, directory: Path) -> None:
    (directory / "accounts").write_text(lines)
    (accounts,) = (each for each in server.server.hosts[DOMAIN].providers if isinstance(each, Accounts))
    await read(directory / "accounts", hashed=True).add_to(accounts)


async def features(client: Client) -> list[str]:
    mechanisms = (await client.open()).find(f"{SASL2}authentication")
    assert mechanisms is not None
    return [each.text or "" for each in mechanisms.findall(f"{SASL2}mechanism")]


@pytest.mark.parametrize(("password_hash", "mechanism"), [("SHA-1", "SCRAM-SHA-1"), ("SHA-256", "SCRAM-SHA-256")])
async def test_the_same_passwords_let_them_in(tmp_path: Path, password_hash: str, mechanism: str) -> None:
    done = converted(*registered(tmp_path, password_hash))
    assert done.returncode == 0 and not done.stderr
    others = [name for name in ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1") if name != mechanism]
    async with running(config(), new_accounts=False) as server:
        await bring_in(server, done.stdout, tmp_path)
        async with connected(server.url) as client:
            assert await features(client) == [mechanism, "PLAIN"]
        for name, password in (("alice", "wonder land"), ("zoë", "IX")):
            async with connected(server.url) as client:
                asked = await log_in(client, upgrade(*others), name=name, password=password, mechanism=mechanism)
                asked = await do_task(client, asked, password)
                assert (await do_task(client, asked, password)).tag == f"{SASL2}success"
        async with connected(server.url) as client:
            ended = await log_in(client, bind(), name="bob.the=builder", password=ACCOUNTS["bob.the=builder"])
            assert ended.tag == f"{SASL2}success"
        async with logged_in(server.url, "alice", "wonder land", mechanism="SCRAM-SHA-512"):
            pass


def test_accounts_that_have_no_keys_are_named(tmp_path: Path) -> None:
    whole = (
        '["salt"] = "a\\0b"; ["iteration_count"] = 4096; '
        f'["stored_key"] = "{"00" * 20}"; ["server_key"] = "{"ff" * 20}";'
    )
    contents = {
        "clear": '["password"] = "secret";',
        "disabled": f'["disabled"] = true; {whole}',
        "empty": "",
        "odd": whole.replace("00" * 20, "00" * 28),
        "whole": whole,
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.dat").write_text(f"return {{ {content} }};\n")
    (tmp_path / "other.lua").write_text("return {}")
    done = converted(*sorted(tmp_path.iterdir()), tmp_path / "torn.dat")
    assert done.returncode == 1
    keys = f"SCRAM-SHA-1$4096:YQBi${'A' * 27}=:{'/' * 26}8="
    assert done.stdout == f"whole@{DOMAIN} {keys}\n"
    told = [line.split(": ", 1) for line in done.stderr.splitlines()]
    assert [Path(path).stem for path, _ in told] == ["clear", "disabled", "empty", "odd", "other", "torn"]
    assert "secret" not in done.stderr and "traceback" not in done.stderr and "in the clear" in told[0][1]


def test_use_is_told() -> None:
    done = converted()
    assert (done.returncode, done.stderr) == (2, "usage: lua accounts.lua HOST FILE.dat ...\n")
