"""Metrics of modules, declared on the class and counted in plain numbers, one for each host.

    class Hello(Module):
        name = "hello"
        hits = counter("xmppws_hello_hits_total", "Greetings answered.")

        def greet(self, iq: Stanza) -> Stanza:
            self.hits.inc()

They are exposed with the label `host`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Generic, Literal, TypeAlias, TypeVar, overload

Kind: TypeAlias = Literal["counter", "gauge"]

_name: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*").fullmatch


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, by: float = 1) -> None:
        """Add to it."""
        self.value += by


class Gauge(Counter):
    """A number that comes and goes."""

    __slots__ = ()

    def dec(self, by: float = 1) -> None:
        """Take from it."""
        self.value -= by

    def set(self, value: float) -> None:
        """Set it."""
        self.value = value


V = TypeVar("V", bound=Counter)


class Metric(Generic[V]):
    """A declared metric. On the class it is itself, on a module its value."""

    def __init__(self, kind: Kind, type_: type[V], name: str, help: str) -> None:
        self.kind = kind
        self.name = name
        self.help = help
        self._type = type_
        self._attribute = ""

    def __set_name__(self, owner: type, attribute: str) -> None:
        self._attribute = attribute

    @overload
    def __get__(self, module: None, owner: type) -> Metric[V]: ...
    @overload
    def __get__(self, module: object, owner: type) -> V: ...
    def __get__(self, module: object | None, owner: type) -> Metric[V] | V:
        if module is None:
            return self
        # The instance's own attribute is found before this one from now on.
        value: V = vars(module).setdefault(self._attribute, self._type())
        return value


def counter(name: str, help: str) -> Metric[Counter]:
    """Declare a counter; its name ends in "_total"."""
    return Metric("counter", Counter, name, help)


def gauge(name: str, help: str) -> Metric[Gauge]:
    """Declare a gauge."""
    return Metric("gauge", Gauge, name, help)


def declared(type_: type) -> dict[str, Metric[Counter]]:
    """Return the metrics of a module's class by attribute, base classes first."""
    found = {name: value for base in reversed(type_.__mro__) for name, value in vars(base).items()}
    return {name: value for name, value in found.items() if isinstance(value, Metric)}


def check(module: str, type_: type) -> None:
    """Check the metrics of a module's class: raise ValueError for names that are wrong, or could be somebody else's."""
    for metric in declared(type_).values():
        if not metric.name.startswith(f"xmppws_{module}_") or not _name(metric.name):
            raise ValueError(f"metric {metric.name!r} must be named xmppws_{module}_ and more in lower case")
        if (metric.kind == "counter") != metric.name.endswith("_total"):
            raise ValueError(f"metric {metric.name!r}: names of counters end in _total, and no others do")


def values(module: object) -> Iterator[tuple[Metric[Counter], float]]:
    """Return the metrics of a module with their present values."""
    for name, metric in declared(type(module)).items():
        yield metric, getattr(module, name).value
