"""Accounts as other software keeps them, brought in by `user add --hashed`."""

from __future__ import annotations

import asyncio
import sys
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from xmppws.stream.sasl.keys import derive
from xmppws.stream.sasl.scram import HASHES

SALT = b"0123456789abcdef"


def keys(password: str, mechanism: str = "SCRAM-SHA-1", *, salt: bytes = SALT, iterations: int = 4096) -> str:
    """Write SCRAM keys as RFC 5803 does."""
    made = derive(password, salt, iterations, HASHES[mechanism])
    salt_, stored_key, server_key = (b64encode(each).decode() for each in (salt, made.stored_key, made.server_key))
    return f"{mechanism}${iterations}:{salt_}${stored_key}:{server_key}"


def configuration(directory: Path) -> Path:
    """Write a file for a server with host localhost, which may use PLAIN."""
    path = directory / "xmppws.toml"
    path.write_text(
        f'data_dir = "{directory}/data"\nmetrics.listen = []\nadmin_socket = "{directory}/admin.sock"\n'
        'log.audit_file = "audit.log"\n'
        '[http]\nlisten = ["127.0.0.1:0"]\nconsider_websocket_secure = true\n'
        '[hosts.localhost]\nhttp_host = ["127.0.0.1"]\n'
    )
    return path


async def xmppws(*arguments: str | Path, stdin: str = "") -> str:
    """Run the command, which has to succeed; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xmppws", *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(stdin.encode())
    assert process.returncode == 0
    return out.decode()


async def bring_in(file: Path, kept: Mapping[str, str]) -> str:
    """Add accounts of host localhost: username → what is kept of the password."""
    accounts = file.parent / "accounts"
    accounts.write_text("".join(f"{name}@localhost {text}\n" for name, text in kept.items()))
    return await xmppws("user", "add", "-c", file, "--hashed", "--file", accounts)
