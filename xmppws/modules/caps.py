"""XEP-0115 Entity Capabilities: the host tells its own after log-in, so that clients need not ask each time.

The information behind them is the module disco's to give. Caps optimisation (section 8.4) is left out.
"""

from __future__ import annotations

from collections.abc import Awaitable

from xmppws.core.events import DiscoInfoWanted
from xmppws.core.module import Module, Xep
from xmppws.xml import ns
from xmppws.xml.caps import SOFTWARE, verification_string
from xmppws.xml.writer import element, serialize


class Caps(Module):
    name = "caps"
    xeps = (Xep(115, "1.6.0"),)
    requires = ("disco",)
    features = (ns.CAPS,)

    # Made anew each time: it depends on all modules, also on those that are loaded after this one or replaced later.
    @property
    def stream_features(self) -> bytes:  # type: ignore[override]
        """The capabilities (section 6.3), or nothing while a module has to wait for what it can do."""
        info = DiscoInfoWanted(self.host.jid, self.host.jid)
        pending = self.host.hooks.run(info)
        if isinstance(pending, Awaitable):
            self.host.dispatch.observe(pending)
            return b""
        identities = [(category, type, "", name) for category, type, name in info.identities]
        ver = verification_string(identities, info.features, info.forms)
        return serialize(element(ns.CAPS, "c", {"hash": "sha-1", "node": SOFTWARE, "ver": ver}))
