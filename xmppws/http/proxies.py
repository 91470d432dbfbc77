"""Who the client is behind reverse proxies, and whether its stream counts as secure.

Every forwarding header can be written by the client itself; only what a trusted peer appended at the right end is
known. So the list of hops is read from the right, up to the first address that is not a trusted proxy.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from multidict import CIMultiDictProxy

from xmppws.http.shown import shown

MAX_HOPS = 32
MAX_HOP_LENGTH = 64  # the longest address, in brackets and with a port, has 53 characters
MAX_ELEMENT_LENGTH = 512
_LONGEST_ADDRESS = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

UNIX = "unix"
X_FORWARDED_FOR = "x-forwarded-for"
FORWARDED = "forwarded"
_NAMES = {X_FORWARDED_FOR: "X-Forwarded-For", FORWARDED: "Forwarded"}

Address = IPv4Address | IPv6Address
Headers = CIMultiDictProxy[str]

# The port is of no use here, but it may be obfuscated: RFC 7239 section 6.
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:\d{1,5}|_[\w.-]+))?", re.ASCII)
# More lenient than RFC 7239 section 4 in one way: addresses with ports often come without their quotes.
_PAIR = re.compile(r"""([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;=]+))""", re.ASCII)
_ELEMENT = re.compile(rf"{_PAIR.pattern}(?:\s*;\s*{_PAIR.pattern})*\s*;?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Client:
    """What is known about the other end of a request.

    `address` is an IP address, or "unix" when only a Unix socket is known. `uncertain`: a hop could not be read, so the
    address may be a proxy's. `declared`: secure only because consider_websocket_secure says so. `how` tells in one
    sentence where address and secure come from; `notes` are worth a warning.
    """

    address: str
    secure: bool
    uncertain: bool
    how: str
    notes: tuple[str, ...] = ()
    declared: bool = False

    @property
    def network(self) -> str:
        """What limits count by: the address, or of an IPv6 address its /64 network, all of which is one customer's."""
        ip = parse_address(self.address)
        return str(ip_network((ip, 64), strict=False)) if isinstance(ip, IPv6Address) else self.address


class _Hop(NamedTuple):
    text: str
    proto: str = ""


class _Origin(NamedTuple):
    address: str
    how: str
    unreadable: str = ""


class Networks:
    """Addresses and CIDR networks to look up addresses in; raises ValueError, naming an entry that is neither."""

    __slots__ = ("_addresses", "_networks")

    def __init__(self, entries: Iterable[str]) -> None:
        networks = [_network(entry) for entry in entries]
        self._addresses = frozenset(n.network_address for n in networks if n.prefixlen == n.max_prefixlen)
        self._networks = tuple(n for n in networks if n.prefixlen < n.max_prefixlen)

    def __contains__(self, ip: Address | None) -> bool:
        return ip is not None and (ip in self._addresses or any(ip in network for network in self._networks))


