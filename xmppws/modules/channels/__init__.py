"""Rooms for pages that speak JSON over a WebSocket, and no XMPP."""

from xmppws.modules.channels.module import Channels

__all__ = ["Channels"]
