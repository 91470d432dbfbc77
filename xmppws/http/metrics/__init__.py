"""Metrics for Prometheus: the page, who may read it, and the application of the listeners that serve nothing else."""

from __future__ import annotations

import hmac
from typing import Final

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from xmppws.http.app import anonymous
from xmppws.http.metrics.figures import Figures

_PATH: Final = "/metrics"
_OPENMETRICS: Final = "application/openmetrics-text"
_ELSEWHERE: Final = "The metrics are at /metrics.\n"


class Page:
    """What all figures of one server look like now, in the format that is asked for."""

    def __init__(self, figures: Figures) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(figures)
        ProcessCollector(registry=self._registry)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request from whoever may ask."""
        # Not the header itself: the library fails on versions that are no numbers, and repeats those that are.
        openmetrics = _OPENMETRICS in request.headers.get(hdrs.ACCEPT, "").lower()
        encode, content_type = choose_encoder(_OPENMETRICS if openmetrics else "")
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-store"}
        return web.Response(body=encode(self._registry), headers=headers)

    def guarded(self, token: str) -> list[web.RouteDef]:
        """Return the route for listeners that strangers reach: whoever does not bring the token finds nothing there."""
        expected = f"Bearer {token}".encode()

        async def answer(request: web.Request) -> web.Response:
            given = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, expected):
                raise web.HTTPNotFound
            return await self.answer(request)

        return [web.get(_PATH, answer)] if token else []

    def application(self) -> web.Application:
        """Build the application of a listener that only those reach who may read the page."""
        app = web.Application()
        app.on_response_prepare.append(anonymous)
        app.router.add_get(_PATH, self.answer)
        app.router.add_route("*", "/{path:.*}", _elsewhere)
        return app


async def _elsewhere(request: web.Request) -> web.Response:
    return web.Response(status=404, text=_ELSEWHERE)
