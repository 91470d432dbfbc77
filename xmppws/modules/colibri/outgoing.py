"""WebSockets that this server opens: to relays that the focus names, and to the bridges behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import Final

import aiohttp

from xmppws.core.web import Refuse, Socket, read_while
from xmppws.errors import End
from xmppws.modules.colibri.conference import Relay
from xmppws.modules.colibri.sockets import take

log = logging.getLogger("xmppws.colibri")

MAX_MESSAGE: Final = 64 * 1024
_MAX_WAITING: Final = 1000
# Seconds: between pings; for a connection to come about; between attempts, at first and at most.
_HEARTBEAT: Final = 15.0
_CONNECT_TIMEOUT: Final = 10.0
_FIRST_DELAY: Final = 0.2
_LAST_DELAY: Final = 30.0
# How a relay says that it will not be there again.
_RELAY_OVER: Final = (1001, "relay_closed")
_FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError)


class Outgoing:
    """One of them, once it is connected: what is to be sent waits in a bounded queue."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: asyncio.Queue[str] = asyncio.Queue(_MAX_WAITING)
        self._writer = asyncio.ensure_future(self._write())
        self._closing: asyncio.Future[bool] | None = None

    def send(self, message: bytes) -> None:
        """Send a text message; who does not read what it is sent loses the connection."""
        try:
            self._waiting.put_nowait(message.decode())
        except asyncio.QueueFull:
            self.close(1008, "slow-reader")
        except UnicodeDecodeError:
            self.close(1007, "not-utf8")

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, or finish it."""
        if self._closing is None:
            self._writer.cancel()
            self._closing = asyncio.ensure_future(self._socket.close(code=code, message=reason.encode()))

    async def read(self, take: Callable[[bytes], None]) -> tuple[int, str]:
        """Hand over what comes, to the end; return the close code and reason of the other side."""
        reason = ""
        try:
            while (message := await self._socket.receive()).type is aiohttp.WSMsgType.TEXT:
                take(message.data.encode())
            reason = message.extra if isinstance(message.extra, str) else ""
        finally:
            self.close(1000, "")
            with suppress(*_FAILURES):
                await asyncio.shield(
                    asyncio.gather(self._writer, self._closing or self._writer, return_exceptions=True)
                )
        return self._socket.close_code or 1006, reason

    async def _write(self) -> None:
        with suppress(*_FAILURES):
            while True:
                await self._socket.send_str(await self._waiting.get())


class Dialler:
    """Opens WebSockets for the module, which closes it at its end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._dialling: dict[Relay, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        """Return how many relays it keeps connections to, or tries to."""
        return len(self._dialling)

    async def close(self) -> None:
        """Let go of all that it keeps."""
        for relay in tuple(self._dialling):
            self.drop(relay)
        if self._session is not None:
            await self._session.close()

    def dial(self, relay: Relay, url: str) -> None:
        """Keep a connection to a relay until it says that it is over, or is dropped."""
        if relay not in self._dialling:
            self._dialling[relay] = task = asyncio.ensure_future(self._keep(relay, url))
            task.add_done_callback(lambda _: self._dialling.pop(relay, None))

    def drop(self, relay: Relay) -> None:
        """Keep no connection to a relay."""
        task = self._dialling.pop(relay, None)
        if task is not None:
            task.cancel()

    async def to_bridge(self, address: str, target: str) -> Outgoing:
        """Connect to a bridge behind this server. Raises `Refuse`."""
        try:
            return await self._connect(f"ws://{address}{target}")
        except aiohttp.WSServerHandshakeError as error:
            # The bridge's own word: 404 and 403 say who was wrong.
            raise Refuse(error.status, "The bridge has refused this.") from None
        except _FAILURES:
            raise Refuse(502, "The bridge cannot be reached.") from None

    async def _connect(self, url: str) -> Outgoing:
        self._session = self._session or aiohttp.ClientSession()
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            socket = await self._session.ws_connect(url, max_msg_size=MAX_MESSAGE, heartbeat=_HEARTBEAT)
        return Outgoing(socket)

    async def _keep(self, relay: Relay, url: str) -> None:
        delay = 0.0
        while True:
            await asyncio.sleep(uniform(delay / 2, delay))
            try:
                channel = await self._connect(url)
            except _FAILURES as error:
                # The URL holds the secret.
                log.warning("relay %s cannot be reached: %s", relay.id, type(error).__name__)
                delay = min(max(2 * delay, _FIRST_DELAY), _LAST_DELAY)
                continue
            delay = _FIRST_DELAY
            relay.connect(channel)
            try:
                end = await channel.read(lambda payload: take(relay, "-", payload))
            finally:
                relay.disconnect(channel)
            if end == _RELAY_OVER:
                return


class Passing:
    """The module's side of a socket whose other end is a bridge behind this server."""

    __slots__ = ("_reading", "_socket", "_to_bridge")

    def __init__(self, socket: Socket, to_bridge: Outgoing) -> None:
        self._socket = socket
        self._to_bridge = to_bridge
        self._reading: asyncio.Future[None] | None = None

    def opened(self) -> None:
        """Pass on what the bridge sends from now on."""
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        code, reason = await self._to_bridge.read(lambda payload: self._socket.send_text(payload))
        # What has no place in a close frame (RFC 6455 section 7.4.1) says that there was none.
        self._socket.close(code if code not in (1005, 1006, 1015) else 1001, reason)

    def message(self, payload: bytes) -> None:
        """Pass a message on."""
        self._to_bridge.send(payload)

    def writable(self, ready: bool) -> None:
        """Read no more from a client that does not read what it is sent."""
        read_while(ready, self._socket)

    def closed(self, end: End) -> None:
        """Close the bridge's side as well."""
        self._to_bridge.close(1000 if end.reason.code in (1005, 1006) else end.reason.code, "")
