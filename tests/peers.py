"""Debian's Prosody and ejabberd, each with its own directory and ports, for tests and figures beside xmppws.

Both serve the host localhost without TLS: WebSocket as xmppws does, and plain TCP streams. They have the modules that
xmppws has by default, so neither archives nor carbons, and no limits of rate. Neither needs an account of the system or
touches the files of an installed service.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import unittest
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import stop

SECONDS_TO_START = 60
# Nothing that a peer has stored is needed any more.
SECONDS_TO_STOP = 5
# The same for all accounts, so that a client with thousands of them derives its keys once.
SALT = b"salt of a test"

PROSODY = """
run_as_root = true
daemonize = false
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
certificates = "{directory}"
log = {{ info = "{directory}/log" }}
http_interfaces = {{ "127.0.0.1" }}
http_ports = {{ {port} }}
https_ports = {{ }}
c2s_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s_port} }}
c2s_direct_tls_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
consider_websocket_secure = true
authentication = "internal_hashed"
storage = "internal"
modules_disabled = {{ "s2s" }}
modules_enabled = {{
    "roster", "saslauth", "disco", "blocklist", "private", "vcard", "lastactivity", "ping", "time", "uptime", "version",
    "adhoc", "websocket",
}}
VirtualHost "localhost"
"""

# With the usual backlog of 5, many who connect at the same time wait for a second until they try again.
EJABBERD = """
hosts: [localhost]
loglevel: info
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: 100
listen:
  - port: {port}
    ip: "127.0.0.1"
    backlog: 1000
    module: ejabberd_http
    request_handlers: {{/xmpp-websocket: ejabberd_http_ws}}
  - {{port: {c2s_port}, ip: "127.0.0.1", backlog: 1000, module: ejabberd_c2s}}
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_disco: {{}}
  mod_last: {{}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_private: {{}}
  mod_roster: {{versioning: true}}
  mod_time: {{}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
"""
EJABBERD_READY = "accounts are there"
ERL_LIBS = "/usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Peer:
    """A running peer: its WebSocket is at `url` on `port`, its TCP streams are on `c2s_port`."""

    name: str
    version: str
    pid: int
    port: int
    c2s_port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/xmpp-websocket"


@asynccontextmanager
async def prosody(directory: Path, accounts: Mapping[str, str]) -> AsyncIterator[Peer]:
    """Run Prosody in an empty directory, with accounts: username → password. `SkipTest` where it is not installed."""
    command = _installed("prosody")
    port, c2s_port = _free_ports(2)
    file = directory / "prosody.cfg.lua"
    file.write_text(PROSODY.format(directory=directory, port=port, c2s_port=c2s_port), encoding="utf-8")
    stored = directory / "data" / "localhost" / "accounts"
    stored.mkdir(parents=True)
    for username, password in accounts.items():
        (stored / f"{_file_name(username)}.dat").write_text(_prosody_account(password), encoding="utf-8")
    async with _process(
        (command, "-F", "--config", str(file)), {}, directory / "log", "Activated service 'http'"
    ) as pid:
        yield Peer("Prosody", _version("prosody"), pid, port, c2s_port)


@asynccontextmanager
async def ejabberd(directory: Path, accounts: Mapping[str, str]) -> AsyncIterator[Peer]:
    """Run ejabberd in an empty directory, with accounts: username → password. `SkipTest` where it is not installed."""
    _installed("ejabberdctl", "ejabberd")
    port, c2s_port = _free_ports(2)
    file = directory / "ejabberd.yml"
    file.write_text(EJABBERD.format(port=port, c2s_port=c2s_port), encoding="utf-8")
    script = directory / "accounts.erl"
    expressions = [_ejabberd_account(username, password) for username, password in accounts.items()]
    script.write_text(f'{"".join(expressions)}io:format("{EJABBERD_READY}~n").\n', encoding="utf-8")
    environment = {
        "EJABBERD_CONFIG_PATH": str(file),
        "EJABBERD_LOG_PATH": str(directory / "ejabberd.log"),
        "ERL_CRASH_DUMP": str(directory / "crash.dump"),
        "ERL_LIBS": ERL_LIBS,
        "HOME": str(directory),
    }
    # Without a name the node is not distributed: it needs no epmd and no cookie.
    command = (_installed("erl", "ejabberd"), "-noinput", "-mnesia", "dir", f'"{directory}/spool"', "-s", "ejabberd")
    boot = ("-eval", f'{{ok, _}} = file:script("{script}")')
    async with _process((*command, *boot), environment, directory / "log", EJABBERD_READY) as pid:
        yield Peer("ejabberd", _version("ejabberd"), pid, port, c2s_port)


def _installed(command: str, package: str = "") -> str:
    found = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        package = package or command
        raise unittest.SkipTest(f"{package} is not installed: apt install --no-install-recommends {package}")
    return found


def _version(package: str) -> str:
    command = ("dpkg-query", "--show", "--showformat=${Version}", package)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _free_ports(count: int) -> list[int]:
    """Find ports of 127.0.0.1 on which nobody listens; they are held at the same time so that they differ."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@functools.cache
def _scram_keys(password: str, iterations: int) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey for SCRAM-SHA-1 (RFC 5802 section 3)."""
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), SALT, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha1")
    return hashlib.sha1(client_key).digest(), hmac.digest(salted, b"Server Key", "sha1")


def _file_name(username: str) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02x}" for byte in username.encode())


def _prosody_account(password: str) -> str:
    iterations = 10_000
    stored_key, server_key = _scram_keys(password, iterations)
    fields = {"stored_key": stored_key.hex(), "server_key": server_key.hex(), "salt": SALT.decode()}
    written = "".join(f'["{name}"] = "{value}"; ' for name, value in fields.items())
    return f'return {{ {written}["iteration_count"] = {iterations}; }};\n'


def _ejabberd_account(username: str, password: str) -> str:
    iterations = 4096
    keys = ", ".join(f'<<"{b64encode(key).decode()}">>' for key in (*_scram_keys(password, iterations), SALT))
    name = ",".join(str(byte) for byte in username.encode())
    scram = f"{{scram, {keys}, sha, {iterations}}}"
    return f'ok = ejabberd_auth:try_register(<<{name}>>, <<"localhost">>, {scram}).\n'


@asynccontextmanager
async def _process(
    command: Iterable[str], environment: Mapping[str, str], log: Path, marker: str
) -> AsyncIterator[int]:
    """Run a command, from the time its log holds a text until it has been stopped."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        await _logged(process, log, marker)
        yield process.pid
    finally:
        await stop(process, SECONDS_TO_STOP)


async def _logged(process: asyncio.subprocess.Process, log: Path, marker: str) -> None:
    """Look again and again: a log file tells nobody that it has grown."""
    async with asyncio.timeout(SECONDS_TO_START):
        while marker not in (text := log.read_text(encoding="utf-8", errors="replace")):
            if process.returncode is not None:
                raise RuntimeError(f"it ended with {process.returncode} before it was ready:\n{text}")
            await asyncio.sleep(0.05)
