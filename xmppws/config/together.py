"""Rules about several options at once."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from xmppws.config.checks import Address, address
from xmppws.config.hosts import HostOptions, Jwt
from xmppws.config.kinds import SIZE
from xmppws.config.lines import Key
from xmppws.config.reader import Reader
from xmppws.config.secrets import fault
from xmppws.config.sections import C2S, Config, Listener
from xmppws.config.source import dotted
from xmppws.config.upstream import faults


def check(config: Config, reader: Reader) -> None:
    """Note what does not go together. What is wrong in itself says nothing about the rest."""
    default = config.http.default_host
    if default not in ("auto", "", *config.hosts) and reader.is_sound("http", "default_host"):
        reader.wrong(("http", "default_host"), default, 'must be "auto", "" or one of the hosts')
    _check_sizes(config.c2s, ("c2s",), config.c2s.max_stanza_size, reader)
    _check_authentication(config, (), reader)
    for domain, host in config.hosts.items():
        _check_authentication(host, ("hosts", domain), reader)
        if host.router == "local" and "jwt" in host.authentication:
            _check_jwt(host.jwt, domain, reader)
        if host.router == "upstream":
            for name, rule in faults(host.upstream):
                reader.wrong(("hosts", domain, "upstream", name), None, rule)
        if host.c2s.max_stanza_size != config.c2s.max_stanza_size:
            _check_sizes(config.c2s, ("hosts", domain, "c2s"), host.c2s.max_stanza_size, reader)
        if host.key and not host.certificate:
            reader.wrong(("hosts", domain, "key"), None, "needs the certificate that it belongs to")
    for index, listener in enumerate(config.http.listeners):
        _check_listener(config, listener, ("http", "listeners", index), reader)
    _check_collisions(config, reader)


def _check_authentication(section: HostOptions, at: Key, reader: Reader) -> None:
    key = (*at, "authentication")
    # A host that does not say it itself has it from top level.
    if not section.authentication and key in reader.source.places and reader.is_sound(*key):
        reader.wrong(key, [], 'must name at least one, such as "internal"')


def _check_jwt(jwt: Jwt, domain: str, reader: Reader) -> None:
    if not (jwt.secret or jwt.key or jwt.jwks_url):
        if reader.is_sound("jwt") and reader.is_sound("hosts", domain, "jwt"):
            rule = 'with "jwt", jwt.secret, jwt.key or jwt.jwks_url must be set'
            reader.wrong(_place(("authentication",), domain, reader), None, rule)
    elif jwt.secret and (rule := fault(jwt.secret, weak_allowed=jwt.allow_weak_secret)):
        reader.wrong(_place(("jwt", "secret"), domain, reader), None, rule)


def _place(key: Key, domain: str, reader: Reader) -> Key:
    """Return the key where the host sets it, else the one of top level."""
    own = ("hosts", domain, *key)
    return own if own in reader.source.places else key


def _check_sizes(c2s: C2S, at: Key, limit: int, reader: Reader) -> None:
    """Compare the largest stanza that `at` sets with what depends on it."""
    if not reader.is_sound(*at, "max_stanza_size"):
        return
    for name, wrong, comparison in (
        ("max_unauthenticated_size", c2s.max_unauthenticated_size > limit, "larger"),
        ("max_send_buffer", c2s.max_send_buffer < limit, "smaller"),
    ):
        if wrong and reader.is_sound("c2s", name):
            size, other = SIZE.write(getattr(c2s, name)), dotted((*at, "max_stanza_size"))
            rule = f"c2s.{name}, {size}, must not be {comparison} than {other}, {SIZE.write(limit)}"
            # A default stands in no file: then the other one is what was set.
            is_set = ("c2s", name) in reader.source.places
            reader.wrong(("c2s", name) if is_set else (*at, "max_stanza_size"), None, rule)


def _check_listener(config: Config, listener: Listener, at: Key, reader: Reader) -> None:
    if not reader.is_sound(*at):
        return
    if not listener.address:
        reader.wrong(at, None, 'must say its address, such as address = "127.0.0.1:5280"')
    if listener.key and not listener.certificate:
        reader.wrong((*at, "key"), None, "needs the certificate that it belongs to")
    if listener.certificate and not listener.tls:
        reader.wrong((*at, "certificate"), None, "is for TLS: it needs tls = true")
    if listener.tls and not listener.certificate and not any(host.certificate for host in config.hosts.values()):
        reader.wrong((*at, "tls"), None, "needs a certificate, here or in a host")


def _check_collisions(config: Config, reader: Reader) -> None:
    seen: list[tuple[Key, Address]] = []
    for key, where in _addresses(config, reader):
        for other, taken in seen:
            if _collide(where, taken):
                # A default stands in no file: then the line that collides with it is the one to change.
                at, with_ = (key, other) if key in reader.source.places else (other, key)
                reader.wrong(at, None, f"{where} is taken already, by {dotted(with_)}")
        seen.append((key, where))


def _addresses(config: Config, reader: Reader) -> Iterator[tuple[Key, Address]]:
    # Where an entry was dropped, the others have moved.
    if reader.is_sound("http", "listen"):
        for index, entry in enumerate(config.http.listen):
            yield ("http", "listen", index), address(entry)
    for index, listener in enumerate(config.http.listeners):
        if listener.address:
            yield ("http", "listeners", index, "address"), address(listener.address)
    if reader.is_sound("metrics", "listen"):
        for index, entry in enumerate(config.metrics.listen):
            yield ("metrics", "listen", index), address(entry)
    if config.admin_socket.startswith("/"):
        yield ("admin_socket",), Address(path=config.admin_socket)


def _collide(one: Address, other: Address) -> bool:
    if one.path or one.name or one.port == 0:
        return one == other and bool(one.path or one.name)
    return one.port == other.port and (one.host == other.host or _covers(one, other) or _covers(other, one))


def _covers(one: Address, other: Address) -> bool:
    """Tell whether an address is all of a family, with the other one in it."""
    try:
        every, single = ip_address(one.host), ip_address(other.host)
    except ValueError:
        return False
    return every.is_unspecified and every.version == single.version
