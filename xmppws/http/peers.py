"""Who sent a request: what the socket says, put through the rules of `proxies`."""

from __future__ import annotations

import logging
import socket

from aiohttp import web

from xmppws.http.proxies import Client, Trust

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
        sock = None if transport is None else transport.get_extra_info("socket")
        peer = None if sock is not None and sock.family == socket.AF_UNIX else request.remote or ""
        tls = transport is not None and transport.get_extra_info("ssl_object") is not None
        client = self._trust.resolve(peer, request.headers, tls=tls)
        for note in client.notes:
            self._note(note)
        return client

    def _note(self, note: str) -> None:
        # Strangers choose what stands in the notes, so only so many are kept apart.
        if note not in self._noted and len(self._noted) < _MAX_NOTED:
            self._noted.add(note)
            log.warning("%s", note)
