"""Who sent a request: what the socket says, put through the rules of `proxies`."""

from __future__ import annotations

import asyncio
import logging
import socket

from aiohttp import web

from xmppws.http.accepted import Accepted
from xmppws.http.proxies import Client, Trust
from xmppws.http.proxy_protocol import ProxyHeader

log = logging.getLogger("xmppws.proxies")

_MAX_NOTED = 1000


class Peers:
    """Resolves the client of a request, and logs each thing that is odd about proxies once."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._noted: set[str] = set()

    def client(self, request: web.BaseRequest) -> Client:
        """Return the client. The socket may be closed already; its address is known all the same."""
        transport = request.transport
        peer = None if transport is not None and _is_unix(transport) else request.remote or ""
        tls = transport is not None and transport.get_extra_info("ssl_object") is not None
        before = None if transport is None else transport.get_protocol()
        header = before.header if isinstance(before, Accepted) and before.header is not None else ProxyHeader()
        client = self._trust.resolve(peer, request.headers, tls=tls, proxy_source=header.source, proxy_tls=header.tls)
        for note in client.notes:
            self.note(note)
        return client

    def may_send_proxy_header(self, transport: asyncio.BaseTransport) -> bool:
        """Tell whether a PROXY header of the other end is believed, and log when it is not."""
        peer = peer_address(transport)
        trusted = self._trust.trusts(peer)
        if not trusted:
            what = "unix" if peer is None else peer
            self.note(f"closed a connection of {what} to a listener with proxy_protocol: it is not in trusted_proxies")
        return trusted

    def note(self, note: str) -> None:
        """Log a warning, the first time."""
        # Strangers choose what stands in the notes, so only so many are kept apart.
        if note not in self._noted and len(self._noted) < _MAX_NOTED:
            self._noted.add(note)
            log.warning("%s", note)


def peer_address(transport: asyncio.BaseTransport) -> str | None:
    """Return the address of the other end; None for a Unix socket, "" when it is gone already."""
    if _is_unix(transport):
        return None
    peername = transport.get_extra_info("peername")
    return str(peername[0]) if peername else ""


def _is_unix(transport: asyncio.BaseTransport) -> bool:
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.family == socket.AF_UNIX
