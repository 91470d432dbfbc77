"""Health of the server for load balancers, containers and people. These pages need no virtual host."""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from aiohttp import web

_STATM = Path("/proc/self/statm")
_NOT_STORED = {"Cache-Control": "no-store"}


class Facts(Protocol):
    """What the status page tells about the server."""

    version: str

    def uptime(self) -> float:
        """Seconds since the start."""

    def sessions(self) -> int:
        """Sessions that are bound."""


class Health:
    """Answer the health requests. `unready` tells in words why new clients should go elsewhere, "" when ready."""

    __slots__ = ("_facts", "_unready")

    def __init__(self, facts: Facts, unready: Callable[[], str]) -> None:
        self._facts = facts
        self._unready = unready

    async def live(self, request: web.Request) -> web.Response:
        """Tell that the process answers."""
        return web.Response(text="ok\n", headers=_NOT_STORED)

    async def ready(self, request: web.Request) -> web.Response:
        """Tell whether new clients are welcome."""
        reason = self._unready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200, headers=_NOT_STORED)

    async def status(self, request: web.Request) -> web.Response:
        """Tell the facts; the status code is that of `ready`."""
        reason = self._unready()
        facts = {
            "status": reason or "ok",
            "version": self._facts.version,
            "uptime": round(self._facts.uptime(), 3),
            "sessions": self._facts.sessions(),
            "memory": resident_memory(),
        }
        return web.json_response(facts, status=503 if reason else 200, headers=_NOT_STORED)


def resident_memory() -> int:
    """Return the resident set size in bytes; where there is no /proc, the largest there has been."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def routes(facts: Facts, unready: Callable[[], str]) -> list[web.RouteDef]:
    """Return the routes of the health pages, for GET and HEAD."""
    pages = Health(facts, unready)
    return [
        web.get("/health/live", pages.live),
        web.get("/health/ready", pages.ready),
        web.get("/health", pages.status),
    ]
