"""XEP-0199 XMPP Ping: answers pings to the host, to accounts and to components.

Sockets that died are found by http/connection.py.
"""

from __future__ import annotations

from xmppws.core.module import Module, Target, Xep, iq_get
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza


class Ping(Module):
    name = "ping"
    xeps = (Xep(199, "2.0.1"),)
    features = (ns.PING,)
    component_features = (ns.PING,)

    @iq_get(ns.PING, "ping", to=Target.HOST | Target.SELF | Target.COMPONENT)
    def answer(self, iq: Stanza) -> Stanza:
        """Answer a ping (XEP-0199 sections 4.2 and 4.4)."""
        return iq.result()
