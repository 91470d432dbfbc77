"""Seam 2, per stanza: where a stanza of the local router goes.

Routes are asked in order whether an address is theirs: first the hosts of this process, then whatever else was added.
Nothing above knows where the recipient lives.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from xmppws.jid import Jid
from xmppws.xml.stanza import Stanza


class Route(Protocol):
    """A way to some addresses.

    What brings stanzas from there gives them to `dispatch.send`. One that has to begin and end something is also a
    `core.auth.Background`.
    """

    def owns(self, to: Jid) -> bool:
        """Tell whether an address is reached by this route."""

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza with `to` and `sender`. Raise a `StanzaError` for what its sender should be told."""
