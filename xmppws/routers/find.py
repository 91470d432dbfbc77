"""Routers that other packages bring: by the name of an entry point, or as `package.module:Class`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Final

from xmppws.core.router import Router

GROUP: Final = "xmppws.routers"


class RouterError(Exception):
    """A router that cannot be found or made; the text is for the sysadmin."""


def find_router(name: str, domain: str) -> Router:
    """Make the router of a virtual host: what `name` means is called with the domain. Raises `RouterError`."""
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            factory = getattr(import_module(module), attribute)
        else:
            factory = entry_points(group=GROUP)[name].load()
    except KeyError:
        raise RouterError(f"there is no router {name!r}: no installed package brings it") from None
    except Exception as error:
        raise RouterError(f"router {name!r} cannot be imported: {error}") from error
    router: Router = factory(domain)
    return router
