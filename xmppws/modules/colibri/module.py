"""Colibri WebSockets: what the clients of a Jitsi conference, and its other bridges, tell each other beside the media.

A focus, such as Jicofo, allocates conferences over XMPP (`jitsi:colibri2`, at `colibri.HOST` or where [components]
says), and hands out the URLs that it is told. Messages are forwarded between endpoints, and to the relays of other
meshes; what a client wants of the media is kept, and has no effect: there are no media here. URLs of other bridges are
passed on to the address that is configured for their server-id, and to no other.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable
from typing import Final

from xmppws.config import Section
from xmppws.core.admin import Row, admin_command
from xmppws.core.host import Host
from xmppws.core.metrics import counter, gauge
from xmppws.core.module import Module, Target, iq_get, iq_set
from xmppws.core.web import Refuse, Socket, SocketHandler, WebRequest, websocket
from xmppws.errors import Forbidden, ResourceConstraint
from xmppws.jid import Jid
from xmppws.modules.colibri import signalling
from xmppws.modules.colibri.conference import Conference, Endpoint, Peer, Relay
from xmppws.modules.colibri.options import ColibriOptions, bridges
from xmppws.modules.colibri.outgoing import MAX_MESSAGE, Dialler, Passing
from xmppws.modules.colibri.signalling import COLIBRI2, Modification, Part
from xmppws.modules.colibri.sockets import Accepted
from xmppws.xml.stanza import Stanza

_PASSWORD: Final = "pwd="
_OURS: Final = "/colibri-ws/{server}/{conference}/{peer}"
_RELAYS: Final = "/colibri-relay-ws/{server}/{conference}/{peer}"


class Colibri(Module):
    name = "colibri"
    component = "colibri"
    component_features = (COLIBRI2,)
    Options = ColibriOptions
    options: ColibriOptions

    conferences_now = gauge("xmppws_colibri_conferences", "Conferences that there are.")
    endpoints_now = gauge("xmppws_colibri_endpoints", "Endpoints of all of them.")
    messages = counter("xmppws_colibri_messages_total", "Messages of endpoints and relays.")

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        self._focus = frozenset(map(Jid.parse, self.options.focus)) or host.admins
        self._bridges = bridges(self.options)
        # By our own ids, and by those of who made them.
        self._conferences: dict[str, Conference] = {}
        self._by_meeting: dict[str, Conference] = {}
        self._dialler = Dialler()

    async def stop(self) -> None:
        """End all conferences."""
        for conference in list(self._conferences.values()):
            self._end(conference)
        await self._dialler.close()

    # --- Signalling ---

    @iq_get(COLIBRI2, "conference-modify", to=Target.COMPONENT)
    def asked(self, iq: Stanza) -> Stanza:
        """Change a conference; Jicofo asks so, though something changes."""
        return self.modify(iq)

    @iq_set(COLIBRI2, "conference-modify", to=Target.COMPONENT)
    def modify(self, iq: Stanza) -> Stanza:
        """Make, change or end a conference, and parts of it."""
        assert iq.sender is not None and iq.payload is not None
        if iq.sender.bare not in self._focus:
            raise Forbidden("Conferences are made by the focus alone: modules.colibri.focus")
        wanted = signalling.read(iq.payload)
        answer = signalling.Answer()
        conference = self._conference(wanted)
        if wanted.expires:
            self._end(conference)
            return iq.result(answer.element)
        try:
            for part in wanted.parts:
                self._change(conference, part, answer)
        except Exception:
            if wanted.creates:
                self._end(conference)
            raise
        self._count()
        return iq.result(answer.element)

    def _conference(self, wanted: Modification) -> Conference:
        conference = self._by_meeting.get(wanted.meeting)
        if not wanted.creates:
            if conference is None:
                raise signalling.no_conference()
            return conference
        if conference is not None:
            raise signalling.conference_exists()
        if len(self._conferences) >= self.options.max_conferences:
            raise ResourceConstraint("There are as many conferences as there may be")
        made = Conference(self.host.new_id(), wanted.meeting, wanted.name)
        self._conferences[made.id] = self._by_meeting[made.meeting] = made
        return made

    def _change(self, conference: Conference, part: Part, answer: signalling.Answer) -> None:
        peers: dict[str, Endpoint] | dict[str, Relay] = conference.relays if part.is_relay else conference.endpoints
        peer: Peer | None = peers.get(part.id)
        if part.creates:
            peer = self._create(conference, part, peer)
            is_dialling = isinstance(peer, Relay) and bool(part.dials)
            answer.add(part, self._urls(peer), is_dialling=is_dialling)
        elif peer is None:
            # What is over may be ended again.
            if not part.expires:
                raise signalling.unknown_endpoint(part.id)
            return
        if part.expires:
            self._remove(peer)
        elif isinstance(peer, Relay):
            if part.endpoints is not None:
                peer.endpoints = part.endpoints
            if part.dials:
                self._dialler.dial(peer, part.dials[0])

    def _create(self, conference: Conference, part: Part, older: Peer | None) -> Peer:
        if older is not None:
            raise signalling.conference_exists()
        if not part.has_transport:
            raise signalling.bad_request("What is created has a transport")
        if part.is_relay:
            if len(conference.relays) >= self.options.max_relays:
                raise ResourceConstraint("The conference has as many relays as it may have")
            relay = Relay(conference, part.id, self._secret(), part.mesh)
            conference.relays[part.id] = relay
            return relay
        if not part.has_source_names:
            raise signalling.bad_request("An endpoint has the capability source-names")
        if len(conference.endpoints) >= self.options.max_endpoints:
            raise ResourceConstraint("The conference has as many endpoints as it may have")
        endpoint = Endpoint(conference, part.id, self._secret())
        conference.endpoints[part.id] = endpoint
        return endpoint

    def _secret(self) -> str:
        # Clients use one URL as long as they are there.
        return self.host.new_id() + self.host.new_id()

    def _urls(self, peer: Peer) -> tuple[str, ...]:
        options, is_relay = self.options, isinstance(peer, Relay)
        domains = options.domains or (self.host.domain,)
        scheme, path = "wss" if options.tls else "ws", "colibri-relay-ws" if is_relay else "colibri-ws"
        place = f"{path}/{options.server_id}/{peer.conference.id}/{peer.id}?{_PASSWORD}{peer.secret}"
        return tuple(f"{scheme}://{each}/{place}" for each in (is_relay and options.relay_domains) or domains)

    def _remove(self, peer: Peer) -> None:
        peer.conference.remove(peer)
        if isinstance(peer, Relay):
            self._dialler.drop(peer)

    def _end(self, conference: Conference) -> None:
        for peer in list(conference.peers):
            self._remove(peer)
        del self._conferences[conference.id], self._by_meeting[conference.meeting]
        self._count()

    def _count(self) -> None:
        self.conferences_now.set(len(self._conferences))
        self.endpoints_now.set(sum(len(each.endpoints) for each in self._conferences.values()))

    # --- Sockets ---

    @websocket(_OURS, max_message=MAX_MESSAGE)
    def connect(self, request: WebRequest, socket: Socket) -> SocketHandler | Awaitable[SocketHandler]:
        """Take the socket of an endpoint."""
        return self._connect(request, socket, is_relay=False)

    @websocket(_RELAYS, max_message=MAX_MESSAGE)
    def connect_relay(self, request: WebRequest, socket: Socket) -> SocketHandler | Awaitable[SocketHandler]:
        """Take the socket of another bridge."""
        return self._connect(request, socket, is_relay=True)

    def _connect(
        self, request: WebRequest, socket: Socket, *, is_relay: bool
    ) -> SocketHandler | Awaitable[SocketHandler]:
        place = request.http.match_info
        if place["server"] in self._bridges:
            return self._pass_on(request, socket, self._bridges[place["server"]])
        if place["server"] != self.options.server_id:
            raise Refuse(404, "server ID mismatch")
        peer = self._find(place["conference"], place["peer"], is_relay=is_relay)
        query = request.http.query_string
        given = query.removeprefix(_PASSWORD) if query.startswith(_PASSWORD) else ""
        # Whoever is not there has a secret that nobody can know: the time tells nothing.
        secret = self._secret() if peer is None else peer.secret
        if not hmac.compare_digest(given.encode(), secret.encode()) or peer is None:
            raise Refuse(403, "authentication failed")
        socket.authenticated(f"{peer.id}@{peer.conference.id}")
        return Accepted(peer, socket, self.messages.inc)

    def _find(self, conference: str, id: str, *, is_relay: bool) -> Peer | None:
        found = self._conferences.get(conference)
        if found is None:
            return None
        return found.relays.get(id) if is_relay else found.endpoints.get(id)

    async def _pass_on(self, request: WebRequest, socket: Socket, address: str) -> SocketHandler:
        channel = await self._dialler.to_bridge(address, request.http.rel_url.raw_path_qs)
        socket.authenticated(f"{request.http.match_info['peer']}@{request.http.match_info['conference']}")
        return Passing(socket, channel)

    @admin_command("colibri", "Conferences of Colibri, with how many endpoints and relays they have.")
    def show(self, args: list[str]) -> list[Row]:
        """Return a row for each conference."""
        return [
            {
                "meeting": each.meeting,
                "name": each.name,
                "endpoints": len(each.endpoints),
                "connected": sum(endpoint.channel is not None for endpoint in each.endpoints.values()),
                "relays": len(each.relays),
            }
            for each in self._conferences.values()
        ]
