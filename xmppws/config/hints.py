"""What somebody may have meant who wrote a key that is not known."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from xmppws.config.hosts import Host
from xmppws.config.lines import Key
from xmppws.config.options import options, sections
from xmppws.config.sections import Config

_HOST: Final[Key] = ("hosts", "example.com")

PROSODY: Final[Mapping[str, Key]] = MappingProxyType(
    {
        "Component": ("components", "conference.example.com"),
        "Include": ("include",),
        "VirtualHost": _HOST,
        "c2s_close_timeout": ("c2s", "close_timeout"),
        "c2s_stanza_size_limit": ("c2s", "max_stanza_size"),
        "c2s_timeout": ("c2s", "auth_timeout"),
        "certificates": (*_HOST, "certificate"),
        "cross_domain_websocket": (*_HOST, "allowed_origins"),
        "data_path": ("data_dir",),
        "default_storage": ("storage", "url"),
        "http_default_host": ("http", "default_host"),
        "http_external_url": (*_HOST, "external_url"),
        "http_interfaces": ("http", "listen"),
        "http_paths": ("http", "websocket_path"),
        "http_ports": ("http", "listen"),
        "https_certificate": (*_HOST, "certificate"),
        "https_interfaces": ("http", "listen"),
        "https_key": (*_HOST, "key"),
        "https_ports": ("http", "listen"),
        "interfaces": ("http", "listen"),
        "limits": ("c2s",),
        "network_settings": ("c2s", "read_timeout"),
        "openmetrics_allow_ips": ("metrics", "listen"),
        "sql": ("storage", "url"),
        "ssl": (*_HOST, "certificate"),
        "statistics": ("metrics", "listen"),
        "websocket_frame_buffer_limit": ("c2s", "max_stanza_size"),
    }
)
"""Options of Prosody that have a counterpart with another name."""


def meant(key: Key, known: Collection[str]) -> Key:
    """Return the key that may have been meant, or (): `known` are the names at the place of `key`."""
    *at, last = key
    name = str(last)
    if not _is_of_module(key):
        if name in PROSODY:
            return PROSODY[name]
        elsewhere = [found for found in _declared() if found[-1] == name]
        if elsewhere:
            return elsewhere[0]
    near = get_close_matches(name, sorted(known), 1, 0.5)
    return (*at, near[0]) if near else ()


def _is_of_module(key: Key) -> bool:
    return key[0] == "modules" or (key[0] == "hosts" and key[2:3] == ("modules",))


def _declared() -> Iterator[Key]:
    yield from ((name,) for name in options(Config))
    for section, type_ in sections(Config).items():
        yield from ((section, name) for name in options(type_))
    yield from ((*_HOST, name) for name in options(Host))
