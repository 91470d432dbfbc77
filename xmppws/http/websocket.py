"""The WebSocket handshake (RFC 6455 section 4.2):

every request is either upgraded or told, in one sentence, what is missing.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from binascii import Error as Base64Error
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDictProxy

from xmppws.core.router import Request
from xmppws.http.connection import Connection
from xmppws.http.endpoint import Endpoint
from xmppws.http.handoff import hand_over
from xmppws.http.peers import Peers
from xmppws.http.shown import shown
from xmppws.http.vhosts import Candidates, HostRefused

log = logging.getLogger("xmppws.handshake")

_SUBPROTOCOL: Final = "xmpp"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_SIZE: Final = 16
_BEHIND_PROXY: Final = (
    "behind nginx set proxy_http_version 1.1 and pass the headers Upgrade and Connection on; "
    "behind Apache use ws: or upgrade=websocket in ProxyPass"
)


class Refused(Exception):
    """A handshake that is not taken: HTTP status, the sentence for the client, and headers."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class WebSocketHandler:
    """The request handler of the endpoint. `origins` are the allowed origins of each virtual host ("*" for all)."""

    def __init__(self, endpoint: Endpoint, peers: Peers, origins: dict[str, frozenset[str]]) -> None:
        self._endpoint = endpoint
        self._peers = peers
        self._origins = origins

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Upgrade a request and hand its connection over, or refuse it."""
        try:
            candidates = self._admit(request)
            key = _check_upgrade(request)
            candidates = self._allow_origin(request, candidates)
            return self._upgrade(request, candidates, key)
        except (Refused, HostRefused) as refused:
            return self._refuse(request, refused)

    def _admit(self, request: web.Request) -> Candidates:
        if self._endpoint.stopping:
            raise Refused(503, "The server is stopping.", Retry_After="10")
        candidates = self._endpoint.virtual_hosts.for_request(request.headers.getall(hdrs.HOST, []))
        if candidates.note:
            log.warning("%s", candidates.note)
        return candidates

    def _allow_origin(self, request: web.Request, candidates: Candidates) -> Candidates:
        # RFC 6455 section 10.2. What is no browser sends no Origin, and could send any.
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return candidates
        allowed = tuple(domain for domain in candidates.domains if self._allows(domain, origin.lower()))
        if not allowed:
            raise Refused(403, f"Pages of {shown(origin)!r} may not connect: allowed_origins does not list them.")
        return Candidates(allowed, candidates.host)

    def _allows(self, domain: str, origin: str) -> bool:
        origins = self._origins[domain]
        return origin in origins or ("*" in origins and origin != "null")

    def _upgrade(self, request: web.Request, candidates: Candidates, key: str) -> web.StreamResponse:
        client = self._peers.client(request)
        if self._endpoint.is_crowded(client.address):
            raise Refused(429, "Too many connections of this address have not logged in yet.", Retry_After="30")
        facts = Request(request.path_qs, {name.lower(): value for name, value in request.headers.items()})
        connection = Connection(self._endpoint, client, candidates, facts, self._endpoint.new_id())
        log.info(
            "id=%s address=%s secure=%s host=%s origin=%s: %s",
            connection.id,
            client.address,
            client.secure,
            candidates.host,
            shown(request.headers.get(hdrs.ORIGIN, "-")),
            client.how,
        )
        return hand_over(request, _response_head(key), connection)

    def _refuse(self, request: web.Request, refused: Refused | HostRefused) -> web.Response:
        client = self._peers.client(request)
        log.warning("refused address=%s status=%d: %s", client.address, refused.status, refused.sentence)
        headers = refused.headers if isinstance(refused, Refused) else {}
        # The connection is closed: what follows a failed upgrade may be no HTTP.
        headers = {**headers, hdrs.CONNECTION: "Upgrade, close" if hdrs.UPGRADE in headers else "close"}
        response = web.Response(status=refused.status, text=refused.sentence + "\n", headers=headers)
        response.force_close()
        return response


def _check_upgrade(request: web.Request) -> str:
    """Return the Sec-WebSocket-Key of a request that is a right handshake."""
    headers = request.headers
    if request.method != hdrs.METH_GET:
        raise Refused(405, "A WebSocket handshake is a GET request.", Allow="GET")
    if request.version < HttpVersion11:
        raise Refused(426, f"HTTP/1.0 cannot be upgraded: {_BEHIND_PROXY}.", Upgrade="websocket")
    if "websocket" not in _tokens(headers, hdrs.UPGRADE):
        what = "This is an endpoint for XMPP over WebSocket"
        sentence = f"{what}, and the header 'Upgrade: websocket' is missing: {_BEHIND_PROXY}."
        raise Refused(426, sentence, Upgrade="websocket")
    if "upgrade" not in _tokens(headers, hdrs.CONNECTION):
        raise Refused(400, f"The header 'Connection: Upgrade' is missing: {_BEHIND_PROXY}.")
    if request.body_exists:
        raise Refused(400, "A WebSocket handshake has no body.")
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != ["13"]:
        raise Refused(426, "The WebSocket version must be 13.", Sec_WebSocket_Version="13", Upgrade="websocket")
    if _SUBPROTOCOL not in _tokens(headers, hdrs.SEC_WEBSOCKET_PROTOCOL, lower=False):
        # RFC 7395 section 3.1.
        raise Refused(400, "The subprotocol is missing: send 'Sec-WebSocket-Protocol: xmpp'.")
    return _key(headers)


def _key(headers: CIMultiDictProxy[str]) -> str:
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    try:
        if len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == _KEY_SIZE:
            return keys[0]
    except (Base64Error, ValueError):
        pass
    raise Refused(400, "Sec-WebSocket-Key must stand once, as 16 bytes in base64.")


def _tokens(headers: CIMultiDictProxy[str], name: str, *, lower: bool = True) -> set[str]:
    values = ",".join(headers.getall(name, []))
    return {token.strip() for token in (values.lower() if lower else values).split(",")}


def _response_head(key: str) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {_SUBPROTOCOL}\r\n\r\n"
    ).encode()
