"""WebSocket clients on one epoll, written to cost less than any server that they are to load."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Final

from client_frame import frame
from raw import head

# A key of zeros leaves the payload as it is. The server unmasks it as it would any other.
MASK: Final = bytes(4)
TEXT: Final = 0x81
PING: Final = 0x89
PONG_OPCODE: Final = 0xA
READ: Final = 256 * 1024
XMPP: Final = "/xmpp-websocket"
# What was sent and is neither delivered nor refused for so long is lost.
SECONDS_TO_WAIT: Final = 30.0

Receive = Callable[[list[bytes]], None]


class Failed(Exception):
    """A server did something that would make the figures worthless."""


def text(payload: bytes) -> bytes:
    """Write a client's text frame."""
    return frame(1, payload, mask=MASK)


class Client:
    """A WebSocket to the server. `receive` gets the payloads of each read; the first is the head of the response."""

    __slots__ = ("_is_open", "_other", "_read", "receive", "socket")

    def __init__(self, port: int, receive: Receive, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.receive = receive
        self._is_open = False
        self._read = b""
        self._other = b""
        # A module's path has no subprotocol.
        subprotocol = "xmpp" if path == XMPP else None
        self.send(head(path=path, Host=f"localhost:{port}", Sec_WebSocket_Protocol=subprotocol))

    def send(self, data: bytes) -> None:
        if self.socket.send(data) != len(data):
            raise Failed("The server reads too slowly for what is in flight")

    def readable(self) -> None:
        """Read what has come and hand it on."""
        if not (data := self.socket.recv(READ)):
            raise Failed(f"The server closed the connection; its last frame that is no text: {self._other!r}")
        self._read = self._read + data if self._read else data
        payloads = self._frames() if self._is_open else self._head()
        if payloads:
            self.receive(payloads)

    def _head(self) -> list[bytes]:
        response, end, rest = self._read.partition(b"\r\n\r\n")
        if not end:
            return []
        if not response.startswith(b"HTTP/1.1 101 "):
            raise Failed(f"The server refused the WebSocket: {response!r}")
        self._is_open = True
        self._read = rest
        return [response]

    def _frames(self) -> list[bytes]:
        """Take the whole frames from what was read (RFC 6455 section 5.2); answer pings."""
        data, at, payloads = self._read, 0, []
        available = len(data)
        while available - at >= 2:
            start, size = at + 2, data[at + 1]
            if size == 126:
                start, size = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            elif size == 127:
                start, size = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            end = start + size
            if start > available or end > available:
                break
            if data[at] == TEXT:
                payloads.append(data[start:end])
            else:
                self._control(data[at], data[start:end])
            at = end
        self._read = data[at:]
        return payloads

    def _control(self, first: int, payload: bytes) -> None:
        self._other = bytes((first,)) + payload
        if first == PING:
            self.send(frame(PONG_OPCODE, payload, mask=MASK))


class Clients:
    """All clients of a server, driven by one thread."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}

    def connect(self, receive: Receive, path: str = XMPP) -> Client:
        client = Client(self.port, receive, path)
        self._clients[client.socket.fileno()] = client
        self._epoll.register(client.socket, select.EPOLLIN)
        return client

    def stop_reading(self, client: Client) -> None:
        self._epoll.unregister(client.socket)

    def read_again(self, client: Client) -> None:
        self._epoll.register(client.socket, select.EPOLLIN)

    def disconnect(self, client: Client) -> None:
        del self._clients[client.socket.fileno()]
        self._epoll.unregister(client.socket)
        client.socket.close()

    def run_for(self, seconds: float) -> None:
        """Serve the clients for a time, also when nothing comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._serve(left)

    def run_until(self, is_done: Callable[[], bool]) -> None:
        """Serve the clients until a condition holds; `Failed` when nothing comes any more before that."""
        while not is_done():
            if not self._serve(SECONDS_TO_WAIT):
                raise Failed(f"The server sent nothing for {SECONDS_TO_WAIT:.0f} s")

    def close(self) -> None:
        for client in self._clients.values():
            client.socket.close()
        self._clients.clear()
        self._epoll.close()

    def _serve(self, timeout: float) -> int:
        events = self._epoll.poll(timeout)
        for descriptor, _ in events:
            # One that was served before may have disconnected it.
            if client := self._clients.get(descriptor):
                client.readable()
        return len(events)
