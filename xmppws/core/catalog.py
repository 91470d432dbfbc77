"""Where modules come from: this package, other packages by their entry points, and files in `plugin_paths`.

Nothing is imported that is not enabled.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Final

from xmppws.core.module import Module

GROUP: Final = "xmppws.modules"
DEFAULT: Final = "default"
"""Stands in `modules_enabled` for all modules that are enabled where nothing is said."""


class ModuleError(Exception):
    """A module that cannot be loaded; the text is for the sysadmin."""


class Catalog:
    """All modules that there are, by name. A file in `plugin_paths` goes before a package, and that before ours."""

    def __init__(
        self,
        built_in: Mapping[str, type[Module]],
        plugin_paths: Iterable[Path] = (),
        optional: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`optional` names the places, as "package.module", of modules of ours that are not enabled by default."""
        self._built_in = built_in
        self._optional = optional
        self._files = {file.stem: file for path in reversed(list(plugin_paths)) for file in sorted(path.glob("*.py"))}
        self._packages: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
        self._found: dict[str, type[Module]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all modules, sorted."""
        return tuple(sorted({*self._built_in, *self._optional, *self._files, *self._packages}))

    def enabled(self, wanted: Iterable[str] | None, disabled: Iterable[str]) -> list[str]:
        """Return the names of the modules to load. `wanted` is None where nothing is said."""
        names: list[str] = []
        for name in (DEFAULT,) if wanted is None else wanted:
            names += self._built_in if name == DEFAULT else (name,)
        return [name for name in dict.fromkeys(names) if name not in set(disabled)]

    def find(self, name: str) -> type[Module]:
        """Return a module by name. Raises `ModuleError`."""
        if name not in self._found:
            self._found[name] = self._load(name)
        return self._found[name]

    def reload(self, name: str) -> type[Module]:
        """Read a module's file again and return its class. Raises `ModuleError`, and keeps the old one then."""
        old = self.find(name)
        if name in self._files:
            new = self._load(name)
        else:
            try:
                new = _class_in(importlib.reload(sys.modules[old.__module__]), name)
            except Exception as error:
                raise ModuleError(f"module '{name}' cannot be read again: {error}") from error
        self._found[name] = new
        return new

    def _load(self, name: str) -> type[Module]:
        try:
            if name in self._files:
                return _class_in(_import_file(self._files[name]), name)
            if name in self._packages:
                return _checked(self._packages[name].load(), name)
            if name in self._optional:
                return _class_in(importlib.import_module(self._optional[name]), name)
        except ModuleError:
            raise
        except Exception as error:
            raise ModuleError(f"module '{name}' cannot be imported: {type(error).__name__}: {error}") from error
        if name in self._built_in:
            return self._built_in[name]
        near = difflib.get_close_matches(name, self.names, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(self.names)}"
        raise ModuleError(f"there is no module '{name}'; {hint}")


def _import_file(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"xmppws_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ModuleError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # What the file defines can be found by name, as pickling and typing want.
    spec.loader.exec_module(module)
    return module


def _class_in(module: ModuleType, name: str) -> type[Module]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Module) and getattr(value, "name", None) == name:
            return value
    raise ModuleError(f"{module.__file__} defines no Module whose name is '{name}'")


def _checked(value: object, name: str) -> type[Module]:
    if isinstance(value, type) and issubclass(value, Module) and getattr(value, "name", None) == name:
        return value
    raise ModuleError(f"the entry point '{name}' of {GROUP} does not name a Module whose name is '{name}'")
