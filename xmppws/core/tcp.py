"""What keeps connections to other servers from being believed when they are dead."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

# Options of TCP, in seconds and milliseconds: a peer that acknowledges nothing for a minute is gone (RFC 5482), and so
# is one that is idle and answers no probe. Other systems than Linux have not all of them.
_OPTIONS: Final = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": 60,
        "TCP_KEEPINTVL": 15,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": 60_000,
    }.items()
    if hasattr(socket, name)
}


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the system find out within minutes when the peer of a TCP connection is gone."""
    found = transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _OPTIONS.items():
            found.setsockopt(socket.IPPROTO_TCP, option, value)