class Trust:
    """Decide about clients by the configured trusted proxies.

    Raises ValueError, naming the entry, for one that is neither an address, nor a CIDR network, nor "unix".
    """

    __slots__ = ("_consider_secure", "_header", "_networks", "_unix")

    def __init__(
        self, trusted: Sequence[str], *, forwarded_header: str = X_FORWARDED_FOR, consider_secure: bool = False
    ) -> None:
        if forwarded_header not in _NAMES:
            raise ValueError(f"forwarded_header: {forwarded_header!r} is neither {X_FORWARDED_FOR!r} nor {FORWARDED!r}")
        self._networks = Networks(entry for entry in trusted if entry != UNIX)
        self._unix = UNIX in trusted
        self._header = forwarded_header
        self._consider_secure = consider_secure

    def trusts(self, peer: str | None) -> bool:
        """Tell whether a peer, None for a Unix socket, is a trusted proxy."""
        return self._unix if peer is None else parse_address(peer) in self._networks

    def resolve(
        self,
        peer: str | None,
        headers: Headers,
        *,
        tls: bool,
        proxy_source: str | None = None,
        proxy_tls: bool | None = None,
    ) -> Client:
        """Return who sent a request.

        `peer` is the address of the TCP peer, None for a Unix socket; `tls` tells whether TLS ends here. `proxy_source`
        and `proxy_tls` come from a PROXY protocol header; from a peer that is not trusted they do not count.
        """
        ip = None if peer is None else parse_address(peer)
        origin = _Origin(_text(peer, ip), "the address of the peer")
        trusted = self.trusts(peer)
        if proxy_source is not None and not trusted:
            note = f"PROXY protocol from {origin.address} ignored: the address is not in trusted_proxies"
            return self._client(origin, _ours(tls), (note, *_ignored(headers, origin.address)))
        if proxy_source is not None:
            ip = parse_address(proxy_source)
            origin = _Origin(_text(proxy_source, ip), f"the source in the PROXY header of {origin.address}")
            trusted = ip in self._networks
        ended = "the proxy ended TLS, says its PROXY header" if proxy_tls else ""
        if not trusted:
            return self._client(origin, ended or _ours(tls), _ignored(headers, origin.address))
        return self._forwarded(origin, headers, ended, tls)

    def _forwarded(self, peer: _Origin, headers: Headers, ended: str, tls: bool) -> Client:
        hops = _hops(self._header, headers)
        origin = self._walk(hops, peer)
        proto = self._proto(self._header, hops, headers)
        if not ended and proto in ("https", "wss"):
            ended = f"{self._proto_name} is {proto}"
        if not ended and tls and not _forwarding_headers(headers):
            # Nothing says that this peer passes on a request of someone else, so the TLS that ends here is its own.
            ended = _ours(tls)
        notes = (
            *_unreadable(origin, self._header),
            *self._conflicts(origin, proto, peer, headers),
            *_real_ip_only(hops, headers),
        )
        return self._client(origin, ended, notes)

    @property
    def _proto_name(self) -> str:
        return "X-Forwarded-Proto" if self._header == X_FORWARDED_FOR else "proto in Forwarded"

    def _walk(self, hops: list[_Hop], peer: _Origin) -> _Origin:
        """Go through the hops, nearest first, to the first address that is not trusted."""
        address = peer.address
        for hop in hops:
            ip = _hop_address(hop.text)
            if ip is None:
                return _Origin(address, f"the last hop that could be read, through {peer.address}", hop.text)
            address = str(ip)
            if ip not in self._networks:
                return _Origin(address, f"{_NAMES[self._header]} of the trusted proxy {peer.address}")
        if not hops:
            return peer
        if len(hops) == MAX_HOPS:
            return _Origin(address, f"the last of {MAX_HOPS} hops, through {peer.address}", "too many hops")
        return _Origin(address, f"the left-most hop, all being trusted, through {peer.address}")

    def _proto(self, header: str, hops: list[_Hop], headers: Headers) -> str:
        """Return how the client reached the nearest proxy, in lower case, or ""."""
        if header == FORWARDED:
            return hops[0].proto if hops else ""
        return next(_from_the_right(headers.getall("X-Forwarded-Proto", ())), "").lower()

    def _conflicts(self, origin: _Origin, proto: str, peer: _Origin, headers: Headers) -> Iterator[str]:
        other = FORWARDED if self._header == X_FORWARDED_FOR else X_FORWARDED_FOR
        hops = _hops(other, headers)
        other_proto = self._proto(other, hops, headers)
        counts, ignored = _NAMES[self._header], _NAMES[other]
        if hops and self._walk(hops, peer).address != origin.address:
            yield f"{ignored} through {peer.address} contradicts {counts} or stands alone; {counts} counts"
        if proto and other_proto and other_proto != proto:
            yield f"Forwarded and X-Forwarded-Proto through {peer.address} differ; forwarded_header = {self._header!r}"

    def _client(self, origin: _Origin, ended: str, notes: tuple[str, ...]) -> Client:
        declared = not ended and self._consider_secure
        if ended:
            why = f"secure: {ended}"
        elif declared:
            why = "secure: consider_websocket_secure says so"
        else:
            why = "not secure: neither TLS here nor a trusted proxy that says https"
        return Client(
            address=origin.address,
            secure=bool(ended) or declared,
            uncertain=bool(origin.unreadable),
            how=f"{origin.address} is {origin.how}; {why}",
            notes=notes,
            declared=declared,
        )


