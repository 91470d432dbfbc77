"""Questions to name servers, each asked once at a time and remembered as long as its answer holds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from ipaddress import ip_address
from random import Random
from typing import Any, Final, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.nameserver
import dns.resolver
from dns.rdatatype import RdataType

from xmppws.config.upstream import nameserver
from xmppws.routers.upstream.cache import Cache
from xmppws.routers.upstream.dane import Tlsa
from xmppws.routers.upstream.errors import (
    NameServerError,
    NoAddress,
    NoNameServerAnswered,
    NoSuchName,
    UpstreamError,
)
from xmppws.routers.upstream.names import ascii_name, is_address
from xmppws.routers.upstream.targets import Service, Services, Target, choose

MAX_ENTRIES: Final = 10_000
MAX_RECORDS: Final = 100
# Seconds. RFC 8305 section 8: "Resolution Delay".
RESOLUTION_DELAY: Final = 0.05
MAX_TTL: Final = 86400.0
MAX_NEGATIVE_TTL: Final = 60.0
# Name servers that are in trouble get out of it sooner when not everybody asks them again at once.
FAILURE_TTL: Final = 3.0
# What /etc/hosts says has no time of its own.
SYSTEM_TTL: Final = 30.0


class Answer(NamedTuple):
    """What name servers said: the records, or that the name has none, or that there `exists` no such name.

    `validated` by DNSSEC: only a resolver on this machine is believed that, as nobody stands between it and us.
    """

    records: tuple[Any, ...] = ()
    validated: bool = False
    exists: bool = True


class Resolver:
    """Asks `nameservers` ("address" or "address:port"), or those of the system when there are none.

    `timeout` is in seconds, for one question with all its repetitions; `clock` gives monotonic seconds.
    """

    def __init__(self, nameservers: Sequence[str], *, timeout: float, clock: Callable[[], float]) -> None:
        self._own = bool(nameservers)
        self._asking = _resolver(nameservers)
        self._timeout = timeout
        self._cache: Cache[Answer | NameServerError] = Cache(MAX_ENTRIES, clock)
        self._under_way: dict[str, asyncio.Task[Answer | NameServerError]] = {}

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, name: str, kind: RdataType) -> Answer:
        """Return the records of a name. Raises `NameServerError`."""
        return await self._once(f"{kind.name} {name}", lambda: self._ask(name, kind))

    async def client_targets(self, domain: str, random: Random) -> tuple[Target, ...]:
        """Return where clients find the server of an XMPP domain, in the order to try them. Raises `UpstreamError`."""
        try:
            name = ascii_name(domain)
        except ValueError:
            raise NoSuchName(f"{domain!r} cannot be a name in DNS") from None
        if is_address(name):
            return choose(name, Services(), Services(), random)
        both = await asyncio.gather(
            self._services(name, "_xmpp-client", direct_tls=False),
            self._services(name, "_xmpps-client", direct_tls=True),
            return_exceptions=True,
        )
        starttls, direct = (_services(found) for found in both)
        if not starttls.records and not direct.records:
            for found in both:
                # RFC 6120 section 3.2.1: "If the initiating entity does not receive a response to its SRV query, it
                # SHOULD attempt the fallback process". A SERVFAIL is a response, and may mean forged records.
                if isinstance(found, NameServerError) and not isinstance(found, NoNameServerAnswered):
                    raise found
        return choose(name, starttls, direct, random)

    async def addresses(self, target: Target) -> AsyncGenerator[tuple[str, ...], None]:
        """Give the addresses of a target as they come, those to try first first. Raises `UpstreamError` for none."""
        if is_address(target.host):
            yield (target.host,)
        elif target.configured and not self._own:
            # A host that the sysadmin wrote may stand in /etc/hosts, or need the system's search list.
            yield (await self._once(f"system {target.host}", lambda: self._ask_system(target.host))).records
        else:
            async with aclosing(self._both_families(target.host)) as families:
                async for found in families:
                    yield found

    async def tlsa(self, host: str, port: int) -> tuple[Tlsa, ...]:
        """Return the TLSA records of a host's port that DNSSEC vouches for. Raises `NameServerError`."""
        if is_address(host):
            return ()
        answers = await asyncio.gather(self.ask(host, RdataType.AAAA), self.ask(host, RdataType.A))
        # RFC 7673 section 3.2: where the addresses are not secure, the records are not asked for.
        if not all(answer.validated for answer in answers):
            return ()
        answer = await self.ask(f"_{port}._tcp.{host}", RdataType.TLSA)
        if not answer.validated:
            return ()
        return tuple(Tlsa(each.usage, each.selector, each.mtype, each.cert) for each in answer.records)

    async def _services(self, domain: str, service: str, *, direct_tls: bool) -> Services:
        answer = await self.ask(f"{service}._tcp.{domain}", RdataType.SRV)
        return Services(
            tuple(
                Service(each.priority, each.weight, Target(_host(each.target), each.port, direct_tls, answer.validated))
                for each in answer.records
            ),
            answer.validated,
        )

    async def _both_families(self, host: str) -> AsyncGenerator[tuple[str, ...], None]:
        six = asyncio.create_task(self.ask(host, RdataType.AAAA))
        four = asyncio.create_task(self.ask(host, RdataType.A))
        try:
            await asyncio.wait({six, four}, return_when=asyncio.FIRST_COMPLETED)
            if not six.done():
                # RFC 8305 section 3: the answer for IPv6 is waited for a little.
                await asyncio.wait({six}, timeout=RESOLUTION_DELAY)
            ready, later = (four, six) if not six.done() else (six, four)
            given = False
            if later.done():
                if found := _interleaved(_records(six), _records(four)):
                    given = True
                    yield found
            else:
                for task in (ready, later):
                    await asyncio.wait({task})
                    if found := _records(task):
                        given = True
                        yield found
            if not given:
                raise _nothing(host, six, four)
        finally:
            for task in (six, four):
                task.cancel()
            await asyncio.gather(six, four, return_exceptions=True)

    async def _once(self, key: str, ask: Callable[[], Awaitable[tuple[Answer, float]]]) -> Answer:
        found = self._cache.get(key)
        if found is None:
            task = self._under_way.get(key)
            if task is None:
                task = self._under_way[key] = asyncio.create_task(self._remember(key, ask))
                task.add_done_callback(lambda _: self._under_way.pop(key, None))
            # Whoever gives up waiting does not take the answer from those who wait on.
            found = await asyncio.shield(task)
        if isinstance(found, NameServerError):
            raise found
        return found

    async def _remember(self, key: str, ask: Callable[[], Awaitable[tuple[Answer, float]]]) -> Answer | NameServerError:
        try:
            answer, ttl = await ask()
        except NameServerError as error:
            self._cache.put(key, error, FAILURE_TTL)
            return error
        self._cache.put(key, answer, min(ttl, MAX_TTL if answer.records else MAX_NEGATIVE_TTL))
        return answer

    async def _ask(self, name: str, kind: RdataType) -> tuple[Answer, float]:
        try:
            found = await self._asking.resolve(name, kind, search=False, lifetime=self._timeout)
        except dns.resolver.NXDOMAIN as none:
            (response,) = none.kwargs["responses"].values()
            # Who answered is not told with it; it is one of the servers that were asked.
            return Answer((), self._is_validated(response, None), exists=False), _ttl(response)
        except dns.resolver.NoAnswer as none:
            response = none.kwargs["response"]
            return Answer((), self._is_validated(response, None)), _ttl(response)
        except dns.exception.Timeout:
            raise NoNameServerAnswered(f"no name server answered for {name} within {self._timeout:g}s") from None
        except (dns.exception.DNSException, OSError) as error:
            raise NameServerError(f"the name servers gave no answer for {name}: {_reason(error)}") from None
        validated = self._is_validated(found.response, found.nameserver)
        return Answer(tuple(found)[:MAX_RECORDS], validated), float(found.chaining_result.minimum_ttl)

    def _is_validated(self, response: dns.message.Message, server: str | None) -> bool:
        asked = [server] if server else [_address(each) for each in self._asking.nameservers]
        return bool(response.flags & dns.flags.AD) and all(ip_address(each).is_loopback for each in asked)

    async def _ask_system(self, host: str) -> tuple[Answer, float]:
        try:
            async with asyncio.timeout(self._timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise NoNameServerAnswered(f"the system found no address of {host} within {self._timeout:g}s") from None
        except (OSError, UnicodeError) as error:
            raise NameServerError(f"the system knows no address of {host}: {_reason(error)}") from None
        addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        return Answer(addresses[:MAX_RECORDS]), SYSTEM_TTL


def _resolver(nameservers: Sequence[str]) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not nameservers)
    except dns.resolver.NoResolverConfiguration as error:
        raise NameServerError(f"the system says no name servers: {error}; set dns.nameservers") from None
    if nameservers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*nameserver(each)) for each in nameservers]
    # RFC 6840 section 5.7: AD in a question asks for AD in the answer.
    resolver.flags = dns.flags.RD | dns.flags.AD
    # The size that passes without fragments; larger answers come by TCP.
    resolver.use_edns(0, 0, 1232)
    resolver.cache = None
    return resolver


