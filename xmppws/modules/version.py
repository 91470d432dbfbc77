"""XEP-0092 Software Version: says that the host is an xmppws, and which. The operating system is left out."""

from __future__ import annotations

from xmppws import __version__
from xmppws.core.module import Module, Target, Xep, iq_get
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import child, element


class Version(Module):
    name = "version"
    xeps = (Xep(92, "1.1"),)
    features = (ns.VERSION,)

    @iq_get(ns.VERSION, "query", to=Target.HOST)
    def answer(self, iq: Stanza) -> Stanza:
        """Answer with name and version."""
        query = element(ns.VERSION, "query")
        child(query, ns.VERSION, "name", text="xmppws")
        child(query, ns.VERSION, "version", text=__version__)
        return iq.result(query)
