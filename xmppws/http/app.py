"""The aiohttp application: the WebSocket endpoint, host-meta, health, the console."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from xmppws.http.accepted import Accepted

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NOT_FOUND: Final = "There is nothing at this path. The WebSocket endpoint is at {}.\n"


def application(websocket_path: str, routes: Iterable[web.AbstractRouteDef], rest: Handler) -> web.Application:
    """Build the application from the endpoint, the server's own pages, and `rest` for every other path."""
    app = web.Application(middlewares=[_arrived, _not_found(websocket_path)])
    app.router.add_routes(routes)
    app.router.add_route("*", "/{path:.*}", rest)
    app.on_response_prepare.append(anonymous)
    return app


@web.middleware
async def _arrived(request: web.Request, handler: Handler) -> web.StreamResponse:
    """End the deadline of the connection's first request head: this one has arrived."""
    transport = request.transport
    protocol = None if transport is None else transport.get_protocol()
    if isinstance(protocol, Accepted):
        protocol.arrived()
    return await handler(request)


def _not_found(websocket_path: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound as error:
            if error.text and error.text != "404: Not Found":
                raise
            return web.Response(status=404, text=_NOT_FOUND.format(websocket_path))

    return explain


class _OneLine(logging.Filter):
    """Turns what aiohttp logs of a request that is no HTTP from an error with a traceback into a line."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
            record.msg, record.args = "a request is no HTTP: %s", (_what(error),)
        return True


def _what(error: HttpProcessingError) -> str:
    # The message goes on with what came, which may be a token in a query or a header.
    first = error.message.partition("\n")[0]
    return first.removesuffix(":") if first.endswith(":") else type(error).__name__


def logger() -> logging.Logger:
    """Return the logger for aiohttp's server."""
    made = logging.getLogger("xmppws.http")
    if not made.filters:
        made.addFilter(_OneLine())
    return made


async def anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Keep the versions of our libraries to ourselves."""
    response.headers.pop("Server", None)
