"""Which virtual host a request means: the Host header of HTTP first, then `to` of the XMPP stream."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import ClassVar

import idna

from xmppws import errors
from xmppws.http.causes import Cause
from xmppws.http.shown import shown
from xmppws.jid import InvalidJid, Jid

AUTO = "auto"
MAX_HOST_LENGTH = 300  # a domain name has at most 253 characters
MAX_NAMES_TOLD = 100

# RFC 9110 section 7.2: Host = uri-host [ ":" port ]
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]\\<>\"%,]+)(:[0-9]*)?")


class HostRefused(Exception):
    """A request whose Host header leads to no virtual host; `status` and the sentence are the HTTP answer."""

    cause: ClassVar[Cause]
    status: ClassVar[int] = 400

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class HostMissing(HostRefused):
    """RFC 9112 section 3.2: 400 for a request that lacks a Host header."""

    cause = Cause.NO_HOST


class HostDoubled(HostRefused):
    """RFC 9112 section 3.2: 400 for a request with more than one Host header."""

    cause = Cause.TWO_HOSTS


class HostMalformed(HostRefused):
    """RFC 9112 section 3.2: 400 for a Host header with an invalid value."""

    cause = Cause.BAD_HOST


class HostUnknown(HostRefused):
    """No virtual host has this name."""

    cause = Cause.HOST_UNKNOWN
    status = 404


@dataclass(frozen=True, slots=True)
class Candidates:
    """The virtual hosts that a request may mean.

    `host` is the Host header as it came, fit to be shown. `fallback`: none has this name, default_host serves it;
    `note` is then worth one warning, and "" the next time.
    """

    domains: tuple[str, ...]
    host: str
    fallback: bool = False
    note: str = ""


class VirtualHosts:
    """Find virtual hosts by their HTTP names.

    `http_hosts` maps each XMPP domain to its HTTP names. Raises ValueError for a name that cannot stand in a Host
    header, and for a default_host that is no virtual host.
    """

    __slots__ = ("_by_name", "_default", "_default_host", "_told")

    def __init__(self, http_hosts: Mapping[str, Sequence[str]], default_host: str = AUTO) -> None:
        by_name: dict[str, list[str]] = {}
        domains = {Jid.parse(domain).text: names for domain, names in http_hosts.items()}
        for domain, names in domains.items():
            for name in dict.fromkeys(_configured_name(domain, name) for name in names):
                by_name.setdefault(name, []).append(domain)
        self._by_name = {name: tuple(found) for name, found in by_name.items()}
        self._default_host = default_host
        self._default = _default_domain(tuple(domains), default_host)
        self._told: set[str] = set()

    def for_request(self, host_header_values: Sequence[str]) -> Candidates:
        """Return the virtual hosts that a request may mean; raises HostRefused."""
        if not host_header_values or not host_header_values[0].strip():
            raise HostMissing("The request has no Host header: let the proxy pass on the Host of the client.")
        if len(host_header_values) > 1:
            raise HostDoubled("The request has more than one Host header: one is needed.")
        value = host_header_values[0].strip()
        host = shown(value)
        try:
            name, _ = split_host(value)
        except ValueError:
            raise HostMalformed(f"The Host header {host!r} is not a host name with an optional port.") from None
        if found := self._by_name.get(name):
            return Candidates(found, host)
        if not self._default:
            raise HostUnknown(f"No virtual host here has the HTTP name {host!r}: see http_host and default_host.")
        return Candidates((self._default,), host, fallback=True, note=self._first_time(name, host))

    def choose(self, candidates: Candidates, to: str | None) -> str:
        """Return the XMPP domain that a stream is opened to; raises the stream errors of RFC 6120 section 4.9.3."""
        where = f"on the HTTP host {candidates.host!r}"
        if to is None:
            if len(candidates.domains) == 1:
                return candidates.domains[0]
            raise errors.ImproperAddressing(f"Several XMPP hosts are served {where}: <open/> needs a 'to'.")
        try:
            domain = Jid.parse(to).text
        except InvalidJid:
            raise errors.ImproperAddressing(f"to={shown(to)!r} {where} is not an XMPP address.") from None
        if domain not in candidates.domains:
            raise errors.HostUnknown(f"No XMPP host {shown(to)!r} is served {where}.")
        return domain

    def _first_time(self, name: str, host: str) -> str:
        """Return what to tell about an unknown name; strangers choose them, so only so many are remembered."""
        if self._default_host != AUTO or name in self._told or len(self._told) >= MAX_NAMES_TOLD:
            return ""
        self._told.add(name)
        return (
            f"Host {host!r} is no http_host; {self._default} serves it, being the only virtual host "
            f'(default_host = "auto"). Let the proxy keep Host, or add the name to http_host.'
        )


def split_host(value: str) -> tuple[str, str]:
    """Split a Host header into its name, in the one form used for comparing, and its port as ":443" or "".

    Names are in lower case, in A-labels and without a trailing dot; IPv6 addresses are in brackets, as short as can
    be. Raises ValueError.
    """
    match = _HOST.fullmatch(value) if len(value) <= MAX_HOST_LENGTH else None
    if match is None:
        raise ValueError(f"{shown(value)!r} is not a host name with an optional port")
    name, port = match[1], match[2] or ""
    if name.startswith("["):
        return f"[{IPv6Address(name[1:-1])}]", port
    return _comparable(name), "" if port == ":" else port


def _comparable(name: str) -> str:
    name = name.removesuffix(".")
    if not name.isascii():
        return idna.encode(name, uts46=True).decode("ascii")
    if not name or not name.isprintable():
        raise ValueError("empty label or control character")
    return name.lower()


def _configured_name(domain: str, name: str) -> str:
    bracketed = f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name
    try:
        found, port = split_host(bracketed)
    except ValueError as error:
        raise ValueError(f"http_host of {domain}: {name!r} is not a host name: {error}") from None
    if port:
        raise ValueError(f"http_host of {domain}: {name!r} has a port; give the name alone")
    return found


def _default_domain(domains: tuple[str, ...], default_host: str) -> str:
    if default_host == AUTO:
        return domains[0] if len(domains) == 1 else ""
    if not default_host:
        return ""
    try:
        domain = Jid.parse(default_host).text
    except InvalidJid:
        domain = ""
    if domain not in domains:
        raise ValueError(f"default_host: {default_host!r} is neither a virtual host, nor {AUTO!r}, nor empty")
    return domain
