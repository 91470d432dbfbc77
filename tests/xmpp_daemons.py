"""Debian's Prosody and ejabberd as processes, each in a directory of its own with accounts from the start.

Neither needs an account of the system or touches the files of an installed service.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from processes import Daemon, installed

# The same for all accounts, so that a client with thousands of them derives its keys once.
SALT = b"salt of a test"
ERL_LIBS = "/usr/lib/x86_64-linux-gnu"
EJABBERD_READY = "accounts are there"


def prosody_daemon(
    directory: Path, configuration: str, accounts: Mapping[str, str], domain: str, services: Sequence[str] = ("http",)
) -> Daemon:
    """Prepare Prosody with a configuration that says `log = { info = "DIRECTORY/log" }`, data in DIRECTORY/data.

    It is ready when these services listen. `SkipTest` where it is not installed.
    """
    command = installed("prosody")
    file = directory / "prosody.cfg.lua"
    file.write_text(configuration, encoding="utf-8")
    stored = directory / "data" / _file_name(domain) / "accounts"
    stored.mkdir(parents=True)
    for username, password in accounts.items():
        (stored / f"{_file_name(username)}.dat").write_text(_prosody_account(password), encoding="utf-8")
    ready = [f"Activated service '{service}'" for service in services]
    return Daemon((command, "-F", "--config", str(file)), directory / "log", ready)


def ejabberd_daemon(directory: Path, configuration: str, accounts: Mapping[str, str], domain: str) -> Daemon:
    """Prepare ejabberd. `SkipTest` where it is not installed."""
    installed("ejabberdctl", "ejabberd")
    file = directory / "ejabberd.yml"
    file.write_text(configuration, encoding="utf-8")
    script = directory / "accounts.erl"
    expressions = [_ejabberd_account(username, domain, password) for username, password in accounts.items()]
    script.write_text(f'{"".join(expressions)}io:format("{EJABBERD_READY}~n").\n', encoding="utf-8")
    environment = {
        "EJABBERD_CONFIG_PATH": str(file),
        "EJABBERD_LOG_PATH": str(directory / "ejabberd.log"),
        "ERL_CRASH_DUMP": str(directory / "crash.dump"),
        "ERL_LIBS": ERL_LIBS,
        "HOME": str(directory),
    }
    # Without a name the node is not distributed: it needs no epmd and no cookie.
    command = (installed("erl", "ejabberd"), "-noinput", "-mnesia", "dir", f'"{directory}/spool"', "-s", "ejabberd")
    boot = ("-eval", f'{{ok, _}} = file:script("{script}")')
    return Daemon((*command, *boot), directory / "log", (EJABBERD_READY,), environment)


@functools.cache
def _scram_keys(password: str, iterations: int) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey for SCRAM-SHA-1 (RFC 5802 section 3)."""
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), SALT, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha1")
    return hashlib.sha1(client_key).digest(), hmac.digest(salted, b"Server Key", "sha1")


def _file_name(name: str) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02x}" for byte in name.encode())


def _prosody_account(password: str) -> str:
    iterations = 10_000
    stored_key, server_key = _scram_keys(password, iterations)
    fields = {"stored_key": stored_key.hex(), "server_key": server_key.hex(), "salt": SALT.decode()}
    written = "".join(f'["{name}"] = "{value}"; ' for name, value in fields.items())
    return f'return {{ {written}["iteration_count"] = {iterations}; }};\n'


def _ejabberd_account(username: str, domain: str, password: str) -> str:
    iterations = 4096
    keys = ", ".join(f'<<"{b64encode(key).decode()}">>' for key in (*_scram_keys(password, iterations), SALT))
    name = ",".join(str(byte) for byte in username.encode())
    scram = f"{{scram, {keys}, sha, {iterations}}}"
    # After a restart it is there already.
    registered = f'ejabberd_auth:try_register(<<{name}>>, <<"{domain}">>, {scram})'
    return f"true = lists:member({registered}, [ok, {{error, exists}}]).\n"
