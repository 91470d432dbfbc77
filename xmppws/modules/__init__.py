"""The features, one file each, named by what they do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from xmppws.core.module import Module
from xmppws.modules.adhoc import Adhoc
from xmppws.modules.disco import Disco
from xmppws.modules.ping import Ping
from xmppws.modules.presence import Presence
from xmppws.modules.roster import Roster
from xmppws.modules.session import LegacySession
from xmppws.modules.time import Time
from xmppws.modules.version import Version

BUILT_IN: Final[Mapping[str, type[Module]]] = MappingProxyType(
    {module.name: module for module in (Adhoc, Disco, LegacySession, Ping, Presence, Roster, Time, Version)}
)
"""All modules of this package by name. Each is enabled by default."""
