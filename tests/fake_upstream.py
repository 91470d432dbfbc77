"""An XMPP server of which every word is a test's: plain TCP, and TLS when it is told to.

A test takes a connection with `accept`, and says what the server says on it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

from servers import config
from xmppws.config import Config, Host
from xmppws.config.upstream import Upstream

DOMAIN: Final = "example.test"

STREAM: Final = "http://etherx.jabber.org/streams"
SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
HEADER: Final = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    " id='of-the-fake' from='example.test' version='1.0'>"
)
PLAIN: Final = f"<mechanisms xmlns='{SASL}'><mechanism>PLAIN</mechanism></mechanisms>"
STARTTLS: Final = f"<starttls xmlns='{TLS}'/>"
BIND: Final = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"
SUCCESS: Final = f"<success xmlns='{SASL}'/>"
# Where the header of a client ends, as it is written by us.
_HEADED: Final = f'xmlns:stream="{STREAM}">'


def stops_reading(transport: asyncio.Transport) -> None:
    """Read no more from a connection, and let its buffer in the kernel stay small: it may be of many megabytes."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    transport.pause_reading()


class FakePeer:
    """One connection of a client, as the server has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._heard = b""

    def says(self, text: str) -> None:
        """Send something."""
        self._writer.write(text.encode())

    async def is_ready(self) -> None:
        """Wait until the client has taken most of what was said."""
        await self._writer.drain()

    async def hears(self, text: str, timeout: float = 10) -> str:
        """Wait for a text, and return it with all that came before. Raises `EOFError` when it does not come."""
        async with asyncio.timeout(timeout):
            while text.encode() not in self._heard:
                if not (data := await self._reader.read(65536)):
                    raise EOFError(f"{text!r} did not come, but {self._heard!r}")
                self._heard += data
        before, found, self._heard = self._heard.partition(text.encode())
        return (before + found).decode()

    async def hears_bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        async with asyncio.timeout(10):
            while len(self._heard) < count:
                self._heard += await self._reader.readexactly(count - len(self._heard))
        first, self._heard = self._heard[:count], self._heard[count:]
        return first

    async def hears_the_end(self, timeout: float = 10) -> str:
        """Wait until the client ends the connection, and return what came before."""
        async with asyncio.timeout(timeout):
            with suppress(ConnectionError):
                while data := await self._reader.read(65536):
                    self._heard += data
        rest, self._heard = self._heard, b""
        # Behind a consent to STARTTLS it is no text.
        return rest.decode(errors="replace")

    async def hears_the_header(self) -> str:
        """Wait for the client's stream header."""
        return await self.hears(_HEADED)

    async def greets(self, features: str = PLAIN) -> None:
        """Answer the client's header with one, and with features."""
        await self.hears_the_header()
        self.says(f"{HEADER}<stream:features>{features}</stream:features>")

    async def lets_in(self) -> None:
        """Take a login with PLAIN, and open the stream anew."""
        await self.hears("</auth>")
        self.says(SUCCESS)
        await self.greets(BIND)

    async def starts_tls(self, context: ssl.SSLContext) -> None:
        """Consent to STARTTLS, and go over to TLS. Raises `OSError` when the client does not like it."""
        await self.hears("<starttls")
        await self.hears("/>")
        self.says(f"<proceed xmlns='{TLS}'/>")
        await self._writer.start_tls(context)

    @property
    def certificate(self) -> object:
        """What the client has shown in TLS."""
        return self._writer.get_extra_info("peercert")

    @property
    def _transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self._writer.transport)

    def stops_reading(self) -> None:
        """Let what the client sends fill the buffers of the kernel, which grow no more."""
        stops_reading(self._transport)

    def reads_again(self) -> None:
        self._transport.resume_reading()

    @property
    def unsent(self) -> int:
        """How many bytes the client did not take yet, beside what is in the kernel."""
        return self._transport.get_write_buffer_size()

    def closes(self) -> None:
        """End the connection, after what was said has been sent."""
        self._writer.close()

    def aborts(self) -> None:
        """End the connection at once."""
        self._transport.abort()


class FakeUpstream:
    """A listener on loopback: where it is, and the connections that nobody has taken yet."""

    def __init__(self, first: str) -> None:
        self.port = 0
        self.path = ""
        self._first = first
        self.accepted = 0
        self._waiting: asyncio.Queue[FakePeer] = asyncio.Queue()
        self._all: list[FakePeer] = []

    @property
    def address(self) -> str:
        return f"unix:{self.path}" if self.path else f"127.0.0.1:{self.port}"

    async def accept(self, timeout: float = 10) -> FakePeer:
        """Return the next connection."""
        async with asyncio.timeout(timeout):
            return await self._waiting.get()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = FakePeer(reader, writer)
        peer.says(self._first)
        self.accepted += 1
        self._all.append(peer)
        self._waiting.put_nowait(peer)

    def _end(self) -> None:
        for peer in self._all:
            peer.aborts()


@asynccontextmanager
async def fake_upstream(
    *, context: ssl.SSLContext | None = None, path: str = "", first: str = ""
) -> AsyncIterator[FakeUpstream]:
    """Listen on a free port, or on a Unix socket, with a context for direct TLS. `first` is said before the client."""
    fake = FakeUpstream(first)
    if path:
        fake.path = path
        server = await asyncio.start_unix_server(fake._connected, path)
    else:
        server = await asyncio.start_server(fake._connected, "127.0.0.1", 0, ssl=context)
        fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        fake._end()
        await server.wait_closed()


def in_front_of(*fakes: FakeUpstream, c2s: dict[str, Any] | None = None, **options: Any) -> Config:
    """Build a configuration that relays the streams of DOMAIN; options are those of `upstream`."""
    settings = {"address": tuple(fake.address for fake in fakes), "tls": "none", **options}
    host = Host(http_host=("127.0.0.1",), router="upstream", upstream=Upstream(**settings))
    return config(hosts={DOMAIN: host}, **(c2s or {}))
