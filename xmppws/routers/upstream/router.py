"""The router `upstream`: the accounts of its host are on an XMPP server behind, which does everything but WebSocket."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from time import monotonic
from typing import Final, TypeVar

from xmppws.config.checks import Address, address
from xmppws.config.upstream import Upstream, is_near
from xmppws.core.metrics import counter, gauge
from xmppws.core.router import Request, Stream
from xmppws.core.traffic import Traffic
from xmppws.errors import Reason, SeeOtherUri, StreamResourceConstraint
from xmppws.jid import Jid
from xmppws.routers.upstream import translate
from xmppws.routers.upstream.dial import Dialled, dial
from xmppws.routers.upstream.dns import Resolver
from xmppws.routers.upstream.errors import Failure, Unreachable, UpstreamError
from xmppws.routers.upstream.greeting import Greeting, SeeOtherHost, greet, start_tls
from xmppws.routers.upstream.link import Link
from xmppws.routers.upstream.outliers import Outliers
from xmppws.routers.upstream.proxy import proxy_header
from xmppws.routers.upstream.relay import Relay
from xmppws.routers.upstream.targets import XMPP_CLIENT_PORT, Target
from xmppws.routers.upstream.tls import ClientTls
from xmppws.stream.framing import Open
from xmppws.stream.tcp_check import Checks
from xmppws.stream.tcp_plain import Plain
from xmppws.xml.parser import Element, Vocabulary

log = logging.getLogger("xmppws.upstream")

T = TypeVar("T")
Parse = Callable[[bytes], Element]

# How often a server may send a client on to the next before it is let in.
_MAX_HOPS: Final = 3
# Clients that were sent elsewhere after they had logged in, and have not come back yet.
_MAX_MOVED: Final = 1000
_HOST_AND_PORT: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]/\s]{1,253}))(?::([0-9]{1,5}))?").fullmatch


class UpstreamRouter:
    """Relays the streams of one host. Raises `UpstreamError` for files that cannot be used."""

    connections = gauge("xmppws_upstream_connections", "Connections to the server behind, with those that begin.")
    failures = counter("xmppws_upstream_failures_total", "Clients that no server behind could be found for.")
    ejected = gauge("xmppws_upstream_ejected", "Servers that are tried last now, because they failed.")
    to_server = counter("xmppws_upstream_sent_total", "Elements of clients that were sent to the server behind.")
    to_clients = counter("xmppws_upstream_received_total", "Elements of the server behind that were sent to clients.")

    def __init__(
        self, domain: str, options: Upstream, resolver: Resolver, new_id: Callable[[], str], *, max_depth: int
    ) -> None:
        self.domain = domain
        self.jid = Jid.parse(domain)
        self.new_id = new_id
        self.traffic = Traffic()
        self.mechanisms: set[str] = set()
        """Mechanisms that the server has offered: names for metrics."""
        self.vocabulary = Vocabulary()
        self.plain = Plain(max_depth)
        self._options = options
        self._resolver = resolver
        self._random = Random()
        self._checks = Checks()
        self._outliers = Outliers(monotonic)
        self._configured = tuple(_target(each, options) for each in options.address)
        self._moved: dict[str, Target] = {}
        self._tls = self._read_tls()

    def accept(self, stream: Stream, request: Request) -> Relay:
        """Make the handler of a new stream."""
        return Relay(self, stream, f"wss://{request.headers.get('host', self.domain)}{request.path}")

    def reload(self) -> None:
        """Read the files for TLS again; where that fails, what was read before stays."""
        try:
            self._tls = self._read_tls()
        except UpstreamError as error:
            log.error("hosts.%s.upstream: %s", self.domain, error)

    def moved(self, client: str, where: str, own_url: str) -> SeeOtherUri:
        """Return what sends a client here again, and remember which server it is to be connected to then."""
        if (target := self._other(where)) is not None:
            if len(self._moved) >= _MAX_MOVED:
                del self._moved[next(iter(self._moved))]
            self._moved[client] = target
        return SeeOtherUri(own_url, "Connect again, to be sent to another server")

    async def connect(self, stream: Stream, open: Open, parse: Parse) -> tuple[Link, Greeting]:
        """Connect a client to the first server that greets it, TLS included.

        Raises `UpstreamError`, and `StreamResourceConstraint` when there are too many connections. A connection
        counts until `connections` is lowered.
        """
        if self.connections.value >= self._options.max_connections:
            raise StreamResourceConstraint("The server of this domain has too many clients", Reason.UPSTREAM_FULL)
        self.connections.inc()
        try:
            return await self._connect(stream, open, parse)
        except BaseException:
            self.connections.dec()
            self.failures.inc()
            raise

    async def restart(self, link: Link, open: Open, parse: Parse) -> Greeting:
        """Open the stream of a connection anew, after the log-in. Raises `UpstreamError`."""
        link.restart()
        greeting = greet(link, domain=self.domain, lang=open.lang, parse=parse)
        return await _within(self._options.connect_timeout, greeting, "no greeting")

    async def _connect(self, stream: Stream, open: Open, parse: Parse) -> tuple[Link, Greeting]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._options.connect_timeout
        failures: list[Failure] = []
        hops = 0
        targets = await _within(self._options.connect_timeout, self._targets(stream.address), "no answer of DNS")
        while targets:
            dialled = await self._dial(targets, stream, failures, deadline - clock())
            left = deadline - clock()
            # Who takes the connection and then says nothing leaves time for the next.
            seconds = left / 2 if dialled.others else left
            try:
                greeting = await _within(seconds, self._greet(dialled, open, parse), "no greeting")
            except SeeOtherHost as error:
                dialled.protocol.abort()
                hops += 1
                other = self._other(error.where) if hops <= _MAX_HOPS else None
                failures.append(Failure(str(dialled.target), error))
                targets = dialled.others if other is None else (other, *dialled.others)
            except UpstreamError as error:
                dialled.protocol.abort()
                self._outliers.failed(dialled.target)
                failures.append(Failure(str(dialled.target), error))
                targets = dialled.others
            except BaseException:
                dialled.protocol.abort()
                raise
            else:
                self._outliers.worked(dialled.target)
                return dialled.protocol, greeting
        raise Unreachable(self.domain, failures)

    async def _targets(self, client: str) -> tuple[Target, ...]:
        found = self._configured or await self._resolver.client_targets(self.domain, self._random)
        moved = self._moved.pop(client, None)
        self.ejected.set(self._outliers.out)
        return (*([moved] if moved is not None else []), *self._outliers.sorted(found))

    async def _dial(
        self, targets: tuple[Target, ...], stream: Stream, failures: list[Failure], seconds: float
    ) -> Dialled[Link]:
        version = self._options.proxy_protocol
        try:
            dialled = await dial(
                targets,
                partial(Link, self._options.max_stanza_size, self._checks),
                domain=self.domain,
                resolver=self._resolver,
                tls=self._tls,
                connect_timeout=seconds,
                preface=partial(_preface, version, stream.address) if version else None,
            )
        except Unreachable as error:
            for target in targets:
                self._outliers.failed(target)
            raise Unreachable(self.domain, [*failures, *error.failures]) from None
        failures += dialled.failures
        for target in targets[: targets.index(dialled.target)]:
            self._outliers.failed(target)
        return dialled

    async def _greet(self, dialled: Dialled[Link], open: Open, parse: Parse) -> Greeting:
        link, lang = dialled.protocol, open.lang
        greeting = await greet(link, domain=self.domain, lang=lang, parse=parse)
        if not dialled.target.direct_tls and self._options.tls != "none":
            await start_tls(link, greeting.features, dialled.expected, self._tls, parse)
            greeting = await greet(link, domain=self.domain, lang=lang, parse=parse)
        _check_mechanisms(greeting.features)
        return greeting

    def _other(self, where: str) -> Target | None:
        """Return the server that a `see-other-host` names, None if we would not connect to it."""
        found = _HOST_AND_PORT(where)
        if found is None:
            return None
        port = int(found[3] or XMPP_CLIENT_PORT)
        target = Target(found[1] or found[2], port, direct_tls=self._options.tls == "direct", configured=True)
        is_allowed = 0 < port < 65536 and (self._options.tls != "none" or is_near(Address(target.host, port)))
        return target if is_allowed else None

    def _read_tls(self) -> ClientTls:
        options = self._options
        return ClientTls(options.ca_file, options.certificate, options.key)


async def _within(seconds: float, awaited: Awaitable[T], what: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await awaited
    except TimeoutError:
        raise UpstreamError(f"{what} in {seconds:.1f}s") from None


def _check_mechanisms(features: Element) -> None:
    fit, unfit = translate.mechanisms(features)
    if not fit:
        only = f"only {', '.join(unfit)}" if unfit else "no way to log in"
        raise UpstreamError(f"it offers {only}, which browsers cannot use; does it want TLS?")


def _preface(version: str, client: str, transport: asyncio.Transport) -> bytes:
    server = transport.get_extra_info("peername")
    # A Unix socket has a path there, or nothing.
    return proxy_header(version, client, server[:2] if isinstance(server, tuple) else ("", 0))


def _target(text: str, options: Upstream) -> Target:
    where = address(text)
    return Target(where.host, where.port, direct_tls=options.tls == "direct", configured=True, path=where.path)