def parse_address(text: str) -> Address | None:
    """Read an IP address: without the zone of an IPv6 one, and an IPv4-mapped one as IPv4."""
    if ":" in text:
        text = text.partition("%")[0]
    return _parse_address(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(4096)
def _parse_address(text: str) -> Address | None:
    try:
        ip = ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(entry)
    except ValueError as error:
        rule = 'an address, a CIDR network such as 10.0.0.0/8, or "unix"'
        raise ValueError(f"trusted_proxies: {entry!r} is not {rule}: {error}") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


def _text(peer: str | None, ip: Address | None) -> str:
    if peer is None:
        return UNIX
    return str(ip) if ip is not None else shown(peer)


def _ours(tls: bool) -> str:
    return "TLS ends here" if tls else ""


def _from_the_right(lines: Sequence[str]) -> Iterator[str]:
    """Give the elements of a list header, the last one of the last line first.

    Commas inside quotes split as well: an element a client left with an open quote must not swallow what the proxy
    appended after it, and no address has a comma.
    """
    # RFC 9110 section 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements"
    for line in reversed(lines[-MAX_HOPS:]):
        for element in reversed(line.rsplit(",", MAX_HOPS)):
            if stripped := element.strip():
                yield stripped


def _hops(header: str, headers: Headers) -> list[_Hop]:
    """Return the hops of a forwarding header, nearest first, at most MAX_HOPS."""
    hops = []
    for element in _from_the_right(headers.getall(header, ())):
        hops.append(_Hop(element) if header == X_FORWARDED_FOR else _forwarded_hop(element))
        if len(hops) == MAX_HOPS:
            break
    return hops


def _forwarded_hop(element: str) -> _Hop:
    """Read one element of Forwarded, RFC 7239 section 4."""
    if len(element) > MAX_ELEMENT_LENGTH or not _ELEMENT.fullmatch(element):
        return _Hop(element)
    values: dict[str, str] = {}
    for name, quoted, token in _PAIR.findall(element):
        # RFC 7239 section 4: "Each parameter MUST NOT occur more than once per field-value."
        if name.lower() in values:
            return _Hop(element)
        values[name.lower()] = token or re.sub(r"\\(.)", r"\1", quoted)
    return _Hop(values.get("for") or element, values.get("proto", "").lower())


def _hop_address(text: str) -> Address | None:
    if len(text) > MAX_HOP_LENGTH:
        return None
    if match := _HOST_PORT.fullmatch(text):
        return parse_address(match[1] or match[2])
    return parse_address(text)


def _forwarding_headers(headers: Headers) -> list[str]:
    names = ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded")
    return [name for name in names if name in headers]


def _ignored(headers: Headers, address: str) -> tuple[str, ...]:
    if not (names := _forwarding_headers(headers)):
        return ()
    return (f"{', '.join(names)} from {address} ignored: the address is not in trusted_proxies",)


def _unreadable(origin: _Origin, header: str) -> Iterator[str]:
    if origin.unreadable:
        yield f"{_NAMES[header]} has a hop that is no address: {shown(origin.unreadable)!r}; {origin.address} counts"


def _real_ip_only(hops: list[_Hop], headers: Headers) -> Iterator[str]:
    if not hops and "X-Real-IP" in headers:
        yield "X-Real-IP is ignored: let the proxy set X-Forwarded-For"
