"""What all WebSocket connections of a server share, and the register of those that are open."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Final

from aiohttp._websocket.helpers import websocket_mask

from xmppws.config import C2S, Config
from xmppws.core.histogram import Histogram
from xmppws.core.limits import Allowance, Pace
from xmppws.core.router import Router
from xmppws.core.watch import Happening, Watch, why
from xmppws.errors import End, Reason, Side, StreamResourceConstraint, SystemShutdown
from xmppws.http.accepted import Admission
from xmppws.http.deadlines import Deadlines
from xmppws.http.occupancy import Occupancy
from xmppws.http.proxies import UNIX, Client, Networks, parse_address
from xmppws.http.socket import WebSocket
from xmppws.http.vhosts import Candidates, VirtualHosts
from xmppws.stream.c2s import LOGIN_NAMES
from xmppws.stream.frames import Unmask
from xmppws.stream.keepalive import Intervals
from xmppws.xml.parser import Parser, Vocabulary

log = logging.getLogger("xmppws.connection")

_REMEMBERED_ENDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """The configured bounds of a connection: times in seconds, sizes in bytes."""

    handshake_timeout: float = 10.0
    auth_timeout: float = 30.0
    close_timeout: float = 5.0
    max_unauthenticated_size: int = 16 * 1024
    max_depth: int = 100
    max_elements: int = 10_000
    max_send_buffer: int = 1024 * 1024
    max_unauthenticated_per_address: int = 100

    @classmethod
    def of(cls, options: C2S) -> Limits:
        """Return those that are configured."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class Allowances:
    """How much clients may send: who has not logged in, who has, and who has as a guest; `limited`: or anything."""

    limited: bool
    stranger: Allowance
    user: Allowance
    guest: Allowance


_ANYTHING: Final = Allowance(inf, inf, 1)
_EVERYTHING: Final = Allowances(False, _ANYTHING, _ANYTHING, _ANYTHING)


