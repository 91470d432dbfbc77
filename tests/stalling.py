"""A client that is not read from unless a test does so: whatever it does not take stays in the server."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from clients import BIND, SASL
from raw import OPEN, Raw, frame
from servers import PASSWORDS

_LEAST = 4 * 1024


@asynccontextmanager
async def bound(port: int, name: str, *, small: bool = False) -> AsyncIterator[Raw]:
    """Log in on a raw socket and be available. `small`: the kernel buffers next to nothing for it."""
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LEAST)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    client = Raw(*await asyncio.open_connection(sock=sock, limit=_LEAST))
    try:
        credentials = base64.b64encode(f"\0{name}\0{PASSWORDS[name]}".encode()).decode()
        await client.upgrade(frame(OPEN))
        for text, answers in (
            (f"<auth xmlns='{SASL}' mechanism='PLAIN'>{credentials}</auth>", 3),
            (OPEN.decode(), 2),
            (f"<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='{BIND}'/></iq>", 1),
            ("<presence xmlns='jabber:client'/>", 1),
        ):
            client.write(frame(text.encode()))
            for _ in range(answers):
                await client.frame()
        yield client
    finally:
        client.writer.transport.abort()
        with suppress(OSError):
            await client.writer.wait_closed()
