"""Components and links: tables by domain, each of which belongs to a virtual host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from msgspec.structs import replace

from xmppws.config.checks import address, host_name
from xmppws.config.hosts import Host
from xmppws.config.neighbours import Component, Link
from xmppws.config.reader import Reader

S = TypeVar("S", Component, Link)

_EXAMPLES: Final = {"components": "conference.example.com", "links": "example.com"}


def read(reader: Reader, tables: object, hosts: Mapping[str, Host]) -> dict[str, Component]:
    """Read the tables of components, by domain; each names its host then. What is wrong is noted and left out."""
    components: dict[str, Component] = {}
    for domain, component in _tables(reader, "components", tables, Component()):
        host = component.host or _host_of(domain, hosts)
        _check(reader, domain, component, host, hosts)
        components[domain] = replace(component, host=host)
    _check_domains(reader, components, hosts)
    return components


def read_links(
    reader: Reader, tables: object, hosts: Mapping[str, Host], components: Mapping[str, Component]
) -> dict[str, Link]:
    """Read the tables of links, by domain. What is wrong is noted."""
    links = dict(_tables(reader, "links", tables, Link()))
    for domain, link in links.items():
        at = ("links", domain)
        if not reader.is_sound(*at):
            continue
        if not _is_here(domain, hosts, components):
            reader.wrong(at, None, 'is no virtual host with router = "local", and no component of one')
        elif not link.address or address(link.address).name:
            reader.wrong(at, None, 'must say the address of the server, such as address = "127.0.0.1:5347"')
        elif not link.secret:
            reader.wrong(at, None, "must have the secret that the server knows")
    return links


def _is_here(domain: str, hosts: Mapping[str, Host], components: Mapping[str, Component]) -> bool:
    if domain in hosts:
        return hosts[domain].router == "local"
    # Without a table, a module has an address of its own at its host.
    return not components.get(domain, Component()).secret and bool(_host_of(domain, hosts) or domain in components)


def _tables(reader: Reader, name: str, tables: object, default: S) -> Iterator[tuple[str, S]]:
    if not isinstance(tables, Mapping):
        reader.wrong((name,), tables, f'must hold one table for each, such as [{name}."{_EXAMPLES[name]}"]')
        return
    found: set[str] = set()
    for key, table in tables.items():
        try:
            domain = host_name(key)
        except ValueError as error:
            reader.wrong((name, key), None, str(error))
            continue
        if domain in found:
            reader.wrong((name, key), None, f"is the same {name[:-1]} as another one")
            continue
        if domain != key:
            reader.source = reader.source.renamed((name, key), (name, domain))
        found.add(domain)
        yield domain, reader.section(default, table, (name, domain))


def _host_of(domain: str, hosts: Mapping[str, Host]) -> str:
    return max((host for host in hosts if domain.endswith(f".{host}")), key=len, default="")


def _check(reader: Reader, domain: str, component: Component, host: str, hosts: Mapping[str, Host]) -> None:
    at = ("components", domain)
    if not reader.is_sound(*at):
        return
    if domain in hosts:
        reader.wrong(at, None, "has the name of a virtual host")
    elif not component.module and not component.secret:
        rule = 'must name its module, such as module = "muc", or the secret of the program that serves it'
        reader.wrong(at, None, rule)
    elif component.module and component.secret:
        reader.wrong((*at, "secret"), None, "is for a program, and a module serves this component")
    elif not host:
        reader.wrong(at, None, "ends in the name of no virtual host, so it must say which one it belongs to: host")
    elif host not in hosts:
        reader.wrong((*at, "host"), host, "must be one of the hosts")
    elif hosts[host].router != "local":
        reader.wrong(at, None, f'belongs to {host}, which has no modules: its router is not "local"')


def _check_domains(reader: Reader, components: Mapping[str, Component], hosts: Mapping[str, Host]) -> None:
    taken = {*hosts, *components}
    for name, component in components.items():
        key = ("components", name, "domains")
        if component.domains and not component.secret and reader.is_sound(*key):
            reader.wrong(key, None, "is for programs: a module serves this component")
        for index, domain in enumerate(component.domains):
            if domain in taken:
                reader.wrong((*key, index), domain, "is a host or a component already")
            taken.add(domain)
