"""A TCP proxy that copies bytes and does nothing else: the least that anything between client and server can cost."""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import cast

import uvloop


class Half(asyncio.Protocol):
    """One side: what it receives, the other sends. A side that reads too slowly stops the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def joined(self, other: Half) -> None:
        self.other = other
        assert other.transport is not None
        if self._early:
            other.transport.write(self._early)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early += data
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Accepted(Half):
    """The side of a client, which connects the other."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        _, other = await asyncio.get_running_loop().create_connection(Half, "127.0.0.1", self._port)
        other.joined(self)
        self.joined(other)


async def main(port: int, certificate: str = "") -> None:
    """Copy to and from a port of 127.0.0.1, and write the own port to the standard output.

    With the file of a certificate and its key, clients have to speak TLS.
    """
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Accepted(port), "127.0.0.1", 0, ssl=context, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
