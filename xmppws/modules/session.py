"""RFC 3921 section 3, the legacy session: older clients request one after binding.

RFC 6120 has none, so it is offered as optional.
"""

from __future__ import annotations

from xmppws.core.module import Module, Target, iq_set
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza


class LegacySession(Module):
    name = "session"
    stream_features = f'<session xmlns="{ns.SESSION}"><optional/></session>'.encode()

    @iq_set(ns.SESSION, "session", to=Target.HOST | Target.SELF)
    def establish(self, iq: Stanza) -> Stanza:
        """Answer that there is one, which changes nothing."""
        return iq.result()
