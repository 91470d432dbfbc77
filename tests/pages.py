"""A page that speaks the JSON of the module channels over a WebSocket."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from jose import SECRET, hs256, token
from servers import Running, config
from xmppws.config import Config, Host, Jwt

NAMES = ("127.0.0.1", "localhost")


def channels_config(*, pace: Any = None, jwt: dict[str, Any] | None = None, muc: Any = None, **options: Any) -> Config:
    """Build a configuration of localhost with pages, tokens and passwords; `options` are those of the module."""
    host = Host(
        http_host=NAMES,
        authentication=("jwt", "internal"),
        jwt=Jwt(**{"secret": SECRET, **(jwt or {})}),
        modules_enabled=("default", "channels"),
        modules={"channels": options, "muc": muc or {}},
    )
    return config(hosts={"localhost": host}, pace=pace)


def made(sub: str, *, lasts: float = 60, **claims: Any) -> str:
    """Make a token."""
    return token({"sub": sub, "exp": time.time() + lasts, **claims}, hs256())


class Page:
    """One page. `sent` and `received` messages are dicts; without timestamps, unless they are asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        message = await self.socket.receive(timeout=20)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return dict(json.loads(message.data))

    async def get(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of these types."""
        while (message := await self.receive())["type"] not in kinds:
            pass
        return message

    async def subscribe(self, channel: str, event: str = "message", **more: Any) -> dict[str, Any]:
        await self.send(type="subscribe", channel=channel, event=event, **more)
        return await self.get("subscribed", "error")

    async def publish(self, channel: str, event: str, data: Any, **more: Any) -> None:
        await self.send(type="publish", channel=channel, event=event, data=data, **more)

    async def silent(self) -> list[dict[str, Any]]:
        """Return what comes before the answer to a ping, which is asked for now."""
        await self.send(type="ping", id="silent")
        found = []
        while (message := await self.receive()).get("id") != "silent":
            found.append(message)
        return found

    async def end(self) -> tuple[int, str]:
        """Return the code and reason of the close frame that comes, whatever comes before."""
        while (message := await self.socket.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return message.data, message.extra or ""


@asynccontextmanager
async def paging(server: Running | str, token: str = "", **options: Any) -> AsyncIterator[Page]:
    """Open a page with a token in its query."""
    base = server if isinstance(server, str) else server.http
    url = URL(f"{base}/ws").with_query({"token": token} if token else {})
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
        yield Page(socket)
