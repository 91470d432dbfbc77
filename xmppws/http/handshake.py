"""The WebSocket handshake (RFC 6455 section 4.2): what a request must have, and one sentence for what is missing."""

from __future__ import annotations

import base64
import hashlib
import logging
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Sequence
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDictProxy

from xmppws.http.causes import Cause
from xmppws.http.handoff import is_gone
from xmppws.http.peers import Peers
from xmppws.http.shown import shown
from xmppws.http.vhosts import Candidates, HostRefused, VirtualHosts

log = logging.getLogger("xmppws.handshake")

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_SIZE: Final = 16
_BEHIND_PROXY: Final = (
    "behind nginx set proxy_http_version 1.1 and pass the headers Upgrade and Connection on; "
    "behind Apache use ws: or upgrade=websocket in ProxyPass"
)


class Refused(Exception):
    """A request that is not taken: the cause for the metric, HTTP status, the sentence for the client, and headers."""

    def __init__(self, cause: Cause, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.cause = cause
        self.status = status
        self.sentence = sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Doorkeeper:
    """Decides which virtual hosts a request may reach: by Host, and by Origin where a browser sends one.

    `origins` are the allowed origins of each virtual host ("*" for all). `refused` counts what was not taken.
    """

    def __init__(self, virtual_hosts: VirtualHosts, peers: Peers, origins: dict[str, frozenset[str]]) -> None:
        self._virtual_hosts = virtual_hosts
        self._peers = peers
        self._origins = origins
        self.refused: Counter[Cause] = Counter()

    def admit(self, request: web.BaseRequest) -> Candidates:
        """Return the virtual hosts that the Host header means. Raises `HostRefused`."""
        candidates = self._virtual_hosts.for_request(request.headers.getall(hdrs.HOST, []))
        if candidates.note:
            log.warning("%s", candidates.note)
        return candidates

    def allow_origin(self, request: web.BaseRequest, candidates: Candidates) -> Candidates:
        """Return those of them that pages of the request's Origin may reach. Raises `Refused`."""
        # RFC 6455 section 10.2. What is no browser sends no Origin, and could send any.
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return candidates
        allowed = tuple(domain for domain in candidates.domains if self.allows(domain, origin.lower()))
        if not allowed:
            sentence = f"Pages of {shown(origin)!r} may not connect: allowed_origins does not list them."
            raise Refused(Cause.ORIGIN, 403, sentence)
        return Candidates(allowed, candidates.host)

    def allows(self, domain: str, origin: str) -> bool:
        """Tell whether pages of an origin (in lower case) may reach a virtual host."""
        origins = self._origins[domain]
        return origin in origins or ("*" in origins and origin != "null")

    def refuse(self, request: web.BaseRequest, refused: Refused | HostRefused) -> web.Response:
        """Answer a request that is not taken, and log why."""
        client = self._peers.client(request)
        self.refused[refused.cause] += 1
        log.warning(
            "refused address=%s status=%d cause=%s: %s",
            client.address,
            refused.status,
            refused.cause.value,
            refused.sentence,
            extra={"address": client.address, "status": refused.status, "cause": refused.cause.value},
        )
        headers = refused.headers if isinstance(refused, Refused) else {}
        # The connection is closed: what follows a failed upgrade may be no HTTP.
        headers = {**headers, hdrs.CONNECTION: "Upgrade, close" if hdrs.UPGRADE in headers else "close"}
        response = web.Response(status=refused.status, text=refused.sentence + "\n", headers=headers)
        response.force_close()
        return response


def check_upgrade(request: web.Request, subprotocols: Sequence[str]) -> tuple[str, str]:
    """Return the key and the subprotocol of a right handshake; raise `Refused`.

    Without `subprotocols` none is negotiated, and what the client offers does not matter.
    """
    if is_gone(request):
        raise Refused(Cause.GONE, 499, "The client has gone.")
    headers = request.headers
    if request.method != hdrs.METH_GET:
        raise Refused(Cause.METHOD, 405, "A WebSocket handshake is a GET request.", Allow="GET")
    if request.version < HttpVersion11:
        sentence = f"HTTP/1.0 cannot be upgraded: {_BEHIND_PROXY}."
        raise Refused(Cause.HTTP_1_0, 426, sentence, Upgrade="websocket")
    if "websocket" not in _tokens(headers, hdrs.UPGRADE):
        what = "This is an endpoint for XMPP over WebSocket"
        sentence = f"{what}, and the header 'Upgrade: websocket' is missing: {_BEHIND_PROXY}."
        raise Refused(Cause.NO_UPGRADE, 426, sentence, Upgrade="websocket")
    if "upgrade" not in _tokens(headers, hdrs.CONNECTION):
        raise Refused(Cause.NO_CONNECTION, 400, f"The header 'Connection: Upgrade' is missing: {_BEHIND_PROXY}.")
    if request.body_exists:
        raise Refused(Cause.BODY, 400, "A WebSocket handshake has no body.")
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != ["13"]:
        sentence = "The WebSocket version must be 13."
        raise Refused(Cause.VERSION, 426, sentence, Sec_WebSocket_Version="13", Upgrade="websocket")
    return _key(headers), _subprotocol(headers, subprotocols)


def _subprotocol(headers: CIMultiDictProxy[str], subprotocols: Sequence[str]) -> str:
    offered = _tokens(headers, hdrs.SEC_WEBSOCKET_PROTOCOL, lower=False)
    chosen = next((name for name in subprotocols if name in offered), "")
    if subprotocols and not chosen:
        sentence = f"The subprotocol is missing: send 'Sec-WebSocket-Protocol: {subprotocols[0]}'."
        raise Refused(Cause.SUBPROTOCOL, 400, sentence)
    return chosen


def _key(headers: CIMultiDictProxy[str]) -> str:
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    try:
        if len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == _KEY_SIZE:
            return keys[0]
    except (Base64Error, ValueError):
        pass
    raise Refused(Cause.KEY, 400, "Sec-WebSocket-Key must stand once, as 16 bytes in base64.")


def _tokens(headers: CIMultiDictProxy[str], name: str, *, lower: bool = True) -> set[str]:
    values = ",".join(headers.getall(name, []))
    return {token.strip() for token in (values.lower() if lower else values).split(",")}


def response_head(key: str, subprotocol: str) -> bytes:
    """Write the answer to a handshake (RFC 6455 section 4.2.2)."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n"
    ).encode()
