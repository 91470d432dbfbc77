"""Which servers to try, and in which order: SRV records (RFC 2782, RFC 6120 section 3.2, XEP-0368)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final, NamedTuple

from xmppws.routers.upstream.errors import NotOffered

XMPP_CLIENT_PORT: Final = 5222
ROOT: Final = "."
# Further ones would not be reached in time.
MAX_TARGETS: Final = 10


class Target(NamedTuple):
    """A server to try: `host` (a name in A-labels, or an address) and `port`, or the `path` of a Unix socket.

    `validated` tells that DNSSEC vouches for the way from the domain to the host. A `configured` host may have its
    address from where this machine has addresses, such as /etc/hosts.
    """

    host: str = ""
    port: int = 0
    direct_tls: bool = False
    validated: bool = False
    configured: bool = False
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"unix:{self.path}" if self.path else f"{host}:{self.port}"
        return f"{where} (direct TLS)" if self.direct_tls else where


class Service(NamedTuple):
    """A SRV record."""

    priority: int
    weight: int
    target: Target


class Services(NamedTuple):
    """The SRV records of one service of a domain; `validated` by DNSSEC, also that there are none."""

    records: tuple[Service, ...] = ()
    validated: bool = False

    @property
    def is_refused(self) -> bool:
        """Tell whether the service is "decidedly not available at this domain" (RFC 2782)."""
        return bool(self.records) and all(record.target.host == ROOT for record in self.records)


def choose(domain: str, starttls: Services, direct: Services, random: Random) -> tuple[Target, ...]:
    """Return the targets of a domain in the order to try them. Raises `NotOffered`."""
    # XEP-0368 section 3: "Both 'xmpp-' and 'xmpps-' records SHOULD be treated as the same record with regard to
    # connection order as specified by RFC 2782, in that all priorities and weights are mixed."
    records = [each for each in (*starttls.records, *direct.records) if each.target.host != ROOT]
    if records:
        return tuple(order(records, random)[:MAX_TARGETS])
    if starttls.is_refused or direct.is_refused:
        # XEP-0368 section 5: "The initiating party MUST NOT perform A/AAAA fallback"
        raise NotOffered(f'{domain} offers no service to XMPP clients: its SRV record has the target "."')
    return (Target(domain, XMPP_CLIENT_PORT, validated=starttls.validated and direct.validated),)


def order(services: Iterable[Service], random: Random) -> list[Target]:
    """Return the targets by priority, and within a priority at random by weight."""
    by_priority: dict[int, list[Service]] = {}
    for service in services:
        by_priority.setdefault(service.priority, []).append(service)
    return [target for priority in sorted(by_priority) for target in _by_weight(by_priority[priority], random)]


def _by_weight(services: Sequence[Service], random: Random) -> Iterable[Target]:
    # RFC 2782: "in any order, except that all those with weight 0 are placed at the beginning of the list"
    left = sorted(random.sample(services, len(services)), key=lambda service: service.weight != 0)
    while left:
        # "choose a uniform random number between 0 and the sum computed (inclusive), and select the RR whose running
        # sum value is the first in the selected order which is greater than or equal to the random number selected"
        number = random.randint(0, sum(service.weight for service in left))
        index = _first_reaching(number, left)
        yield left.pop(index).target


def _first_reaching(number: int, services: Sequence[Service]) -> int:
    running = 0
    for index, service in enumerate(services):
        running += service.weight
        if running >= number:
            return index
    raise AssertionError("the number is not above the sum")
