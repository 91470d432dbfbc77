"""XEP-0352 Client State Indication: a client that nobody looks at is sent less.

While it is inactive, presence and chat states wait, the latest of each sender. They are sent before anything else of
the same sender, so that each sender keeps its order, and when the client is active or comes back. What a room says of
its occupants besides that they come, go and change waits for nothing. What waits when a session ends goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from xmppws.config import Section
from xmppws.config.options import Opt
from xmppws.core.events import SessionSuspended
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.metrics import Counter, counter
from xmppws.core.module import Module, Xep, nonza, on
from xmppws.core.session import Session
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import Stanza

_CSI: Final = "urn:xmpp:csi:0"
_STATUS: Final = f"{{{ns.MUC_USER}}}x/{{{ns.MUC_USER}}}status"
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
    """The `core.session.Hold` of an inactive client."""

    def __init__(self, client: Jid, max_held: int, count: Counter, replaced: Counter) -> None:
        self._client = client
        self._max_held = max_held
        self._count = count
        self._replaced = replaced
        self._stanzas: dict[tuple[str, Jid], Stanza] = {}

    def instead(self, stanza: Stanza) -> Iterable[Stanza]:
        """Return what is sent in the place of a stanza."""
        sender = stanza.sender
        if sender is None or sender == self._client:
            return (stanza,)
        if len(stanza.content) <= _MAX_SIZE and _can_wait(stanza):
            return self._keep((stanza.kind, sender), stanza)
        return (*self._before(stanza, sender), stanza)

    def held(self) -> Iterable[Stanza]:
        """Return all that is kept."""
        return self._stanzas.values()

    def _keep(self, key: tuple[str, Jid], stanza: Stanza) -> Iterable[Stanza]:
        self._count.inc()
        if self._stanzas.pop(key, None) is not None:
            self._replaced.inc()
        self._stanzas[key] = stanza
        if len(self._stanzas) > self._max_held:
            return (self._stanzas.pop(next(iter(self._stanzas))),)
        return ()

    def _before(self, stanza: Stanza, sender: Jid) -> list[Stanza]:
        if stanza.kind == "presence":
            # A room may speak of several occupants at once: who was renamed, and as whom.
            keys = [key for key in self._stanzas if key[1].bare == sender.bare]
        else:
            keys = [key for kind in ("presence", "message") if (key := (kind, sender)) in self._stanzas]
        return [self._stanzas.pop(key) for key in keys]


class Csi(Module):
    name = "csi"
    xeps = (Xep(352, "1.0.0"),)
    stream_features = f'<csi xmlns="{_CSI}"/>'.encode()

    held = counter("xmppws_csi_held_total", "Stanzas that had to wait for an inactive client.")
    replaced = counter("xmppws_csi_replaced_total", "Of them, those that were never sent, as a newer one came.")

    class Options(Section, frozen=True, kw_only=True):
        max_held: Annotated[
            int, Opt("Stanzas that wait for one inactive client; 0: none does.", minimum=0, maximum=10_000)
        ] = 500

    options: Options

    @nonza(_CSI, "inactive")
    def inactive(self, session: Session, element: Element) -> None:
        """Send less from now on (section 4.2)."""
        if session.hold is None and self.options.max_held:
            session.hold = Held(session.jid, self.options.max_held, self.held, self.replaced)

    @nonza(_CSI, "active")
    def active(self, session: Session, element: Element) -> None:
        """Send all there is, before the client's next stanza is handled (section 5.1)."""
        session.release()

    @on(SessionSuspended, Phase.GUARD)
    def suspended(self, event: SessionSuspended) -> Verdict:
        """Let what waits be stored with the rest: who comes back is active (section 5.2)."""
        event.session.release()
        return None


def _can_wait(stanza: Stanza) -> bool:
    if stanza.kind == "presence":
        return stanza.type in ("", "unavailable") and _root(stanza).find(_STATUS) is None
    if stanza.kind != "message" or stanza.type not in ("chat", "groupchat"):
        return False
    tags = [tag_of(child) for child in _root(stanza)]
    others = [tag for tag in tags if not tag.startswith(_CHAT_STATE)]
    return len(others) < len(tags) and all(tag.startswith(_BESIDE) for tag in others)


def _root(stanza: Stanza) -> Element:
    # The element of what was made from bytes is empty.
    return stanza.element if len(stanza.element) else stanza.tree()
