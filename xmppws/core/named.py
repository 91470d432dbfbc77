"""Classes of other packages that the configuration names: by an entry point, or as `package.module:Class`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any


class NotFound(Exception):
    """There is nothing of that name, or it cannot be imported; the text is for the sysadmin."""


def find(kind: str, name: str) -> Any:
    """Return what a name means among the `kind` "router" or "route", whose entry points are in `xmppws.KINDs`.

    Raises `NotFound`.
    """
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            return getattr(import_module(module), attribute)
        return entry_points(group=f"xmppws.{kind}s")[name].load()
    except KeyError:
        raise NotFound(f"there is no {kind} {name!r}: no installed package brings it") from None
    except Exception as error:
        raise NotFound(f"{kind} {name!r} cannot be imported: {error}") from error
