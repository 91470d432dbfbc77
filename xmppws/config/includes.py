"""One document from a file and those that it includes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import escape, glob, has_magic
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xmppws.config import source as sources
from xmppws.config.kinds import TEXT
from xmppws.config.lines import Key
from xmppws.config.mistakes import ConfigError, Mistake
from xmppws.config.source import Place, Source


class Document:
    """The tables of all files put together; `mistakes` is what went wrong with that."""

    def __init__(self, path: Path) -> None:
        self.values: dict[str, Any] = {}
        self.mistakes: list[Mistake] = []
        self._file = str(path)
        self._places: dict[Key, Place] = {}
        self._included_at: dict[Path, Place] = {}
        self._add(path, ())

    @property
    def source(self) -> Source:
        """Where the keys stand."""
        return Source(self._file, MappingProxyType(self._places))

    def _add(self, path: Path, within: tuple[Path, ...]) -> None:
        try:
            document, source = sources.read(path)
        except ConfigError as error:
            self.mistakes += error.mistakes
            return
        patterns = document.pop("include", [])
        for key, place in source.places.items():
            self._places.setdefault(key, place)
        self._merge(self.values, document, (), source)
        for key, pattern in self._patterns(patterns, source):
            self._include(key, pattern, source, (*within, path.resolve()))

    def _merge(self, into: dict[str, Any], table: dict[str, Any], at: Key, source: Source) -> None:
        for name, value in table.items():
            key = (*at, name)
            if name not in into:
                into[name] = value
            elif isinstance(into[name], dict) and isinstance(value, dict):
                self._merge(into[name], value, key, source)
            else:
                self._wrong(source, key, None, f"is set already, at {self._places[key]}")

    def _patterns(self, patterns: object, source: Source) -> Iterator[tuple[Key, str]]:
        if not isinstance(patterns, list):
            self._wrong(source, ("include",), patterns, 'must be a list of files, such as ["conf.d/*.toml"]')
            return
        for index, pattern in enumerate(patterns):
            try:
                yield ("include", index), TEXT.read(pattern)
            except ValueError as error:
                self._wrong(source, ("include", index), pattern, str(error))

    def _include(self, key: Key, pattern: str, source: Source, within: tuple[Path, ...]) -> None:
        found = sorted(glob(os.path.join(escape(str(source.place(key).directory)), pattern)))
        if not found and not has_magic(pattern):
            self._wrong(source, key, pattern, "there is no such file")
        for file in map(Path, found):
            resolved = file.resolve()
            if resolved in within:
                circle = _shown((*within[within.index(resolved) :], resolved))
                self._wrong(source, key, pattern, f"files include each other in a circle: {circle}")
            elif resolved in self._included_at:
                self._wrong(source, key, pattern, f"includes {file} again, after {self._included_at[resolved]}")
            else:
                self._included_at[resolved] = source.place(key)
                self._add(file, within)

    def _wrong(self, source: Source, key: Key, value: object, rule: str) -> None:
        self.mistakes.append(source.mistake(key, value, rule))


def _shown(circle: Iterable[Path]) -> str:
    return " → ".join(path.name for path in circle)
