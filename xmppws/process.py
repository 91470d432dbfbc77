"""The process around a server: its signals, its log, what systemd is told, and its exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

import uvloop

from xmppws import __version__
from xmppws.app import Server, StartError
from xmppws.config import Address, Config
from xmppws.core.admin import AdminError
from xmppws.core.catalog import ModuleError
from xmppws.core.stores import StorageError
from xmppws.http.handoff import HandoffError
from xmppws.http.listeners import Bound
from xmppws.http.systemd import Notifier, inherited
from xmppws.log.files import LogFileError
from xmppws.log.setup import applier as log_applier
from xmppws.log.setup import configure as configure_log

log = logging.getLogger("xmppws")

# New objects that may hold others. Python's own 700 is for short scripts.
_COLLECT_AFTER: Final = 10_000

Ready: TypeAlias = Callable[[Server], Awaitable[None]]


def run(config: Config, ready: Ready | None = None, reread: Callable[[], Config] | None = None) -> int:
    """Run a server until SIGTERM or SIGINT, and return the exit code.

    `ready` is awaited once it listens; `reread` reads the configuration again, at SIGHUP.
    """
    _raise_file_limit()
    try:
        configure_log(config.log, config.data_dir)
        uvloop.run(_serve(config, ready, reread))
    except (StartError, StorageError, ModuleError, HandoffError, LogFileError) as error:
        print(f"xmppws: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: Config, ready: Ready | None, reread: Callable[[], Config] | None) -> None:
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(signum, signals.put_nowait, signum)
    service = Notifier(os.environ)
    began = time.monotonic()
    server = Server(config, inherited(os.environ), reread=reread, appliers=(log_applier(config.data_dir),))
    await server.start()
    _settle_memory()
    listening = _shown(server.listening)
    log.info("xmppws %s listens on %s, %.2f s after its start", __version__, listening, time.monotonic() - began)
    if server.metrics_addresses:
        log.info("metrics for Prometheus are served on %s", _shown(server.metrics_addresses))
    if ready is not None:
        await ready(server)
    service.ready(f"Listening on {listening}")
    # A terminal that is closed sends SIGHUP too, and nobody would be left to stop the server then.
    while await signals.get() == signal.SIGHUP and not os.isatty(0):
        service.reloading()
        try:
            await server.reload()
        except AdminError as error:
            log.error("%s", error)
        service.ready(f"Listening on {listening}")
    log.info("stopping")
    service.stopping()
    await server.stop()


def _shown(addresses: Iterable[Address | Bound]) -> str:
    return ", ".join(map(str, addresses))


def _settle_memory() -> None:
    # What is there now stays: the collector need not look at it again, and sessions come by the hundred.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _raise_file_limit() -> None:
    # Each connection is an open file; the soft limit is often 1024.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
