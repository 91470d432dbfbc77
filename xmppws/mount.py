"""Mounting: the whole endpoint in somebody else's aiohttp application, beside its own routes and on its port."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from aiohttp import web

from xmppws import __version__
from xmppws.app import Server, StartError
from xmppws.config import Config, load

log = logging.getLogger("xmppws")


def attach(app: web.Application, config: Config | str | os.PathLike[str]) -> Server:
    """Serve XMPP from an aiohttp application: call it before the application starts.

    `config` is a configuration, or the path of its file; its `http.listen`, `http.listeners` and `metrics.listen` are
    not used. The WebSocket path, host-meta, health, the console and the modules' paths are added to the application's
    routes at its start; where it has a route for the same path, its own stays. The server starts and stops with the
    application. Raises `ConfigError`; a server that cannot start stops the application's start with `StartError` or
    `StorageError`.
    """
    server = Server(config if isinstance(config, Config) else load(Path(config), os.environ))
    app.cleanup_ctx.append(partial(_running, server))
    # aiohttp then waits for requests that are being answered; the streams need not wait for those.
    app.on_shutdown.append(partial(_end_streams, server))
    return server


async def _running(server: Server, app: web.Application) -> AsyncIterator[None]:
    if app.router.frozen:
        raise StartError("attach() takes the application that is run: one added with add_subapp() gets no new routes")
    routes = await server.start_mounted()
    try:
        _add(app, routes)
        yield
    finally:
        await server.stop()


async def _end_streams(server: Server, app: web.Application) -> None:
    await server.end_streams()


def _add(app: web.Application, routes: list[web.AbstractRouteDef]) -> None:
    own = list(app.router.resources())
    added = []
    for route in routes:
        assert isinstance(route, web.RouteDef)
        if any(resource.raw_match(route.path) for resource in own):
            log.info("%s is a path of the application's own", route.path)
        else:
            route.register(app.router)
            added.append(route.path)
    log.info("xmppws %s is mounted at %s", __version__, ", ".join(dict.fromkeys(added)))
