"""Find the line of every key in a TOML file: tomllib reads values well but does not say where they stood.

Only text that tomllib has accepted comes here, so this looks at structure alone: strings and comments are one token
each, and what is neither punctuation nor one of those belongs to a key or a value.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

Key = tuple[str | int, ...]

_TOKEN = re.compile(
    r'''
    (?P<string> """(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?\'{3,5} | "(?:\\.|[^"\\])*" | '[^']*' )
    | (?P<blank> [ \t]+ | \#[^\n]* )
    | (?P<mark> [\[\]{}=,\n] )
    | (?P<bare> [^\s\[\]{}=,\#"']+ )
    ''',
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def key_lines(text: str) -> dict[Key, int]:
    """Return the line, from 1, of each key, table and list entry; a list entry's key ends with its number from 0."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)
        self._lines: dict[Key, int] = {}
        self._lengths: dict[Key, int] = {}  # of arrays of tables

    def scan(self) -> dict[Key, int]:
        table: Key = ()
        while self._next.kind != "end":
            if self._next.text == "\n":
                self._take()
            elif self._is_mark("["):
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> Key:
        line = self._take().line
        is_array = self._is_mark("[")
        if is_array:
            self._take()
        *tables, name = self._key()
        key = (*self._newest(tables), name)
        self._skip("]", "]" if is_array else "")
        if is_array:
            self._note(key, line)
            index = self._lengths.setdefault(key, 0)
            self._lengths[key] += 1
            key = (*key, index)
        self._note(key, line)
        return key

    def _newest(self, tables: list[str]) -> Key:
        # In [a.b] after [[a]], "a" means its newest entry.
        key: Key = ()
        for name in tables:
            key = (*key, name)
            if key in self._lengths:
                key = (*key, self._lengths[key] - 1)
        return key

    def _pair(self, table: Key) -> None:
        line = self._next.line
        key = table
        for part in self._key():
            key = (*key, part)
            self._note(key, line)
        self._skip("=")
        self._value(key)

    def _value(self, key: Key) -> None:
        if self._is_mark("["):
            self._list(key)
        elif self._is_mark("{"):
            self._inline_table(key)
        else:
            while self._next.kind in ("string", "bare"):
                self._take()

    def _list(self, key: Key) -> None:
        self._take()
        index = 0
        while not self._is_mark("]"):
            if self._next.text in ("\n", ","):
                self._take()
                continue
            self._note((*key, index), self._next.line)
            self._value((*key, index))
            index += 1
        self._take()

    def _inline_table(self, key: Key) -> None:
        self._take()
        while not self._is_mark("}"):
            if self._next.text in ("\n", ","):
                self._take()
            else:
                self._pair(key)
        self._take()

    def _key(self) -> list[str]:
        parts: list[str] = []
        while self._next.kind in ("string", "bare"):
            token = self._take()
            if token.kind == "string":
                parts.append(tomllib.loads(f"key = {token.text}")["key"])
            else:
                parts += filter(None, token.text.split("."))
        return parts

    def _skip(self, *marks: str) -> None:
        for mark in filter(None, marks):
            assert self._take().text == mark

    def _is_mark(self, mark: str) -> bool:
        return self._next.kind == "mark" and self._next.text == mark

    def _take(self) -> _Token:
        token, self._next = self._next, next(self._tokens)
        return token

    def _note(self, key: Key, line: int) -> None:
        self._lines.setdefault(key, line)


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "blank":
            yield _Token(kind, match.group(), line)
        line += match.group().count("\n")
    yield _Token("end", "", line)
    yield _Token("end", "", line)
