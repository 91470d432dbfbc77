"""From TOML files and the environment to a `Config`, or to the list of everything that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec.structs import replace

from xmppws.config import components, together
from xmppws.config import environment as variables
from xmppws.config.checks import host_name
from xmppws.config.hosts import Host, HostC2S, HostOptions
from xmppws.config.includes import Document
from xmppws.config.lines import Key
from xmppws.config.mistakes import ConfigError, Mistake
from xmppws.config.options import Section, options
from xmppws.config.reader import Reader
from xmppws.config.sections import Config
from xmppws.config.source import Source

S = TypeVar("S", bound=Section)
H = TypeVar("H", bound=HostOptions)

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
# Old configurations list the endpoint itself as a module; here it is always on.
_ALWAYS_ON = "websocket"


def load(path: Path | None, environment: Mapping[str, str] = _NO_VARIABLES) -> Config:
    """Read a configuration file, or none, with what the environment sets; raise `ConfigError` with all mistakes."""
    config, mistakes = read(path, environment)
    if mistakes:
        raise ConfigError(mistakes)
    return config


def read(path: Path | None, environment: Mapping[str, str] = _NO_VARIABLES) -> tuple[Config, tuple[Mistake, ...]]:
    """Read a configuration as far as it goes; return it with all its mistakes, in the order of the files."""
    if path is None:
        return assemble({}, Source(), environment)
    document = Document(path)
    return assemble(document.values, document.source, environment, document.mistakes)


def assemble(
    values: dict[str, Any], source: Source, environment: Mapping[str, str], found: list[Mistake] | None = None
) -> tuple[Config, tuple[Mistake, ...]]:
    """Make a configuration of a document and the environment; `found` is what was wrong before."""
    places, mistakes = variables.apply(values, environment)
    reader = Reader(Source(source.file, MappingProxyType({**source.places, **places})))
    top = _without_endpoint(reader.section(Config(), values, (), also=("hosts", "components", "links")))
    hosts = _hosts(reader, values.get("hosts", {}), top)
    served = components.read(reader, values.get("components", {}), hosts)
    links = components.read_links(reader, values.get("links", {}), hosts, served)
    config = replace(
        top,
        hosts=MappingProxyType(hosts),
        components=MappingProxyType(served),
        links=MappingProxyType(links),
    )
    together.check(config, reader)
    config = replace(config, source=reader.source)
    return config, reader.source.in_order([*(found or ()), *mistakes, *reader.mistakes.values()])


def module_options(config: Config, domain: str, name: str, section: type[S]) -> S:
    """Return the options of a module on a virtual host, as the module declares them; raise `ConfigError`."""
    table = config.hosts[domain].modules.get(name, {})
    above: Key = ("modules", name)
    own: Key = ("hosts", domain, *above)
    set_here = {key for key in table if (*own, key) in config.source.places}
    reader = Reader(config.source)
    base = reader.section(section(), {key: table[key] for key in table if key not in set_here}, above)
    options_ = reader.section(base, {key: table[key] for key in set_here}, own)
    if reader.mistakes:
        raise ConfigError(config.source.in_order(reader.mistakes.values()))
    return options_


def _hosts(reader: Reader, tables: object, top: Config) -> dict[str, Host]:
    if not isinstance(tables, dict):
        reader.wrong(("hosts",), tables, 'must hold one table for each host, such as [hosts."example.com"]')
        return {}
    hosts: dict[str, Host] = {}
    names: dict[str, str] = {}
    for name, table in tables.items():
        domain = _domain(reader, name)
        if domain in hosts:
            reader.wrong(("hosts", name), None, f"is the same host as {names[domain]!r}")
            continue
        if domain != name:
            reader.source = reader.source.renamed(("hosts", name), ("hosts", domain))
        names[domain] = name
        hosts[domain] = _host(reader, domain, table, top)
    return hosts


def _domain(reader: Reader, name: str) -> str:
    try:
        return host_name(name)
    except ValueError as error:
        reader.wrong(("hosts", name), None, str(error))
        return name


def _host(reader: Reader, domain: str, table: object, top: Config) -> Host:
    """Read a host; what it does not set is taken from top level."""
    inherited = {name: getattr(top, name) for name in options(HostOptions)}
    limits = HostC2S(**{name: getattr(top.c2s, name) for name in options(HostC2S)})
    base = Host(**{**inherited, "modules": MappingProxyType({}), "http_host": (domain,), "c2s": limits, "jwt": top.jwt})
    host = _without_endpoint(reader.section(base, table, ("hosts", domain)))
    modules = {
        name: MappingProxyType({**top.modules.get(name, {}), **host.modules.get(name, {})})
        for name in sorted({*top.modules, *host.modules})
    }
    return replace(host, modules=MappingProxyType(modules))


def _without_endpoint(section: H) -> H:
    if section.modules_enabled is None:
        return section
    return replace(section, modules_enabled=tuple(name for name in section.modules_enabled if name != _ALWAYS_ON))
