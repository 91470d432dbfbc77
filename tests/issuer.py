"""Somebody who issues tokens and serves the keys to check them, over HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class Issuer:
    """Serves `body` with `status`; `fetches` is how often it has."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.body = b""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.fetches = 0
        self._fetched = asyncio.Event()

    async def fetched(self, times: int) -> None:
        """Wait until the set was fetched so often."""
        async with asyncio.timeout(10):
            while self.fetches < times:
                self._fetched.clear()
                await self._fetched.wait()

    async def answer(self, request: web.Request) -> web.Response:
        self.fetches += 1
        self._fetched.set()
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def issuing(body: bytes = b"") -> AsyncIterator[Issuer]:
    """Serve a JWK set on a free port."""
    application = web.Application()
    runner = web.AppRunner(application)
    issuer = Issuer("")
    application.router.add_get("/jwks", issuer.answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks?tenant=private"
    issuer.body = body
    try:
        yield issuer
    finally:
        await runner.cleanup()
