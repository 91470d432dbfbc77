"""What systemd and a service tell each other: sockets handed over at the start, and states reported back.

The protocols are those of sd_listen_fds(3) and sd_notify(3); both are a few lines, and need no library.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, MutableMapping
from itertools import zip_longest
from time import monotonic_ns
from typing import Final, TypeAlias

log = logging.getLogger("xmppws.systemd")

Inherited: TypeAlias = Mapping[str, tuple[socket.socket, ...]]
"""Listening sockets by name; several may share one."""

_FIRST: Final = 3
_UNNAMED: Final = "unknown"


def inherited(environ: MutableMapping[str, str]) -> Inherited:
    """Take the sockets that systemd handed over, and their variables, which are nothing to child processes."""
    pid, count, names = (environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    # sd_listen_fds(3): sockets for another process are none of ours.
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, tuple[socket.socket, ...]] = {}
    for fd, name in zip_longest(range(_FIRST, _FIRST + int(count)), names.split(":") if names else ()):
        if fd is not None:
            name = name or _UNNAMED
            if sock := _listening(fd, name):
                found[name] = (*found.get(name, ()), sock)
    return found


def _listening(fd: int, name: str) -> socket.socket | None:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        log.warning("descriptor %d (%s) that systemd handed over is no socket: %s", fd, name, error.strerror)
        return None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        log.warning("the socket %s that systemd handed over does not listen: ListenStream=, without Accept=", name)
        sock.close()
        return None
    sock.setblocking(False)
    return sock


class Notifier:
    """Tells the service manager about the server's state; without one it does nothing."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        # sd_notify(3): "@" stands for the null byte of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """Say that the server has started, or has reloaded."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` ends it."""
        # Type=notify-reload wants the time of CLOCK_MONOTONIC.
        self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}", "STATUS=Reloading")

    def stopping(self) -> None:
        """Say that the server is about to end."""
        self._send("STOPPING=1", "STATUS=Stopping")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("systemd could not be told %s: %s", lines[0], error.strerror)
