"""The providers of a virtual host, by the names that `authentication` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from types import MappingProxyType
from typing import Final, TypeAlias

from xmppws.auth.anonymous import AnonymousProvider
from xmppws.auth.internal import InternalProvider
from xmppws.config import Host
from xmppws.core.auth import Provider
from xmppws.core.stores import Stores

_Make: TypeAlias = Callable[[str, Host, Stores, Executor], Provider]


def make_providers(domain: str, options: Host, stores: Stores, executor: Executor) -> tuple[Provider, ...]:
    """Return the providers of a host in the order in which they are asked; passwords are hashed in the executor."""
    return tuple(_MAKERS[name](domain, options, stores, executor) for name in options.authentication)


def _jwt(domain: str, options: Host, stores: Stores) -> Provider:
    # Its libraries take 10 MB, which few servers need.
    from xmppws.auth.jwt import JwtProvider

    return JwtProvider(domain, options.jwt, stores)


_MAKERS: Final[Mapping[str, _Make]] = MappingProxyType(
    {
        "internal": lambda domain, options, stores, executor: InternalProvider(domain, stores, executor),
        "anonymous": lambda domain, options, stores, executor: AnonymousProvider(stores),
        "jwt": lambda domain, options, stores, executor: _jwt(domain, options, stores),
    }
)
