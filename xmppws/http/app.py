"""The aiohttp application: the WebSocket endpoint, host-meta, health, the console."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import web

from xmppws.http.accepted import Accepted

_NOT_FOUND: Final = "There is nothing at this path. The WebSocket endpoint is at {}.\n"


def application(websocket_path: str, websocket: Callable[[web.Request], Awaitable[web.StreamResponse]], pages: Iterable[web.AbstractRouteDef]) -> web.Application:
    """Build the application from the endpoint's handler and the other pages."""
    app = web.Application(middlewares=[_arrived, _not_found(websocket_path)])
    app.router.add_route("*", websocket_path, websocket)
    app.router.add_routes(pages)
    app.on_response_prepare.append(_anonymous)
    return app


@web.middleware
async def _arrived(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """End the deadline of the connection's first request head: this one has arrived."""
    transport = request.transport
    protocol = None if transport is None else transport.get_protocol()
    if isinstance(protocol, Accepted):
        protocol.arrived()
    return await handler(request)


def _not_found(websocket_path: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def explain(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound as error:
            if error.text and error.text != "404: Not Found":
                raise
            return web.Response(status=404, text=_NOT_FOUND.format(websocket_path))

    return explain


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Keep the versions of our libraries to ourselves."""
    response.headers.pop("Server", None)
