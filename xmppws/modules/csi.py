"""XEP-0352 Client State Indication: a client that nobody looks at is sent less.

While it is inactive, presence and chat states wait, the latest of each sender (`core.held`), until it is active or
comes back. What waits when a session ends goes nowhere.
"""

from __future__ import annotations

from typing import Annotated

from xmppws.config import Section
from xmppws.config.options import Opt
from xmppws.core.held import Held
from xmppws.core.metrics import counter
from xmppws.core.module import Module, Xep, nonza
from xmppws.core.session import Session
from xmppws.xml import ns
from xmppws.xml.parser import Element


class Csi(Module):
    name = "csi"
    xeps = (Xep(352, "1.0.0"),)
    stream_features = f'<csi xmlns="{ns.CSI}"/>'.encode()
    inline_features = (ns.CSI,)

    held = counter("xmppws_csi_held_total", "Stanzas that had to wait for an inactive client.")
    replaced = counter("xmppws_csi_replaced_total", "Of them, those that were never sent, as a newer one came.")

    class Options(Section, frozen=True, kw_only=True):
        max_held: Annotated[
            int, Opt("Stanzas that wait for one inactive client; 0: none does.", minimum=0, maximum=10_000)
        ] = 500

    options: Options

    @nonza(ns.CSI, "inactive")
    def inactive(self, session: Session, element: Element) -> None:
        """Send less from now on (section 4.2)."""
        if self.options.max_held:
            session.hold_back(Held(session.jid, self.options.max_held, self.held, self.replaced))

    @nonza(ns.CSI, "active")
    def active(self, session: Session, element: Element) -> None:
        """Send all there is, before the client's next stanza is handled (section 5.1)."""
        session.release()
