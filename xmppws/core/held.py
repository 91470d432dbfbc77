"""What a client need not be sent at once: presence and chat states, of which the latest of each sender is enough.

They wait while a client is inactive (module csi), and while it reads too slowly (`core.session`). They are sent before
anything else of the same sender, so that each sender keeps its order. What a room says of its occupants besides that
they come, go and change waits for nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from xmppws.core.metrics import Counter
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import Stanza, kept

_MUC_USER: Final = ns.MUC_USER.encode()
_STATUS: Final = f"{{{ns.MUC_USER}}}x/{{{ns.MUC_USER}}}status"
_CHAT_STATES: Final = ns.CHAT_STATES.encode()
_CHAT_STATE: Final = f"{{{ns.CHAT_STATES}}}"
# What stands beside a chat state and says nothing by itself.
_BESIDE: Final = (
    f"{{{ns.CLIENT}}}thread",
    f"{{{ns.HINTS}}}",
    f"{{{ns.MUC_USER}}}x",
    "{urn:xmpp:sid:0}",
    "{urn:xmpp:occupant-id:0}",
)
# Bytes: what is larger goes at once, so that memory is bounded.
_MAX_SIZE: Final = 4 * 1024


class Held:
    """The `core.session.Hold` of such stanzas: `most` of them for one client; when one more comes, the oldest is sent.

    `waited` counts all of them, `replaced` those that were never sent, as a newer one came.
    """

    __slots__ = ("_client", "_most", "_replaced", "_stanzas", "_waited")

    def __init__(self, client: Jid, most: int, waited: Counter, replaced: Counter) -> None:
        self._client = client
        self._most = most
        self._waited = waited
        self._replaced = replaced
        self._stanzas: OrderedDict[tuple[str, Jid], Stanza] = OrderedDict()

    def instead(self, stanza: Stanza) -> Iterable[Stanza]:
        """Return what is sent now in the place of a stanza: nothing, or what has to come before it too."""
        sender = stanza.sender
        if sender is None or sender == self._client:
            return (stanza,)
        if len(stanza.content) <= _MAX_SIZE and _can_wait(stanza):
            return self._keep((stanza.kind, sender), stanza)
        return (*self._before(stanza, sender), stanza)

    def held(self) -> Iterable[Stanza]:
        """Return all that waits."""
        return self._stanzas.values()

    def _keep(self, key: tuple[str, Jid], stanza: Stanza) -> Iterable[Stanza]:
        self._waited.inc()
        if self._stanzas.pop(key, None) is not None:
            self._replaced.inc()
        # Its bytes: a tree takes many times as much.
        self._stanzas[key] = kept(stanza.kind, stanza.type, stanza.content, to=stanza.to, sender=stanza.sender)
        if len(self._stanzas) > self._most:
            return (self._stanzas.popitem(last=False)[1],)
        return ()

    def _before(self, stanza: Stanza, sender: Jid) -> list[Stanza]:
        if stanza.kind == "presence":
            # A room may speak of several occupants at once: who was renamed, and as whom.
            keys = [key for key in self._stanzas if key[1].bare == sender.bare]
        else:
            keys = [key for kind in ("presence", "message") if (key := (kind, sender)) in self._stanzas]
        return [self._stanzas.pop(key) for key in keys]


def _can_wait(stanza: Stanza) -> bool:
    # Bytes are looked at first: what rooms send has no tree, and would have to be parsed for each who is in them.
    if stanza.kind == "presence":
        if stanza.type not in ("", "unavailable"):
            return False
        return _MUC_USER not in stanza.content or _root(stanza).find(_STATUS) is None
    if stanza.kind != "message" or stanza.type not in ("chat", "groupchat") or _CHAT_STATES not in stanza.content:
        return False
    tags = [tag_of(child) for child in _root(stanza)]
    others = [tag for tag in tags if not tag.startswith(_CHAT_STATE)]
    return len(others) < len(tags) and all(tag.startswith(_BESIDE) for tag in others)


def _root(stanza: Stanza) -> Element:
    # The element of what was made from bytes is empty.
    return stanza.element if len(stanza.element) else stanza.tree()
