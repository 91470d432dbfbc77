"""Serves the HTTP and WebSocket paths that modules declare, each on the virtual hosts that have the module enabled."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import hdrs, web

from xmppws.core.declare import Binding
from xmppws.core.host import Host
from xmppws.core.web import HttpPath, Refuse, SocketHandler, WebRequest, WebSocketPath
from xmppws.errors import End, Reason, Side
from xmppws.http.causes import Cause
from xmppws.http.endpoint import Endpoint
from xmppws.http.handoff import hand_over, is_gone
from xmppws.http.handshake import Doorkeeper, Refused, check_upgrade, response_head
from xmppws.http.module_socket import ModuleSocket
from xmppws.http.peers import Peers
from xmppws.http.room import check_room
from xmppws.http.vhosts import Candidates, HostRefused

log = logging.getLogger("xmppws.http")

_PREFLIGHT_AGE: Final = "86400"


@dataclass(slots=True)
class _Place:
    """What is declared for one path: by method ("" for WebSockets), then by domain."""

    methods: dict[str, dict[str, Binding]] = field(default_factory=dict)


class Paths:
    """The paths of all modules of all hosts, as `declared`. `rebuild` reads them anew after a module was replaced."""

    def __init__(self, hosts: Mapping[str, Host], endpoint: Endpoint, peers: Peers, doorkeeper: Doorkeeper) -> None:
        self._hosts = hosts
        self._endpoint = endpoint
        self._peers = peers
        self._doorkeeper = doorkeeper
        self._dispatcher = web.UrlDispatcher()
        self.declared: tuple[str, ...] = ()
        self.rebuild()

    def rebuild(self) -> None:
        """Read what the modules declare."""
        places: dict[str, _Place] = {}
        for domain, host in self._hosts.items():
            for binding in host.bindings:
                for path, method in _declared(binding.declaration):
                    places.setdefault(path, _Place()).methods.setdefault(method, {})[domain] = binding
        self._dispatcher = web.UrlDispatcher()
        for path, place in places.items():
            self._dispatcher.add_route("*", path, self._handler(place))
        self.declared = tuple(places)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request that nothing of the server's own took."""
        found = await self._dispatcher.resolve(request)
        if found.http_exception is not None:
            raise web.HTTPNotFound
        request.match_info.update(found)
        return await found.handler(request)

    def _handler(self, place: _Place) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                candidates = self._doorkeeper.admit(request)
                if request.method == hdrs.METH_OPTIONS:
                    return self._preflight(request, candidates, place)
                allowed = self._doorkeeper.allow_origin(request, candidates)
                return await self._serve(request, allowed, place)
            except (Refused, HostRefused) as refused:
                return self._doorkeeper.refuse(request, refused)
            except Refuse as refuse:
                return self._doorkeeper.refuse(request, Refused(Cause.MODULE, refuse.status, refuse.sentence))

        return handle

    async def _serve(self, request: web.Request, candidates: Candidates, place: _Place) -> web.StreamResponse:
        if hdrs.UPGRADE in request.headers and "" in place.methods:
            domain, binding = _chosen(place.methods[""], candidates)
            return await self._upgrade(request, domain, binding)
        method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
        if method not in place.methods:
            raise Refused(Cause.METHOD, 405, "This path does not take that method.", Allow=", ".join(_methods(place)))
        domain, binding = _chosen(place.methods[method], candidates)
        assert isinstance(binding.declaration, HttpPath)
        if (request.content_length or 0) > binding.declaration.max_body:
            raise Refused(Cause.BODY, 413, f"The body is larger than {binding.declaration.max_body} bytes.")
        # aiohttp counts what arrives without an announced length against this.
        bounded = request.clone(client_max_size=max(binding.declaration.max_body, 1))
        response: web.StreamResponse = await binding.method(self._facts(bounded, domain))
        if not response.prepared:
            response.headers.update(self._cors(request))
        return response

    async def _upgrade(self, request: web.Request, domain: str, binding: Binding) -> web.StreamResponse:
        declaration = binding.declaration
        assert isinstance(declaration, WebSocketPath)
        if self._endpoint.stopping:
            raise Refused(Cause.STOPPING, 503, "The server is stopping.", Retry_After="10")
        key, subprotocol = check_upgrade(request, declaration.subprotocols)
        client = self._peers.client(request)
        check_room(self._endpoint, request, client, (domain,))
        socket = ModuleSocket(self._endpoint, client, domain, self._endpoint.new_id(), declaration.max_message)
        handler = binding.method(self._facts(request, domain), socket)
        socket.handler = await self._awaited(handler, request) if isinstance(handler, Awaitable) else handler
        log.info("id=%s address=%s host=%s path=%s", socket.id, client.address, domain, declaration.path)
        return hand_over(request, response_head(key, subprotocol), socket)

    async def _awaited(self, handler: Awaitable[SocketHandler], request: web.Request) -> SocketHandler:
        made = await handler
        if is_gone(request) or self._endpoint.stopping:
            made.closed(End(Reason.CLIENT_GONE, Side.CLIENT))
            raise Refused(Cause.STOPPING, 503, "The server is stopping.", Retry_After="10")
        return made

    def _facts(self, request: web.Request, domain: str) -> WebRequest:
        client = self._peers.client(request)
        return WebRequest(self._hosts[domain], client.address, client.secure, request)

    def _preflight(self, request: web.Request, candidates: Candidates, place: _Place) -> web.Response:
        self._doorkeeper.allow_origin(request, candidates)
        headers = {
            **self._cors(request),
            "Access-Control-Allow-Methods": ", ".join(_methods(place)),
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": _PREFLIGHT_AGE,
        }
        return web.Response(status=204, headers=headers)

    def _cors(self, request: web.Request) -> dict[str, str]:
        # The Origin was allowed already; the answer differs by Origin, so caches must know.
        origin = request.headers.get(hdrs.ORIGIN)
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {}


def _declared(declaration: object) -> Iterable[tuple[str, str]]:
    if isinstance(declaration, HttpPath):
        yield declaration.path, declaration.method
    elif isinstance(declaration, WebSocketPath):
        yield declaration.path, ""


def _chosen(by_domain: Mapping[str, Binding], candidates: Candidates) -> tuple[str, Binding]:
    for domain in candidates.domains:
        if domain in by_domain:
            return domain, by_domain[domain]
    raise web.HTTPNotFound


def _methods(place: _Place) -> list[str]:
    return sorted(method or "GET" for method in place.methods)
