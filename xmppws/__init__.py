"""An XMPP-over-WebSocket server (RFC 7395)."""

__version__ = "0.1.0"
