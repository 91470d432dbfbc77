"""A socket that speaks WebSocket byte by byte, for what no client library would send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import client_frame

OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "xmpp",
}


def head(*, method: str = "GET", version: str = "1.1", path: str = "/xmpp-websocket", **changes: str | None) -> bytes:
    """Write a request head; a header set to None is left out. Underscores in names become dashes."""
    headers: dict[str, str | None] = {**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join([f"{method} {path} HTTP/{version}", *lines]) + "\r\n\r\n").encode()


def frame(payload: bytes, opcode: int = 1, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """Write a client's frame, right or wrong."""
    whole = client_frame.frame(reserved << 4 | opcode, payload, final=final)
    if masked:
        return whole
    header = whole[: -len(payload) - 4]
    return bytes((header[0], header[1] & 0x7F)) + header[2:] + payload


class Raw:
    """A TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, str]:
        """Read a response head and return its status and all of it."""
        async with asyncio.timeout(10):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        return int(text.split(" ", 2)[1]), text

    async def refusal(self) -> tuple[int, str, str]:
        """Read a whole response: status, head, body."""
        status, text = await self.response()
        size = int(text.lower().partition("content-length: ")[2].split("\r\n")[0])
        return status, text, (await self.reader.readexactly(size)).decode()

    async def upgrade(self, more: bytes = b"") -> None:
        """Make the handshake, with bytes behind it in the same write."""
        self.write(head() + more)
        status, text = await self.response()
        assert status == 101, text

    async def frame(self, timeout: float = 10) -> tuple[int, bytes]:
        """Read a frame of the server's."""
        async with asyncio.timeout(timeout):
            first, second = await self.reader.readexactly(2)
            assert not second & 0x80, "a server's frame is never masked"
            size = second
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def frames(self, timeout: float = 10) -> list[tuple[int, bytes]]:
        """Read frames until the server closes the socket."""
        found = []
        with suppress(asyncio.IncompleteReadError, ConnectionResetError):
            while True:
                found.append(await self.frame(timeout))
        return found

    async def is_closed(self, timeout: float = 10) -> bool:
        """Tell whether the server closes the socket without sending anything more."""
        async with asyncio.timeout(timeout):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True


def closing(frames: list[tuple[int, bytes]]) -> tuple[int, str]:
    """Return code and reason of the close frame, which is the last."""
    opcode, payload = frames[-1]
    assert opcode == 8, frames
    return struct.unpack(">H", payload[:2])[0], payload[2:].decode()


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
