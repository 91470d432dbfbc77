"""Options from environment variables: XMPPWS_HTTP_LISTEN="a,b" is http.listen = ["a", "b"]."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from xmppws.config.kinds import PATH, TABLES, TEXT
from xmppws.config.lines import Key
from xmppws.config.mistakes import Mistake
from xmppws.config.options import Option, options, sections
from xmppws.config.sections import Config
from xmppws.config.source import Place

PREFIX = "XMPPWS_"
ENVIRONMENT = "environment"

_LITERALS = {"true": True, "false": False}
_whole = re.compile(r"-?[0-9]{1,18}").fullmatch
_decimal = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}").fullmatch


def variable(key: Key) -> str:
    """Return the name of the variable that sets an option."""
    return PREFIX + "_".join(map(str, key)).upper()


def apply(values: dict[str, Any], environment: Mapping[str, str]) -> tuple[dict[Key, Place], list[Mistake]]:
    """Put what variables set over the values of a document; return their places, and the variables without meaning."""
    known = {variable(key): (key, option) for key, option in _settable()}
    places: dict[Key, Place] = {}
    mistakes = []
    for name in sorted(name for name in environment if name.startswith(PREFIX)):
        if name in known:
            key, option = known[name]
            if _put(values, key, _value(option, environment[name])):
                places |= _places(key, option, environment[name], Place(ENVIRONMENT, name=name))
        else:
            near = get_close_matches(name, known, 1, 0.5)
            mistakes.append(Mistake(ENVIRONMENT, 0, name, "", "sets no option", near[0] if near else ""))
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


def _put(values: dict[str, Any], key: Key, value: object) -> bool:
    *tables, name = map(str, key)
    for each in tables:
        table = values.setdefault(each, {})
        if not isinstance(table, dict):
            return False  # That it should be a table is told where the file is read.
        values = table
    values[name] = value
    return True


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


def _places(key: Key, option: Option, text: str, place: Place) -> dict[Key, Place]:
    entries = range(len(_split(text))) if option.many else range(0)
    return {key: place, **{(*key, index): place for index in entries}}
