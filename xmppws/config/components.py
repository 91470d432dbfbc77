"""Components: each domain that a module serves, and the virtual host that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from xmppws.config.checks import host_name
from xmppws.config.reader import Reader
from xmppws.config.sections import Component, Host


def read(reader: Reader, tables: object, hosts: Mapping[str, Host]) -> dict[str, Component]:
    """Read the tables of components, by domain; each names its host then. What is wrong is noted and left out."""
    if not isinstance(tables, Mapping):
        reader.wrong(
            ("components",), tables, 'must hold one table for each, such as [components."conference.example.com"]'
        )
        return {}
    components: dict[str, Component] = {}
    for name, table in tables.items():
        try:
            domain = host_name(name)
        except ValueError as error:
            reader.wrong(("components", name), None, str(error))
            continue
        if domain in components:
            reader.wrong(("components", name), None, "is the same component as another one")
            continue
        if domain != name:
            reader.source = reader.source.renamed(("components", name), ("components", domain))
        component = reader.section(Component(), table, ("components", domain))
        host = component.host or _host_of(domain, hosts)
        _check(reader, domain, component, host, hosts)
        components[domain] = replace(component, host=host)
    return components


def _host_of(domain: str, hosts: Mapping[str, Host]) -> str:
    return max((host for host in hosts if domain.endswith(f".{host}")), key=len, default="")


def _check(reader: Reader, domain: str, component: Component, host: str, hosts: Mapping[str, Host]) -> None:
    at = ("components", domain)
    if not reader.is_sound(*at):
        return
    if domain in hosts:
        reader.wrong(at, None, "has the name of a virtual host")
    elif not component.module:
        reader.wrong(at, None, 'must name its module, such as module = "muc"')
    elif not host:
        reader.wrong(at, None, "ends in the name of no virtual host, so it must say which one it belongs to: host")
    elif host not in hosts:
        reader.wrong((*at, "host"), host, "must be one of the hosts")
    elif hosts[host].router != "local":
        reader.wrong(at, None, f'belongs to {host}, which has no modules: its router is not "local"')
