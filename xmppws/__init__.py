"""An XMPP-over-WebSocket server (RFC 7395)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmppws.mount import attach

__version__ = "0.1.0"
__all__ = ["__version__", "attach"]


def __getattr__(name: str) -> object:
    # Imported here so that `import xmppws.jid` and the like do not wait for the whole server.
    if name == "attach":
        return import_module("xmppws.mount").attach
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
