"""One aiohttp application with a REST API, static files and chat, on one port.

    pip install xmppws
    xmppws user add alice@localhost -c contrib/aiohttp/xmppws.toml
    python contrib/aiohttp/app.py

http://localhost:8080/ then shows a page that asks the API; http://localhost:8080/console/ chats in the browser; web
clients connect to ws://localhost:8080/xmpp-websocket.
"""

import argparse
import logging
from pathlib import Path

import uvloop
from aiohttp import web

import xmppws
from xmppws.app import Server

HERE = Path(__file__).parent
CHAT = web.AppKey("CHAT", Server)


async def page(request: web.Request) -> web.FileResponse:
    """Serve the application's own page."""
    return web.FileResponse(HERE / "static" / "index.html")


async def status(request: web.Request) -> web.Response:
    """Answer a request to the API with something that the chat knows."""
    return web.json_response({"online": request.app[CHAT].sessions()})


def application(config: Path) -> web.Application:
    """Build the application."""
    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/api/status", status)
    app.router.add_static("/static/", HERE / "static")
    # That is all: the paths of xmppws are added when the application starts, and it stops with the application.
    app[CHAT] = xmppws.attach(app, config)
    return app


def main() -> None:
    """Run the application."""
    parser = argparse.ArgumentParser(description="A REST API, static files and chat on one port.")
    parser.add_argument("-c", "--config", type=Path, default=HERE / "xmppws.toml", help="the configuration of the chat")
    parser.add_argument("-p", "--port", type=int, default=8080)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    # asyncio's own loop would do; uvloop is faster.
    loop = uvloop.new_event_loop()
    web.run_app(application(args.config), host="127.0.0.1", port=args.port, print=logging.info, loop=loop)


if __name__ == "__main__":
    main()
