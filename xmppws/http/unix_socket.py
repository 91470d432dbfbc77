"""Unix sockets: bound with care for what stands at their path, their mode set before anybody can connect."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path


def bind(path: str, mode: int) -> tuple[socket.socket, Callable[[], None]]:
    """Bind a socket, in place of one that a dead process left, and return it with what removes its file.

    Raises `OSError`; nothing but a dead socket is ever removed.
    """
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        # Nobody can connect before it listens.
        os.chmod(path, mode)
        made = os.stat(path)
    except OSError:
        sock.close()
        raise
    return sock, lambda: _remove(Path(path), made)


def _clear(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError("a file that is no socket is there; remove it, or choose another path")
    if _is_live(path):
        raise FileExistsError("another program is listening there")
    os.unlink(path)


def _is_live(path: str) -> bool:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        # A full backlog must not make us wait.
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True
        return True


def _remove(path: Path, made: os.stat_result) -> None:
    # Another server may have replaced it meanwhile.
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino):
        path.unlink()
