"""Reads tables as sections; what is wrong is noted and read as its default, so that all of it comes to light."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from xmppws.config.hints import meant
from xmppws.config.kinds import TEXT
from xmppws.config.lines import Key
from xmppws.config.mistakes import Mistake
from xmppws.config.options import Option, Section, lists, options, sections
from xmppws.config.source import Source, dotted, reason

MAX_SECRET_SIZE = 64 * 1024

S = TypeVar("S", bound=Section)


class Reader:
    """Reads a document; `mistakes` is all that was wrong so far, by key."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.mistakes: dict[Key, Mistake] = {}

    def section(self, base: S, table: object, at: Key, also: Collection[str] = ()) -> S:
        """Return a section with what its table sets in place of `base`; `also` are names that somebody else reads."""
        if not isinstance(table, Mapping):
            self.wrong(at, table, f"must be a table, [{dotted(at)}]")
            return base
        known, within, many = options(type(base)), sections(type(base)), lists(type(base))
        values: dict[str, Any] = {}
        for name, value in table.items():
            key = (*at, name)
            if name in within:
                values[name] = self.section(getattr(base, name), value, key)
            elif name in many:
                values[name] = tuple(self._tables(many[name], value, key))
            elif name in known:
                values |= self._option(known[name], value, key)
            elif name not in also:
                self._unknown(key, value, known, {*known, *within, *many, *also})
        return replace(base, **values)

    def wrong(self, key: Key, value: object, rule: str, hint: str = "") -> None:
        """Note a mistake; `value` None is not shown."""
        self.mistakes[key] = self.source.mistake(key, value, rule, hint)

    def is_sound(self, *key: str | int) -> bool:
        """Tell whether nothing at or below a key was wrong."""
        return not any(wrong[: len(key)] == key for wrong in self.mistakes)

    def _tables(self, type_: type[S], value: object, key: Key) -> Iterator[S]:
        if not isinstance(value, list):
            self.wrong(key, value, f"must be a table in double brackets, [[{dotted(key)}]]")
            return
        for index, table in enumerate(value):
            yield self.section(type_(), table, (*key, index))

    def _option(self, option: Option, value: object, key: Key) -> dict[str, Any]:
        if not option.many:
            single = list(self._good(option, [(key, value)]))
            return {option.name: single[0]} if single else {}
        if not isinstance(value, list):
            self.wrong(key, value, 'must be a list, ["like", "this"]')
            return {}
        entries = [((*key, index), entry) for index, entry in enumerate(value)]
        read = tuple(self._good(option, entries))
        if len(set(read)) < len(read):
            self.wrong(key, value, "must have each entry only once")
        return {option.name: read}

    def _good(self, option: Option, found: Iterable[tuple[Key, object]]) -> Iterator[Any]:
        for key, value in found:
            try:
                yield self._read(option, key, value)
            except ValueError as error:
                self.wrong(key, None if option.opt.secret else value, str(error))

    def _read(self, option: Option, key: Key, value: object) -> Any:
        directory = self.source.place(key).directory
        if option.opt.secret and isinstance(value, dict):
            value = _secret(value, directory)
        read = option.read(value)
        return str(directory / read) if option.opt.relative and read else read

    def _unknown(self, key: Key, value: object, known: Mapping[str, Option], names: Collection[str]) -> None:
        near = meant(key, names)
        is_secret = near[:-1] == key[:-1] and near[-1] in known and known[str(near[-1])].opt.secret if near else False
        self.wrong(key, None if is_secret or isinstance(value, dict) else value, "is not known", dotted(near))


def _secret(table: Mapping[str, object], directory: Any) -> str:
    """Read a secret that has a file of its own."""
    if set(table) != {"file"}:
        raise ValueError('must be a text in quotes, or { file = "/path/to/the/secret" }')
    path = directory / TEXT.read(table["file"])
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_SIZE + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from None
    if len(data) > MAX_SECRET_SIZE:
        raise ValueError(f"{path} is larger than {MAX_SECRET_SIZE} bytes")
    try:
        # An editor or `echo` ends the file with a newline that is not part of the secret.
        return str(data.decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be UTF-8") from None
