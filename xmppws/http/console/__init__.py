"""The console, one page that logs in and chats in the browser.

It is static files, and a policy that lets it load nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PATH: Final = b'content="/xmpp-websocket"'
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes(websocket_path: str) -> list[web.RouteDef]:
    """Return the page at /, which connects to `websocket_path`, and its files under /console/; all are read once."""
    page = _read("index.html").replace(_PATH, b'content="%b"' % escape(websocket_path).encode())
    found = [web.get("/", _page("index.html", page))]
    for file in sorted(entry.name for entry in _static().iterdir()):
        found.append(web.get(f"/console/{file}", _page(file, _read(file))))
    return found


def _page(name: str, body: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    content_type = _TYPES["." + name.rpartition(".")[2]]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    return answer


def _static() -> Traversable:
    return files(__name__) / "static"


def _read(name: str) -> bytes:
    return (_static() / name).read_bytes()
