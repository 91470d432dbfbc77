"""Where the server listens: the short and the long form of the configuration become sockets."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from xmppws.config import Address, Host, Http, address
from xmppws.http.accepted import Admission, acceptor
from xmppws.http.peers import Peers
from xmppws.http.preface import Preface
from xmppws.http.sockets import DEFAULT_MODE, ListenError, Sockets
from xmppws.http.tls import Certificate, CertificateError, Certificates
from xmppws.http.vhosts import split_host

log = logging.getLogger("xmppws.listeners")

TLS_PORT: Final = 5281


@dataclass(frozen=True, slots=True)
class Planned:
    """A listener to be opened. `option` is where the configuration asks for it."""

    option: str
    address: Address
    tls: bool = False
    certificate: Certificate | None = None
    proxy_protocol: bool = False
    mode: int = DEFAULT_MODE


class Bound(NamedTuple):
    """An address that is listened on."""

    address: Address
    tls: bool

    def __str__(self) -> str:
        return f"{self.address} (TLS)" if self.tls else str(self.address)


def plan(http: Http, hosts: Mapping[str, Host]) -> list[Planned]:
    """Return what the configuration asks for: `http.listen`, its addresses with TLS, `http.listeners`."""
    short = [Planned("http.listen", address(entry)) for entry in http.listen]
    long = [
        Planned(
            f"http.listeners[{index}]",
            address(each.address),
            tls=each.tls,
            certificate=Certificate(each.certificate, each.key) if each.certificate else None,
            proxy_protocol=each.proxy_protocol,
            mode=int(each.mode, 8),
        )
        for index, each in enumerate(http.listeners)
    ]
    certified = any(host.certificate for host in hosts.values())
    if certified and not any(each.tls for each in long):
        short += _with_tls(short)
    return short + long


def _with_tls(short: list[Planned]) -> Iterator[Planned]:
    """Give the TCP addresses again, on the port for TLS. Port 0 is any free one there too."""
    plain = [each.address for each in short if not each.address.path and not each.address.name]
    for secured in dict.fromkeys(Address(where.host, TLS_PORT if where.port else 0) for where in plain):
        if secured.port and secured in plain:
            log.warning("http.listen: %s is listened on without TLS, although a host has a certificate", secured)
        else:
            yield Planned("http.listen", secured, tls=True)


def certificates_by_name(hosts: Mapping[str, Host]) -> dict[str, Certificate]:
    """Return the certificates of hosts by their XMPP domain and their HTTP names."""
    found: dict[str, Certificate] = {}
    for domain, host in hosts.items():
        if host.certificate:
            for name in (domain, *host.http_host):
                found.setdefault(_server_name(name), Certificate(host.certificate, host.key))
    return found


def _server_name(name: str) -> str:
    # An IPv6 address is no server name (RFC 6066 section 3), so its form is of no importance.
    return name if name.count(":") > 1 else split_host(name)[0]


class Listeners:
    """The HTTP listeners, and what is made of the connections they accept.

    `make` makes aiohttp's protocols, `by_name` are the hosts' certificates; `bound` is where it listens.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        admission: Admission,
        peers: Peers,
        sockets: Sockets,
        *,
        by_name: Mapping[str, Certificate],
        close_timeout: float,
    ) -> None:
        self._make = make
        self._admission = admission
        self._peers = peers
        self._sockets = sockets
        self._by_name = by_name
        self._close_timeout = close_timeout
        self._certificates: dict[Certificate, Certificates] = {}
        self._unfinished: set[Preface] = set()
        self.bound: list[Bound] = []

    async def open(self, planned: Iterable[Planned]) -> None:
        """Listen on all of them. Raises `ListenError`."""
        for each in planned:
            factory, tls = self._factory(each)
            found = await self._sockets.listen(each.option, each.address, factory, mode=each.mode, **tls)
            self.bound += [Bound(where, each.tls) for where in found]

    async def reload(self) -> None:
        """Read the certificates again for the handshakes to come."""
        for each in self._certificates.values():
            each.reload()

    def close(self) -> None:
        """Drop the connections that are not HTTP yet; the others are aiohttp's to close, or the endpoint's."""
        for preface in tuple(self._unfinished):
            preface.abort()

    def _factory(self, planned: Planned) -> tuple[Callable[[], asyncio.BaseProtocol], dict[str, Any]]:
        """Return what takes a connection, and what `create_server` has to know of TLS."""
        context = self._context(planned) if planned.tls else None
        if planned.proxy_protocol:
            # The PROXY header stands before the TLS handshake, so TLS is begun behind it.
            make, admission, peers, unfinished = self._make, self._admission, self._peers, self._unfinished
            return lambda: Preface(make, admission, peers, context=context, unfinished=unfinished), {}
        accept = acceptor(self._make, self._admission)
        if context is None:
            return accept, {}
        return accept, {
            "ssl": context,
            "ssl_handshake_timeout": self._admission.timeout,
            "ssl_shutdown_timeout": self._close_timeout,
        }

    def _context(self, planned: Planned) -> ssl.SSLContext:
        default = planned.certificate or next(iter(self._by_name.values()), None)
        if default is None:
            raise ListenError(f"{planned.option}: TLS needs a certificate, here or in a host")
        if default not in self._certificates:
            try:
                self._certificates[default] = Certificates(default, self._by_name)
            except CertificateError as error:
                raise ListenError(f"{planned.option}: {error}") from None
        return self._certificates[default].context
