"""The XMPP endpoint: every request is upgraded and handed over, or told what is missing."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import hdrs, web

from xmppws.core.router import Request
from xmppws.http.causes import Cause
from xmppws.http.connection import Connection
from xmppws.http.endpoint import Endpoint
from xmppws.http.handoff import hand_over
from xmppws.http.handshake import Doorkeeper, Refused, check_upgrade, response_head
from xmppws.http.peers import Peers
from xmppws.http.room import check_room
from xmppws.http.shown import shown
from xmppws.http.vhosts import Candidates, HostRefused

log = logging.getLogger("xmppws.handshake")

# RFC 7395 section 3.1.
_SUBPROTOCOLS: Final = ("xmpp",)


class WebSocketHandler:
    """The request handler of the endpoint."""

    def __init__(self, endpoint: Endpoint, peers: Peers, doorkeeper: Doorkeeper) -> None:
        self._endpoint = endpoint
        self._peers = peers
        self._doorkeeper = doorkeeper

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Upgrade a request and hand its connection over, or refuse it."""
        try:
            if self._endpoint.stopping:
                raise Refused(Cause.STOPPING, 503, "The server is stopping.", Retry_After="10")
            candidates = self._doorkeeper.admit(request)
            key, subprotocol = check_upgrade(request, _SUBPROTOCOLS)
            candidates = self._doorkeeper.allow_origin(request, candidates)
            connection = self._connection(request, candidates)
        except (Refused, HostRefused) as refused:
            return self._doorkeeper.refuse(request, refused)
        return hand_over(request, response_head(key, subprotocol), connection)

    def _connection(self, request: web.Request, candidates: Candidates) -> Connection:
        client = self._peers.client(request)
        check_room(self._endpoint, request, client, candidates.domains)
        facts = Request(request.path_qs, {name.lower(): value for name, value in request.headers.items()})
        connection = Connection(self._endpoint, client, candidates, facts, self._endpoint.new_id())
        log.info(
            "id=%s address=%s secure=%s host=%r origin=%r: %s",
            connection.id,
            client.address,
            client.secure,
            candidates.host,
            shown(request.headers.get(hdrs.ORIGIN, "-")),
            client.how,
            extra={"id": connection.id, "address": client.address, "secure": client.secure, "host": candidates.host},
        )
        return connection
