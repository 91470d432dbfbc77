"""Options from environment variables: XMPPWS_HTTP_LISTEN="a,b" is http.listen = ["a", "b"]."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from xmppws.config.kinds import PATH, TABLES, TEXT
from xmppws.config.lines import Key
from xmppws.config.mistakes import Mistake, shown
from xmppws.config.options import Option, options, sections
from xmppws.config.sections import Config
from xmppws.config.source import Place

PREFIX: Final = "XMPPWS_"
ALIAS_PREFIX: Final = "LETSHARE_"
ENVIRONMENT: Final = "environment"

_LITERALS: Final = {"true": True, "false": False}
_whole = re.compile(r"-?[0-9]{1,18}").fullmatch
_decimal = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}").fullmatch
_port = re.compile(r"[0-9]{1,5}").fullmatch
_tcp = re.compile(r"(?!unix:|systemd:).+:[0-9]+").fullmatch

Known = Mapping[str, tuple[Key, Option]]


class Alias(NamedTuple):
    """What a variable of the programs sets that this one takes the place of.

    `value` makes the option's value of what it is so far and of the text; raises ValueError with the rule it breaks.
    """

    key: Key
    value: Callable[[object, str], object]


def _as_it_stands(_: object, text: str) -> object:
    return text


def _with_port(listen: object, text: str) -> object:
    """Put a port into every TCP address of `http.listen`."""
    if not _port(text) or int(text) > 65_535:
        raise ValueError("must be a port, 0 to 65535")
    if not isinstance(listen, list | tuple):
        return listen  # That it should be a list is told where the file is read.
    ported = [_ported(entry, text) for entry in listen]
    if not any(isinstance(entry, str) and _tcp(entry) for entry in listen):
        raise ValueError('sets no option: http.listen has no "address:port"')
    return ported


def _ported(entry: object, port: str) -> object:
    return f"{entry.rpartition(':')[0]}:{port}" if isinstance(entry, str) and _tcp(entry) else entry


ALIASES: Final[Mapping[str, Alias]] = MappingProxyType(
    {
        "LETSHARE_JWT_SECRET": Alias(("jwt", "secret"), _as_it_stands),
        "LETSHARE_LOG_LEVEL": Alias(("log", "level"), _as_it_stands),
        "LETSHARE_SERVER_PORT": Alias(("http", "listen"), _with_port),
    }
)


def variable(key: Key) -> str:
    """Return the name of the variable that sets an option."""
    return PREFIX + "_".join(map(str, key)).upper()


def apply(values: dict[str, Any], environment: Mapping[str, str]) -> tuple[dict[Key, Place], list[Mistake]]:
    """Put what variables set over the values of a document; return their places, and what is wrong with them."""
    known: Known = {variable(key): (key, option) for key, option in _settable()}
    places: dict[Key, Place] = {}
    mistakes = []
    for name in sorted(name for name in environment if name.startswith(PREFIX)):
        if name in known:
            key, option = known[name]
            places |= _put(values, key, option, _value(option, environment[name]), name)
        else:
            near = get_close_matches(name, known, 1, 0.5)
            mistakes.append(Mistake(ENVIRONMENT, 0, name, "", "sets no option", near[0] if near else ""))
    # After our own: a port goes into the addresses that are set.
    for name in sorted(name for name in environment if name.startswith(ALIAS_PREFIX)):
        if name not in ALIASES:
            mistakes.append(Mistake(ENVIRONMENT, 0, name, "", "sets no option", _near_alias(name, known)))
            continue
        try:
            places |= _put_alias(values, name, environment, known)
        except ValueError as error:
            mistakes.append(Mistake(ENVIRONMENT, 0, name, *error.args))
    return places, mistakes


def settable(option: Option) -> bool:
    """Tell whether a variable may set an option: tables and `include` come from files only."""
    return option.kind is not TABLES and option.name != "include"


def _settable() -> Iterator[tuple[Key, Option]]:
    for name, option in options(Config).items():
        if settable(option):
            yield (name,), option
    for section, type_ in sections(Config).items():
        for name, option in options(type_).items():
            yield (section, name), option


def _put_alias(values: dict[str, Any], name: str, environment: Mapping[str, str], known: Known) -> dict[Key, Place]:
    """Set an option by its alias; raise ValueError with what to show of the value, and the rule."""
    alias, text = ALIASES[name], environment[name]
    own = variable(alias.key)
    _, option = known[own]
    table = values.get(str(alias.key[0]), {})
    before = table.get(option.name, option.default) if isinstance(table, dict) else option.default
    try:
        value = alias.value(before, text)
    except ValueError as error:
        raise ValueError(shown(text), str(error)) from None
    if value == before:
        return {}
    if own in environment:
        raise ValueError("", f"says something else than {own}: set one of them")
    return _put(values, alias.key, option, value, name)


def _near_alias(name: str, known: Known) -> str:
    """Return the variable, of either prefix, that is called most alike behind its prefix, or ""."""
    ours = {each.removeprefix(PREFIX): each for each in known}
    names = ours | {each.removeprefix(ALIAS_PREFIX): each for each in ALIASES}
    near = get_close_matches(name.removeprefix(ALIAS_PREFIX), names, 1, 0.6)
    return names[near[0]] if near else ""


def _put(values: dict[str, Any], key: Key, option: Option, value: object, variable: str) -> dict[Key, Place]:
    """Set an option; return its places."""
    *tables, name = map(str, key)
    for each in tables:
        table = values.setdefault(each, {})
        if not isinstance(table, dict):
            return {}  # That it should be a table is told where the file is read.
        values = table
    values[name] = value
    place = Place(ENVIRONMENT, name=variable)
    entries = range(len(value)) if option.many and isinstance(value, list) else range(0)
    return {key: place, **{(*key, index): place for index in entries}}


def _value(option: Option, text: str) -> object:
    entries = [_entry(option, entry.strip()) for entry in _split(text)]
    return entries if option.many else _entry(option, text)


def _split(text: str) -> list[str]:
    return text.split(",") if text.strip() else []


def _entry(option: Option, text: str) -> object:
    """Return the value that a text would be in TOML without quotes."""
    if option.kind in (TEXT, PATH):
        return text
    if _whole(text):
        return int(text)
    return float(text) if _decimal(text) else _LITERALS.get(text, text)
