"""Connecting to one of several targets, in bounded time: happy eyeballs over their addresses, and over them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from xmppws.routers.upstream.dns import Resolver
from xmppws.routers.upstream.errors import Failure, Unreachable, Untrusted, UpstreamError
from xmppws.routers.upstream.names import ascii_name
from xmppws.routers.upstream.race import Attempt, race
from xmppws.routers.upstream.targets import Target
from xmppws.routers.upstream.tls import ClientTls, Expected, Gate

# Seconds. RFC 8305 section 8: "Connection Attempt Delay".
ATTEMPT_DELAY: Final = 0.25
# A target of lower priority or less luck gets its turn no sooner than TCP says a lost packet again.
TARGET_DELAY: Final = 1.0
MAX_ADDRESSES: Final = 8

T = TypeVar("T")
P = TypeVar("P", bound=asyncio.Protocol)
# The first bytes of a connection, before TLS: a PROXY header.
Preface = Callable[[asyncio.Transport], bytes]


class Dialled(NamedTuple, Generic[P]):
    """A connection: TLS is there, and checked, when `target.direct_tls`; for STARTTLS, `expected` is who to check for.

    `others` are the targets left to try; `failures` are what failed on the way.
    """

    transport: asyncio.Transport
    protocol: P
    target: Target
    expected: Expected
    others: tuple[Target, ...]
    failures: tuple[Failure, ...]


async def dial(
    targets: Sequence[Target],
    make_protocol: Callable[[], P],
    *,
    domain: str,
    resolver: Resolver,
    tls: ClientTls,
    connect_timeout: float,
    preface: Preface | None = None,
) -> Dialled[P]:
    """Connect to the first target that can be reached, within `connect_timeout` seconds. Raises `Unreachable`.

    `connection_made` is called for the connection that is returned alone.
    """
    dialling = _Dialling(domain, resolver, tls, preface)
    others = tuple(targets)
    try:
        async with asyncio.timeout(connect_timeout):
            while reached := await race(dialling.targets(others), TARGET_DELAY, _Reached.abort):
                others = others[others.index(reached.target) + 1 :]
                if (protocol := dialling.handed_over(reached, make_protocol)) is not None:
                    found = tuple(dialling.failures)
                    return Dialled(reached.transport, protocol, reached.target, reached.expected, others, found)
    except TimeoutError:
        pass
    raise Unreachable(domain, dialling.failures)


class _Reached(NamedTuple):
    target: Target
    transport: asyncio.Transport
    gate: Gate
    expected: Expected

    def abort(self) -> None:
        self.transport.abort()


class _Dialling:
    """One call of `dial`; `failures` grow while it goes on."""

    def __init__(self, domain: str, resolver: Resolver, tls: ClientTls, preface: Preface | None) -> None:
        self.failures: list[Failure] = []
        self._domain = domain
        self._resolver = resolver
        self._tls = tls
        self._preface = preface

    async def targets(self, targets: Sequence[Target]) -> AsyncGenerator[Attempt[_Reached], None]:
        for target in targets:
            yield partial(self._reach, target)

    def handed_over(self, reached: _Reached, make_protocol: Callable[[], P]) -> P | None:
        """Let a protocol of its own take the connection over, unless that has gone wrong since."""
        protocol = make_protocol()
        try:
            reached.gate.pass_on(reached.transport, protocol)
        except UpstreamError as error:
            reached.abort()
            self._note(str(reached.target), error)
            return None
        protocol.connection_made(reached.transport)
        return protocol

    async def _reach(self, target: Target) -> _Reached | None:
        addresses = self._unix(target) if target.path else self._addresses(target)
        transport = await race(addresses, ATTEMPT_DELAY, asyncio.Transport.abort)
        if transport is None:
            return None
        return await self._noted(str(target), self._secure(target, transport))

    async def _unix(self, target: Target) -> AsyncGenerator[Attempt[asyncio.Transport], None]:
        yield lambda: self._noted(str(target), self._connect_unix(target.path))

    async def _addresses(self, target: Target) -> AsyncGenerator[Attempt[asyncio.Transport], None]:
        """Give an attempt for each address; a name without any is a failure of its own."""
        left = MAX_ADDRESSES
        async with aclosing(self._resolver.addresses(target)) as batches:
            while addresses := await self._noted(str(target), anext(batches, None)):
                for address in islice(addresses, left):
                    left -= 1
                    where = str(target) if address == target.host else f"{target} at {address}"
                    yield partial(self._noted_connect, where, address, target.port)

    async def _noted_connect(self, where: str, address: str, port: int) -> asyncio.Transport | None:
        return await self._noted(where, self._connect(address, port))

    async def _noted(self, where: str, attempt: Awaitable[T]) -> T | None:
        """Return what an attempt brings; keep its failure, also when it has to end before it has one."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return await attempt
        except asyncio.CancelledError:
            self._note(where, UpstreamError(f"no answer within {clock() - began:.1f}s"))
            raise
        except UpstreamError as error:
            self._note(where, error)
        except OSError as error:
            self._note(where, UpstreamError(_sentence(error)))
        return None

    def _note(self, where: str, error: UpstreamError) -> None:
        self.failures.append(Failure(where, error))

    async def _connect(self, address: str, port: int) -> asyncio.Transport:
        transport, _ = await asyncio.get_running_loop().create_connection(Gate, address, port)
        return transport

    async def _connect_unix(self, path: str) -> asyncio.Transport:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(Gate, path)
        return transport

    async def _secure(self, target: Target, transport: asyncio.Transport) -> _Reached:
        gate = transport.get_protocol()
        assert isinstance(gate, Gate)
        try:
            expected = await self._expected(target)
            gate.check()
            if self._preface:
                transport.write(self._preface(transport))
            if target.direct_tls:
                gate = Gate()
                transport = await self._tls.secure(transport, gate, expected, direct=True)
        except BaseException:
            transport.abort()
            raise
        return _Reached(target, transport, gate, expected)

    async def _expected(self, target: Target) -> Expected:
        try:
            domain = ascii_name(self._domain)
        except ValueError as error:
            raise Untrusted(f"{self._domain} cannot be a name in a certificate: {error}") from None
        if not target.validated:
            return Expected(domain)
        # RFC 7671 section 4: when the records cannot be looked up, the server is not to be used: `tlsa` raises.
        return Expected(domain, target.host, await self._resolver.tlsa(target.host, target.port))


def _sentence(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
