"""Read the configuration again: what a running server can take over is applied, and the rest is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import fields

from xmppws.config import Config, ConfigError, Section
from xmppws.config.lines import Key
from xmppws.config.source import dotted
from xmppws.core.admin import AdminError, Row

APPLIED: Final = "applied"
RESTART: Final = "needs a restart"

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Applier:
    """Puts options into force, those whose dotted key matches `options`, when one of them has changed.

    `apply` may raise `AdminError`, having changed nothing.
    """

    options: re.Pattern[str]
    apply: Callable[[Config], None]

    def covers(self, option: str) -> bool:
        """Tell whether an option is applied by this."""
        return self.options.fullmatch(option) is not None


class Reload:
    """Applies a changed configuration. `load` reads it again; `appliers` are those of the parts of the server."""

    def __init__(self, started: Config, load: Callable[[], Config], appliers: Iterable[Applier]) -> None:
        self._started = started
        self._loaded = started
        self._load = load
        self._appliers = tuple(appliers)

    def __call__(self) -> tuple[Config, list[Row]]:
        """Read and apply; return the configuration and a row for each change.

        What needs a restart is told until it has had one. Raises `AdminError`.
        """
        try:
            new = self._load()
        except ConfigError as error:
            raise AdminError(f"the configuration stays as it was: {error}") from None
        except OSError as error:
            raise AdminError(f"the configuration stays as it was: {error.filename}: {error.strerror}") from None
        changed = changes(self._loaded, new)
        outcomes: dict[str, str] = {}
        for applier in self._appliers:
            if covered := [option for option in changed if applier.covers(option)]:
                applier.apply(new)
                outcomes |= dict.fromkeys(covered, APPLIED)
        outcomes |= {option: _waits_for(option) for option in changes(self._started, new) if not self._covers(option)}
        self._loaded = new
        return new, [{"option": option, "outcome": outcome} for option, outcome in sorted(outcomes.items())]

    def _covers(self, option: str) -> bool:
        return any(applier.covers(option) for applier in self._appliers)


def changes(old: Config, new: Config) -> list[str]:
    """Return the dotted keys of the options that differ, hosts that came or went among them, sorted."""
    before, after = dict(_options(old)), dict(_options(new))
    return sorted(key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT))


def _options(value: Any, key: Key = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Section):
        items = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, Mapping):
        items = dict(value)
    else:
        yield dotted(key), value
        return
    for name, each in items.items():
        if (*key, name) != ("source",):
            yield from _options(each, (*key, name))


def _waits_for(option: str) -> str:
    # The options of a module are read when it is made.
    module = re.fullmatch(r'(?:hosts\.(?:[^".]+|"[^"]*")\.)?modules\.([^.]+)\..*', option)
    return f"needs `xmppws reload {module[1]}`" if module else RESTART
