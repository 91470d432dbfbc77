"""Whether there is room for one more WebSocket."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aiohttp import web

from xmppws.http.causes import Cause
from xmppws.http.endpoint import Endpoint
from xmppws.http.handshake import Refused
from xmppws.http.proxies import Client


def check_room(endpoint: Endpoint, request: web.BaseRequest, client: Client, domains: Sequence[str]) -> None:
    """Raise `Refused` when there may be no more connections.

    Either of a client's address, or to any of the virtual hosts that the request may mean, or to the whole server.
    """
    if endpoint.is_crowded(client.network):
        sentence = "Too many connections of this address have not logged in yet."
        raise Refused(Cause.CROWDED, 429, sentence, Retry_After="30")
    if not endpoint.paces.exempts(client):
        _check_pace(endpoint, client.network)
    if all(map(endpoint.occupancy.is_full, domains)):
        raise Refused(Cause.HOST_FULL, 503, "The host has all the connections it may have.", Retry_After="10")
    if not endpoint.admission.has_room(request.transport):
        raise Refused(Cause.FULL, 503, "The server has all the connections it may have.", Retry_After="10")


def _check_pace(endpoint: Endpoint, network: str) -> None:
    wait = endpoint.paces.handshakes.take(network)
    if wait:
        sentence = "Too many connections of this address in a short time."
        raise Refused(Cause.TOO_FAST, 429, sentence, Retry_After=str(math.ceil(wait)))
    if endpoint.is_full(network):
        sentence = "This address has all the connections it may have."
        raise Refused(Cause.CROWDED, 429, sentence, Retry_After="30")