def _address(server: str | dns.nameserver.Nameserver) -> str:
    return server if isinstance(server, str) else server.answer_nameserver()


def _host(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower() or "."


def _services(found: Services | BaseException) -> Services:
    if isinstance(found, Services):
        return found
    if not isinstance(found, NameServerError):
        raise found
    return Services()


def _ttl(response: Any) -> float:
    return float(response.resolve_chaining().minimum_ttl)


def _records(task: asyncio.Task[Answer]) -> tuple[str, ...]:
    if task.exception() is not None:
        return ()
    return tuple(record.address for record in task.result().records)


def _interleaved(six: Sequence[str], four: Sequence[str]) -> tuple[str, ...]:
    """Return addresses of both families in turn: RFC 8305 section 4."""
    longest = max(len(six), len(four))
    return tuple(family[index] for index in range(longest) for family in (six, four) if index < len(family))


def _nothing(host: str, *tasks: asyncio.Task[Answer]) -> UpstreamError:
    for task in tasks:
        if isinstance(error := task.exception(), UpstreamError):
            return error
    if any(task.result().exists for task in tasks):
        return NoAddress(f"{host} has no address in DNS, neither A nor AAAA")
    return NoSuchName(f"there is no name {host} in DNS (NXDOMAIN)")


def _reason(error: Exception) -> str:
    if isinstance(error, dns.resolver.NoNameservers):
        return "; ".join(f"{server}: {_text(reason)}" for server, _, _, reason, _ in error.kwargs["errors"])
    return str(error.strerror) if isinstance(error, socket.gaierror) else _text(error)


def _text(reason: object) -> str:
    return str(reason) or type(reason).__name__
