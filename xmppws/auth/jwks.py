"""A JWK set (RFC 7517 section 5) by its URL: fetched at the start, from time to time, and when a key is missing."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientSession, ClientTimeout

from xmppws.auth.keys import InvalidKey, Key, from_jwks

log = logging.getLogger("xmppws.auth")

MAX_SIZE: Final = 256 * 1024
# Seconds.
TIMEOUT: Final = 10.0
COOL_DOWN: Final = 30.0


class FetchError(Exception):
    """A JWK set cannot be fetched; the message says why."""


class JwkSet:
    """The keys of a URL; what cannot be fetched leaves those from before, and is logged once until it can.

    `refresh` is in seconds. `clock` gives monotonic seconds.
    """

    def __init__(self, url: str, refresh: float, *, clock: Callable[[], float]) -> None:
        self.keys: tuple[Key, ...] = ()
        self._url = url
        # A query may hold what is nobody's business.
        self._shown = urlsplit(url)._replace(query="", fragment="").geturl()
        self._refresh = refresh
        self._clock = clock
        self._fetched = float("-inf")
        self._fetching: asyncio.Task[bool] | None = None
        self._again: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        """Fetch it from time to time."""
        self._again = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """Fetch it no more."""
        tasks = [task for task in (self._again, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def fetch(self) -> bool:
        """Fetch the keys, once for all who ask meanwhile; return whether they came."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        return await asyncio.shield(self._fetching)

    async def look_again(self) -> bool:
        """Fetch the keys because one is missing, unless that was just done; return whether they came."""
        under_way = self._fetching is not None and not self._fetching.done()
        if not under_way and self._clock() - self._fetched < COOL_DOWN:
            return False
        return await self.fetch()

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(min(self._refresh, COOL_DOWN) if self._failing else self._refresh)
            await self.fetch()

    async def _fetch(self) -> bool:
        self._fetched = self._clock()
        try:
            self.keys = from_jwks(await _get(self._url))
        except (FetchError, InvalidKey) as error:
            if not self._failing:
                log.warning("the JWK set %s stays as it was: it %s", self._shown, error)
            self._failing = True
            return False
        if self._failing:
            log.info("the JWK set %s is here again", self._shown)
        self._failing = False
        return True


async def _get(url: str) -> bytes:
    try:
        # Nothing is unpacked, so that little cannot become much.
        async with (
            ClientSession(timeout=ClientTimeout(total=TIMEOUT), auto_decompress=False) as session,
            session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as response,
        ):
            return await _body(response)
    except TimeoutError:
        raise FetchError(f"does not come within {TIMEOUT:.0f} seconds") from None
    except ClientConnectorError as error:
        raise FetchError(f"cannot be reached: {_why(error.os_error)}") from None
    except ClientError as error:
        raise FetchError(f"cannot be fetched: {type(error).__name__}") from None


def _why(error: OSError) -> str:
    # asyncio puts addresses into its texts; those of names that are not found have no number of the system's.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or type(error).__name__


async def _body(response: ClientResponse) -> bytes:
    if response.status != 200:
        # RFC 9110 section 15.4: a redirect may lead to where nobody proves who they are.
        raise FetchError(f"is answered with {response.status} instead of 200")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_SIZE:
            raise FetchError(f"is larger than {MAX_SIZE} bytes")
    return bytes(body)
