"""The configuration of `serve --demo`."""

from pathlib import Path
from types import MappingProxyType

from xmppws.config.sections import Config, Host, Http
from xmppws.config.source import Source


def demo_config() -> Config:
    """Return the configuration that needs nothing: host localhost, data in ./var, streams taken as secure."""
    return Config(
        data_dir=Path("var"),
        # Nobody but this machine reaches the listener, so a stream in clear is as safe as the machine.
        http=Http(listen=("127.0.0.1:5280",), consider_websocket_secure=True, console=True),
        hosts=MappingProxyType({"localhost": Host(http_host=("localhost", "127.0.0.1", "[::1]"))}),
        source=Source("built-in demo"),
    )
