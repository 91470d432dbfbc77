"""The features, one file each, named by what they do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from xmppws.core.module import Module
from xmppws.modules.adhoc import Adhoc
from xmppws.modules.blocking import Blocking
from xmppws.modules.caps import Caps
from xmppws.modules.carbons import Carbons
from xmppws.modules.contact_addresses import ContactAddresses
from xmppws.modules.csi import Csi
from xmppws.modules.disco import Disco
from xmppws.modules.lastactivity import LastActivity
from xmppws.modules.mam import Mam
from xmppws.modules.muc import Muc
from xmppws.modules.offline import Offline
from xmppws.modules.ping import Ping
from xmppws.modules.presence import Presence
from xmppws.modules.private import Private
from xmppws.modules.roster import Roster
from xmppws.modules.session import LegacySession
from xmppws.modules.subscriptions import Subscriptions
from xmppws.modules.time import Time
from xmppws.modules.uptime import Uptime
from xmppws.modules.vcard import Vcard
from xmppws.modules.version import Version

_MODULES: Final = (
    Adhoc,
    Blocking,
    Caps,
    Carbons,
    ContactAddresses,
    Csi,
    Disco,
    LastActivity,
    LegacySession,
    Mam,
    Muc,
    Offline,
    Ping,
    Presence,
    Private,
    Roster,
    Subscriptions,
    Time,
    Uptime,
    Vcard,
    Version,
)
BUILT_IN: Final[Mapping[str, type[Module]]] = MappingProxyType({module.name: module for module in _MODULES})
"""The modules of this package that are enabled by default, by name."""

OPTIONAL: Final[Mapping[str, str]] = MappingProxyType(
    {"channels": "xmppws.modules.channels", "colibri": "xmppws.modules.colibri"}
)
"""Where the others are, which cost nothing until they are enabled."""
