"""From a TOML file to a `Config`, or to the list of everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec.structs import replace

from xmppws.config import source as sources
from xmppws.config.checks import host_name
from xmppws.config.kinds import SIZE
from xmppws.config.lines import Key
from xmppws.config.mistakes import ConfigError, Mistake, shown
from xmppws.config.options import Option, Section, options, sections
from xmppws.config.sections import C2S, Config, Host, HostOptions
from xmppws.config.source import Source, dotted

S = TypeVar("S", bound=Section)
H = TypeVar("H", bound=HostOptions)

# Old configurations list the endpoint itself as a module; here it is always on.
_ALWAYS_ON = "websocket"


def load(path: Path) -> Config:
    """Read a configuration file; raise `ConfigError` with all its mistakes."""
    document, source = sources.read(path)
    reader = _Reader(source)
    config = reader.config(document)
    reader.finish()
    return config


def module_options(config: Config, domain: str, name: str, section: type[S]) -> S:
    """Return the options of a module on a virtual host, as the module declares them; raise `ConfigError`."""
    table = config.hosts[domain].modules.get(name, {})
    above: Key = ("modules", name)
    own: Key = ("hosts", domain, *above)
    set_here = {key for key in table if (*own, key) in config.source.lines}
    reader = _Reader(config.source)
    values = reader.values(section, {key: table[key] for key in table if key not in set_here}, above)
    values |= reader.values(section, {key: table[key] for key in set_here}, own)
    reader.finish()
    return section(**values)


class _Reader:
    """Reads tables as sections; what is wrong is noted and read as its default, so that all of it comes to light."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._mistakes: dict[Key, Mistake] = {}

    def finish(self) -> None:
        if self._mistakes:
            raise ConfigError(tuple(sorted(self._mistakes.values(), key=lambda mistake: mistake.line)))

    def config(self, document: dict[str, Any]) -> Config:
        tables = document.pop("hosts", {})
        top = _without_endpoint(Config(**self.values(Config, document, (), also=("hosts",)), source=self._source))
        config = replace(top, hosts=MappingProxyType(dict(self._hosts(tables, top))))
        self._check_together(config)
        return config

    def values(self, type_: type[Section], table: object, at: Key, also: Collection[str] = ()) -> dict[str, Any]:
        """Return the fields of a section that its table sets; `also` are names that somebody else reads."""
        if not isinstance(table, Mapping):
            self._wrong(at, table, f"must be a table, [{dotted(at)}]")
            return {}
        known, within = options(type_), sections(type_)
        values: dict[str, Any] = {}
        for name, value in table.items():
            key = (*at, name)
            if name in within:
                values[name] = within[name](**self.values(within[name], value, key))
            elif name in known:
                values |= self._option(known[name], value, key)
            else:
                self._unknown(key, value, {*known, *within, *also})
        return values

    def _option(self, option: Option, value: object, key: Key) -> dict[str, Any]:
        if not option.many:
            single = list(self._good(option, [(key, value)]))
            return {option.name: single[0]} if single else {}
        if not isinstance(value, list):
            self._wrong(key, value, 'must be a list, ["like", "this"]')
            return {}
        entries = [((*key, index), entry) for index, entry in enumerate(value)]
        read = tuple(self._good(option, entries))
        if len(set(read)) < len(read):
            self._wrong(key, value, "must have each entry only once")
        return {option.name: read}

    def _good(self, option: Option, found: Iterable[tuple[Key, object]]) -> Iterator[Any]:
        for key, value in found:
            try:
                yield option.read(value)
            except ValueError as error:
                self._wrong(key, value, str(error))

    def _hosts(self, tables: object, top: Config) -> Iterator[tuple[str, Host]]:
        if not isinstance(tables, dict):
            self._wrong(("hosts",), tables, 'must hold one table for each host, such as [hosts."example.com"]')
            return
        seen: dict[str, str] = {}
        for name, table in tables.items():
            key = ("hosts", name)
            try:
                domain = host_name(name)
            except ValueError as error:
                self._wrong(key, None, str(error))
                domain = name
            if domain in seen:
                self._wrong(key, None, f"is the same host as {seen[domain]!r}")
            seen[domain] = name
            yield domain, self._host(domain, table, key, top)

    def _host(self, domain: str, table: object, key: Key, top: Config) -> Host:
        inherited = {name: getattr(top, name) for name in options(HostOptions)}
        host = _without_endpoint(Host(**{**inherited, "http_host": (domain,), **self.values(Host, table, key)}))
        modules = {
            name: MappingProxyType({**top.modules.get(name, {}), **host.modules.get(name, {})})
            for name in sorted({*top.modules, *host.modules})
        }
        return replace(host, modules=MappingProxyType(modules))

    def _check_together(self, config: Config) -> None:
        """Check what only makes sense of several options at once."""
        default, c2s = config.http.default_host, config.c2s
        if default not in ("auto", "", *config.hosts):
            self._wrong(("http", "default_host"), default, 'must be "auto", "" or one of the hosts')
        if c2s.max_unauthenticated_size > c2s.max_stanza_size:
            self._against_stanza_size("max_unauthenticated_size", "larger", c2s)
        if c2s.max_send_buffer < c2s.max_stanza_size:
            self._against_stanza_size("max_send_buffer", "smaller", c2s)

    def _against_stanza_size(self, name: str, comparison: str, c2s: C2S) -> None:
        # Where one of the two is wrong in itself, its default says nothing about the other.
        if ("c2s", name) not in self._mistakes and ("c2s", "max_stanza_size") not in self._mistakes:
            size, limit = SIZE.write(getattr(c2s, name)), SIZE.write(c2s.max_stanza_size)
            self._wrong(("c2s", name), None, f"{size} must not be {comparison} than max_stanza_size, {limit}")

    def _wrong(self, key: Key, value: object, rule: str, hint: str = "") -> None:
        text = "" if value is None else shown(value)
        self._mistakes[key] = Mistake(self._source.file, self._source.line(key), dotted(key), text, rule, hint)

    def _unknown(self, key: Key, value: object, known: Collection[str]) -> None:
        near = get_close_matches(str(key[-1]), sorted(known), 1, 0.5)
        text = None if isinstance(value, dict) else value
        self._wrong(key, text, "is not known", dotted((*key[:-1], *near)) if near else "")


def _without_endpoint(section: H) -> H:
    if section.modules_enabled is None:
        return section
    return replace(section, modules_enabled=tuple(name for name in section.modules_enabled if name != _ALWAYS_ON))
