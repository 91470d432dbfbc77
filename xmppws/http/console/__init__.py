"""The console, one page that logs in and chats in the browser, and shows what the server sees of it.

It is static files, one answer in JSON, and a policy that lets it load nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from aiohttp import web

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PATH: Final = b'content="/xmpp-websocket"'
_FOLDER: Final = b'"console/'
_NOT_STORED: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes(websocket_path: str, facts: Callable[[web.Request], Mapping[str, Any]]) -> list[web.RouteDef]:
    """Return the page at / and at /console/, which connects to `websocket_path`, and its files; all are read once.

    `facts` tells what the server knows about a request.
    """

    async def whoami(request: web.Request) -> web.Response:
        return web.json_response(facts(request), headers=_NOT_STORED)

    page = _read("index.html").replace(_PATH, b'content="%b"' % escape(websocket_path).encode())
    found = [
        web.get("/", _page("index.html", page)),
        # In an application that has a page of its own at /.
        web.get("/console/", _page("index.html", page.replace(_FOLDER, b'"'))),
        web.get("/console/whoami.json", whoami),
    ]
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
