"""What the server sees of whoever asks: for finding out what a proxy in between does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import hdrs, web

from xmppws import __version__
from xmppws.http.proxies import Client
from xmppws.http.shown import shown
from xmppws.http.vhosts import Candidates, HostRefused

# No other header is told: cookies and credentials are nobody's business, not even of the page that sent them.
_TOLD: Final = ("Host", "Origin", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded")
_MAX_LINES: Final = 32


class WhoAmI:
    """Answers requests with what is known about them, and about nobody else.

    `client` tells who sent a request, `admit` which virtual hosts it may mean, and `links` what its host-meta has.
    """

    def __init__(
        self,
        websocket_path: str,
        *,
        client: Callable[[web.Request], Client],
        admit: Callable[[web.Request], Candidates],
        links: Callable[[web.Request], Sequence[str]],
    ) -> None:
        self._path = websocket_path
        self._client = client
        self._admit = admit
        self._links = links

    def facts(self, request: web.Request) -> dict[str, Any]:
        """Return what there is to tell."""
        client = self._client(request)
        how, _, why = client.how.removeprefix(f"{client.address} is ").rpartition("; ")
        return {
            "version": __version__,
            "address": {"value": client.address, "how": how, "uncertain": client.uncertain},
            "secure": {"value": client.secure, "how": why.partition(": ")[2], "declared": client.declared},
            "virtual_host": self._virtual_host(request),
            "websocket": self._websocket(request, client),
            "host_meta": self._host_meta(request),
            "headers": _headers(request),
            "notes": list(client.notes),
        }

    def _virtual_host(self, request: web.Request) -> dict[str, Any]:
        try:
            found = self._admit(request)
        except HostRefused as refused:
            return {"value": [], "how": refused.sentence}
        if found.fallback:
            return {"value": found.domains, "how": f"no http_host is {found.host!r}, and default_host serves it"}
        return {"value": found.domains, "how": f"Host is {found.host!r}"}

    def _websocket(self, request: web.Request, client: Client) -> str:
        # Where only consider_websocket_secure says that it is secure, nothing says that it is TLS.
        scheme = "wss" if client.secure and not client.declared else "ws"
        return f"{scheme}://{shown(request.headers.get(hdrs.HOST, ''))}{self._path}"

    def _host_meta(self, request: web.Request) -> dict[str, Any]:
        try:
            return {"value": list(self._links(request)), "how": ""}
        except web.HTTPException as refused:
            return {"value": [], "how": (refused.text or "").strip()}


def _headers(request: web.Request) -> list[list[str]]:
    lines = [[name, shown(value)] for name in _TOLD for value in request.headers.getall(name, [])]
    return lines[:_MAX_LINES]