class Paces:
    """What is allowed in a second, to each client and to each address (see `Client.network`)."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        limits = config.limits
        user = Allowance(limits.stanzas_per_second, limits.bytes_per_second, limits.burst)
        guest = Allowance(limits.guest_stanzas_per_second, limits.guest_bytes_per_second, limits.burst)
        self._allowances = Allowances(True, guest, user, guest)
        self._exempt = Networks(limits.exempt)
        self.connections_per_address = limits.connections_per_address
        self.handshakes = Pace(limits.handshakes_per_second, limits.handshakes_per_second * limits.burst, clock)
        self.logins = Pace(limits.logins_per_second, limits.logins_per_second * limits.burst, clock)

    def exempts(self, client: Client) -> bool:
        """Tell whether these limits do not hold for a client: because of its address, or as nobody knows that."""
        return client.address == UNIX or parse_address(client.address) in self._exempt

    def allowances(self, client: Client) -> Allowances:
        """Return what a client may send."""
        return _EVERYTHING if self.exempts(client) else self._allowances


class Endpoint:
    """The shared side of every connection, and their register.

    `max_stanza_sizes` holds the largest stanza of each virtual host, in bytes.
    """

    def __init__(
        self,
        *,
        virtual_hosts: VirtualHosts,
        routers: Mapping[str, Router],
        deadlines: Deadlines,
        admission: Admission,
        occupancy: Occupancy,
        limits: Limits,
        paces: Paces,
        max_stanza_sizes: Mapping[str, int],
        intervals: Intervals,
        new_id: Callable[[], str],
    ) -> None:
        self.virtual_hosts = virtual_hosts
        self.routers = routers
        self.deadlines = deadlines
        self.admission = admission
        self.occupancy = occupancy
        self.limits = limits
        self.paces = paces
        self.max_stanza_sizes = max_stanza_sizes
        self.intervals = intervals
        self.new_id = new_id
        self.vocabulary = Vocabulary()
        for names in LOGIN_NAMES:
            # Before strangers can have spent what they may, or the first user after that could not log in.
            Parser(self.vocabulary, "").parse(names)
        self.unmask: Unmask = websocket_mask
        self.connections: set[WebSocket] = set()
        self.stopping = False
        self.opens: Counter[str] = Counter()
        """Streams opened, by virtual host."""
        self.ends: Counter[tuple[str, Reason, Side]] = Counter()
        """Ends by virtual host, or "" where it was not known yet."""
        self.recent_ends: deque[tuple[float, Reason]] = deque(maxlen=_REMEMBERED_ENDS)
        """The newest ends: when, and why."""
        self.watches: dict[str, Watch] = {}
        """Who is watched, by bare JID."""
        self.round_trips: defaultdict[str, Histogram] = defaultdict(Histogram)
        """How long answers to our pings took."""
        self.slowed: Counter[str] = Counter()
        """How often a client was not read for a while, because it sent more than it may; by virtual host."""
        self._networks: Counter[str] = Counter()
        self._strangers: dict[str, set[WebSocket]] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def is_crowded(self, network: str) -> bool:
        """Tell whether a network (see `Client.network`) has as many connections without a login as it may."""
        return len(self._strangers.get(network, ())) >= self.limits.max_unauthenticated_per_address

    def is_full(self, network: str) -> bool:
        """Tell whether a network has as many connections as it may."""
        return self._networks[network] >= self.paces.connections_per_address

    def slowed_down(self, connection: WebSocket) -> None:
        """Note that a client has to wait."""
        self.slowed[connection.host] += 1
        log.debug("id=%s is read no more until it may send again", connection.id, extra={"id": connection.id})

    def name_of(self, candidates: Candidates | None) -> str:
        """Return in whose name the server speaks before it knows for which host.

        That is the only host there is, else what the client called it.
        """
        if candidates is None:
            return ""
        return candidates.domains[0] if len(candidates.domains) == 1 else candidates.host.partition(":")[0]

    def add(self, connection: WebSocket, deadline: float) -> None:
        """Register a new connection, whose first deadline is at `deadline`."""
        self.admission.connections += 1
        self.occupancy.enter(connection.occupies)
        self.connections.add(connection)
        self._networks[connection.network] += 1
        self._empty.clear()
        if not connection.name:
            self._strangers.setdefault(connection.network, set()).add(connection)
        self.deadlines.add(connection, deadline)

    def occupy(self, connection: WebSocket, domain: str) -> None:
        """Note which virtual host a connection means, where its handshake did not tell; again changes nothing.

        Raises `StreamResourceConstraint` when that has all the connections it may have.
        """
        if not connection.occupies:
            if self.occupancy.is_full(domain):
                raise StreamResourceConstraint(reason=Reason.HOST_FULL)
            connection.occupies = domain
            self.occupancy.enter(domain)

    def left_strangers(self, connection: WebSocket) -> None:
        """Note that a connection has logged in, or is gone; again changes nothing."""
        strangers = self._strangers.get(connection.network)
        if strangers is not None:
            strangers.discard(connection)
            if not strangers:
                del self._strangers[connection.network]

    def over(self, connection: WebSocket, end: End, lasted: float) -> None:
        """Log why a stream is over."""
        keepalive = connection.keepalive
        self.ends[connection.host, end.reason, end.by] += 1
        self.recent_ends.append((self.deadlines.now, end.reason))
        log.info(
            "id=%s end=%s by=%s address=%s user=%s lasted=%.0f idle=%.0f round_trip=%s text=%r",
            connection.id,
            end.reason.id,
            end.by.value,
            connection.address,
            connection.name or "-",
            lasted,
            self.deadlines.now - keepalive.received,
            "-" if keepalive.round_trip is None else f"{keepalive.round_trip:.3f}",
            end.text,
            extra={
                "id": connection.id,
                "address": connection.address,
                "user": connection.name,
                "reason": end.reason.id,
                "by": end.by.value,
            },
        )
        if (watch := self.watches.get(connection.name)) is not None:
            watch.tell(
                connection.id,
                Happening.DISCONNECTED,
                **why(end),
                lasted_seconds=lasted,
                idle_seconds=self.deadlines.now - keepalive.received,
                round_trip_seconds=keepalive.round_trip,
            )

    def remove(self, connection: WebSocket) -> None:
        """Forget a connection whose socket is gone."""
        self.admission.connections -= 1
        self.occupancy.leave(connection.occupies)
        self.deadlines.remove(connection)
        self.connections.discard(connection)
        self._networks[connection.network] -= 1
        if not self._networks[connection.network]:
            del self._networks[connection.network]
        self.left_strangers(connection)
        if not self.connections:
            self._empty.set()

    async def stop(self, grace: float) -> None:
        """End every stream with system-shutdown, and wait until the sockets are closed, `grace` seconds at most."""
        self.stopping = True
        for connection in tuple(self.connections):
            connection.fail(SystemShutdown("The server is stopping"))
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
