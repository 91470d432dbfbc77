"""Components that attach to this server: gateways and bots, each with a secret for its domains.

| phase    | waits for              | ends by           |
|----------|------------------------|-------------------|
| OPENING  | the stream header      | handshake timeout |
| PROVING  | `<handshake/>`         | handshake timeout |
| ATTACHED | stanzas                | the connection    |
| OVER     | nothing                |                   |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from hmac import compare_digest
from typing import Final

from xmppws.config import Component
from xmppws.core.audit import audit
from xmppws.core.dispatch import Dispatch
from xmppws.core.host import Host
from xmppws.core.limits import Pace
from xmppws.core.metrics import counter, gauge
from xmppws.errors import (
    BadFormat,
    ConnectionTimeout,
    HostUnknown,
    InvalidFrom,
    NotAuthorized,
    Reason,
    ServiceUnavailable,
    StreamConflict,
    StreamError,
    StreamPolicyViolation,
    SystemShutdown,
)
from xmppws.jid import InvalidJid, Jid
from xmppws.routes.component.stream import ComponentStream, digest, handshake
from xmppws.stream.tcp import COMPONENT, Header, header
from xmppws.stream.tcp_check import Checks
from xmppws.xml.parser import Vocabulary
from xmppws.xml.stanza import Stanza

log = logging.getLogger("xmppws.component")

# Seconds.
_HANDSHAKE_TIMEOUT: Final = 10.0
# Connections that have not shown a secret yet.
_MAX_STRANGERS: Final = 100


class NotAttached(ServiceUnavailable):
    """The component is not connected at the moment."""

    type = "wait"


class Gateway:
    """Who may attach, as `domain`; `host` lists it, with all `domains` that its stanzas come from."""

    attached = gauge("xmppws_component_attached", "Whether the component is attached.")
    received = counter("xmppws_component_received_total", "Stanzas from the component.")
    sent = counter("xmppws_component_sent_total", "Stanzas to the component.")

    def __init__(self, domain: str, options: Component, host: Host) -> None:
        self.domain = domain
        self.options = options
        self.host = host
        self.domains = frozenset({domain, *options.domains})


class Gateways:
    """The route to attached components, and the protocol factory of those who come. `pace` bounds attempts."""

    def __init__(self, gateways: Iterable[Gateway], dispatch: Dispatch, new_id: Callable[[], str], pace: Pace) -> None:
        self.known = {gateway.domain: gateway for gateway in gateways}
        self.dispatch = dispatch
        self.new_id = new_id
        self.pace = pace
        self.vocabulary = Vocabulary()
        self.checks = Checks()
        self.strangers: set[Accepted] = set()
        self._served = {domain: gateway for gateway in self.known.values() for domain in gateway.domains}
        self._attached: dict[str, Accepted] = {}

    @property
    def domains(self) -> Iterable[str]:
        """All domains of all who may attach."""
        return self._served

    def owns(self, to: Jid) -> bool:
        """Tell whether an address is at a component that may attach."""
        return to.domain in self._served

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        """Send a stanza to its component."""
        assert stanza.to is not None
        gateway = self._served[stanza.to.domain]
        stream = self._attached.get(gateway.domain)
        if stream is None:
            raise NotAttached("The service is not connected at the moment")
        gateway.sent.inc()
        return stream.send(stanza)

    def protocol(self) -> Accepted:
        """Make the protocol of a new connection."""
        return Accepted(self)

    def attached(self, gateway: Gateway, stream: Accepted) -> None:
        """Note that a component has proved itself. An older connection of it is over."""
        older = self._attached.get(gateway.domain)
        self._attached[gateway.domain] = stream
        gateway.attached.set(1)
        gateway.host.gateways.update(gateway.domains)
        if older is not None:
            older.end(StreamConflict("A newer connection took over"))

    def detached(self, gateway: Gateway, stream: Accepted) -> None:
        """Note that its connection is gone."""
        if self._attached.get(gateway.domain) is stream:
            del self._attached[gateway.domain]
            gateway.attached.set(0)
            gateway.host.gateways.difference_update(gateway.domains)

    @property
    def connected(self) -> tuple[str, ...]:
        """The domains of those who are attached."""
        return tuple(sorted(self._attached))

    def start(self) -> None:
        """Do nothing: components come by themselves."""

    async def stop(self) -> None:
        """End all connections."""
        for stream in (*self._attached.values(), *self.strangers):
            stream.end(SystemShutdown("The server is stopping"))


class Phase(Enum):
    OPENING = "opening"
    PROVING = "proving"
    ATTACHED = "attached"
    OVER = "over"


class Accepted(ComponentStream):
    """A connection of a component."""

    def __init__(self, gateways: Gateways) -> None:
        super().__init__(gateways.vocabulary, gateways.checks, max_size=4096, per_second=100)
        self._gateways = gateways
        self._gateway: Gateway | None = None
        self._phase = Phase.OPENING
        self._id = gateways.new_id()
        self._timeout: asyncio.TimerHandle | None = None
        self._address = ""
        self._domains: frozenset[str] = frozenset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else "unix"
        if len(self._gateways.strangers) >= _MAX_STRANGERS:
            transport.close()
            return
        self._gateways.strangers.add(self)
        self._timeout = asyncio.get_running_loop().call_later(_HANDSHAKE_TIMEOUT, self._too_late)

    def header(self, header_: Header) -> None:
        """Answer the header, if there is such a component (XEP-0114 section 3)."""
        if self._phase is not Phase.OPENING:
            raise BadFormat("A stream is opened once")
        self._phase = Phase.PROVING
        try:
            domain = Jid.parse(header_.to or "").text
        except InvalidJid:
            domain = ""
        self.write(header(COMPONENT, sender=domain or None, id=self._id, version=None))
        self._gateway = self._gateways.known.get(domain)
        if self._gateway is None:
            raise HostUnknown("No component of that name may attach here")

    def handshake(self, proof: str) -> None:
        """Let the component in, if it knows the secret."""
        if self._phase is not Phase.PROVING or self._gateway is None:
            raise BadFormat("A handshake follows the header, once")
        gateway = self._gateway
        facts = {"address": self._address, "user": gateway.domain, "mechanism": "component"}
        if self._gateways.pace.take(self._address):
            raise StreamPolicyViolation("Too many attempts from your address", Reason.TOO_MANY_ATTEMPTS)
        if not compare_digest(proof.encode(), digest(self._id, gateway.options.secret).encode()):
            log.warning("component %s at %s: wrong secret", gateway.domain, self._address)
            audit("login-failed", **facts, outcome="not-authorized")
            raise NotAuthorized("That is not the secret")
        self._phase = Phase.ATTACHED
        self._domains = gateway.domains
        self._known()
        self.allow(gateway.options.max_stanza_size, gateway.options.stanzas_per_second)
        self.write(handshake())
        log.info("component %s at %s is attached", gateway.domain, self._address)
        audit("login", **facts, outcome="success")
        self._gateways.attached(gateway, self)

    def stanza(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza of the component's."""
        assert stanza.sender is not None and self._gateway is not None
        if self._phase is not Phase.ATTACHED:
            raise NotAuthorized("The handshake comes first")
        if stanza.sender.domain not in self._domains:
            raise InvalidFrom("A component's stanzas come from its own domain")
        self._gateway.received.inc()
        return self._gateways.dispatch.send(stanza)

    def end(self, error: StreamError | None) -> None:
        """End the stream."""
        if self._phase is Phase.OPENING and error is not None:
            # RFC 6120 section 4.9.1.2: the header goes before an error.
            self.write(header(COMPONENT, id=self._id, version=None))
        if self._phase is not Phase.OVER:
            if error is not None and error.end.reason is not Reason.SHUTDOWN:
                log.warning("component %s at %s: %s", self._name, self._address, error.end.text)
            self._detach()
            super().end(error)

    def over(self, why: str) -> None:
        """Note that the connection is gone."""
        if self._phase is Phase.ATTACHED:
            log.info("component %s at %s is gone: %s", self._name, self._address, why)
        self._detach()

    @property
    def _name(self) -> str:
        return self._gateway.domain if self._gateway is not None else "-"

    def _too_late(self) -> None:
        self.end(ConnectionTimeout("No handshake in time", Reason.AUTH_TIMEOUT))

    def _known(self) -> None:
        self._gateways.strangers.discard(self)
        if self._timeout is not None:
            self._timeout.cancel()

    def _detach(self) -> None:
        self._known()
        if self._phase is Phase.ATTACHED and self._gateway is not None:
            self._gateways.detached(self._gateway, self)
        self._phase = Phase.OVER
