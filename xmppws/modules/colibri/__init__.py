"""Colibri WebSockets: the messages of Jitsi conferences, without their media."""

from xmppws.modules.colibri.module import Colibri

__all__ = ["Colibri"]
