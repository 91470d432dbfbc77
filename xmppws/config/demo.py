"""The configuration of `serve --demo`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from xmppws.config.loader import assemble
from xmppws.config.mistakes import ConfigError
from xmppws.config.sections import Config
from xmppws.config.source import Source

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def demo_config(environment: Mapping[str, str] = _NO_VARIABLES) -> Config:
    """Return the configuration that needs nothing: host localhost, data in ./var, streams taken as secure.

    Raises `ConfigError` for what the environment sets.
    """
    values = {
        "data_dir": "var",
        # Nobody but this machine reaches the listener, so a stream in clear is as safe as the machine.
        "http": {"listen": ["127.0.0.1:5280"], "consider_websocket_secure": True, "console": True},
        "hosts": {"localhost": {"http_host": ["localhost", "127.0.0.1", "[::1]"]}},
    }
    config, mistakes = assemble(values, Source("built-in demo"), environment)
    if mistakes:
        raise ConfigError(mistakes)
    return config
