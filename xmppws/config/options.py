"""How options are declared: once, with type, default, bounds and help text, in a `Section`."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

from xmppws.config.kinds import KINDS, Kind


class Section(Struct, frozen=True, kw_only=True):
    """A table of options; each field is an `Annotated[type, Opt(...)]` with a default, or another Section."""


@dataclass(frozen=True, slots=True)
class Opt:
    """What an option means and what it may be.

    `check` prepares a text, raising ValueError with the rule it breaks; in a list it sees each entry. `example` stands
    in the example file when the default cannot. A `secret` may stand in a file of its own, and is never shown. A path
    that is `relative` begins in the directory of the file that sets it.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str], str] | None = None
    example: Any = None
    secret: bool = False
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """A declared option as the loader and the example need it: `kind` is that of one entry when `many`."""

    name: str
    kind: Kind
    many: bool
    default: Any
    opt: Opt

    def read(self, value: object) -> Any:
        """Return one value as the program wants it; raise ValueError with the rule it breaks."""
        read = self.kind.read(value)
        self._check_bounds(read)
        if self.opt.choices and read not in self.opt.choices:
            raise ValueError("must be " + " or ".join(f'"{choice}"' for choice in self.opt.choices))
        return self.opt.check(read) if self.opt.check else read

    @property
    def bounds(self) -> str:
        """What the value may be, such as "1s to 1h", or ""."""
        if self.opt.choices:
            return "one of: " + ", ".join(self.opt.choices)
        if self.opt.minimum is None or self.opt.maximum is None:
            return ""
        return " to ".join(self.kind.write(bound).strip('"') for bound in (self.opt.minimum, self.opt.maximum))

    def write(self, value: Any) -> str:
        """Return a value as TOML."""
        return f"[{', '.join(map(self.kind.write, value))}]" if self.many else self.kind.write(value)

    def _check_bounds(self, value: Any) -> None:
        if self.opt.minimum is not None and value < self.opt.minimum:
            raise ValueError(f"must be at least {self.kind.write(self.opt.minimum)}")
        if self.opt.maximum is not None and value > self.opt.maximum:
            raise ValueError(f"must be at most {self.kind.write(self.opt.maximum)}")


def options(section: type[Section]) -> dict[str, Option]:
    """Return the options that a section declares, by name."""
    hints = get_type_hints(section, include_extras=True)
    return {
        field.name: _option(field.name, hints[field.name], field.default)
        for field in fields(section)
        if get_origin(hints[field.name]) is Annotated
    }


def sections(section: type[Section]) -> dict[str, type[Section]]:
    """Return the sections within a section, by name."""
    hints = get_type_hints(section)
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Section)}


def lists(section: type[Section]) -> dict[str, type[Section]]:
    """Return the sections that a section has any number of, by name: arrays of tables in TOML."""
    hints = get_type_hints(section)
    return {
        name: get_args(hint)[0]
        for name, hint in hints.items()
        if get_origin(hint) is tuple and isinstance(get_args(hint)[0], type) and issubclass(get_args(hint)[0], Section)
    }


def _option(name: str, hint: Any, default: Any) -> Option:
    type_, *metadata = get_args(hint)
    if get_origin(type_) in (Union, types.UnionType):
        type_ = next(arm for arm in get_args(type_) if arm is not type(None))
    many = get_origin(type_) is tuple
    kinds = [entry for entry in metadata if isinstance(entry, Kind)]
    kind = kinds[0] if kinds else KINDS[get_args(type_)[0] if many else type_]
    return Option(name, kind, many, default, next(entry for entry in metadata if isinstance(entry, Opt)))
