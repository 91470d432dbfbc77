"""A session: one connected resource of an account (RFC 6120 section 7, RFC 6121 section 4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from xmppws.errors import Reason, StreamResourceConstraint
from xmppws.jid import Jid
from xmppws.stream.sm import REQUEST, Acks
from xmppws.xml.stanza import Stanza

if TYPE_CHECKING:
    from xmppws.core.auth import Identity
    from xmppws.core.host import Host
    from xmppws.core.router import Stream


class Hold(Protocol):
    """Keeps stanzas for a session until it wants them."""

    def instead(self, stanza: Stanza) -> Iterable[Stanza]:
        """Return what is sent now in the place of a stanza: nothing, or what was kept and has to come before it too."""

    def held(self) -> Iterable[Stanza]:
        """Return all that is kept, in order."""


class Session:
    """A connected resource.

    `presence` is its last undirected presence while it is available, else None, and `priority` belongs to it. It is
    `interested` once it has asked for the roster (RFC 6121 section 2.2). `directed` holds to whom it has sent presence
    directly (section 4.6). `lang` is what its stanzas are written in where they do not say, "" if that is unknown.
    `identity` is what its token says, None where it has none. `acks` counts its stanzas, once the client wants that;
    `handling` is the one of them that is handled and has to wait. `hold` keeps back what the client does not need now.
    """

    __slots__ = (
        "_caught_up",
        "account",
        "acks",
        "directed",
        "handling",
        "hold",
        "host",
        "identity",
        "interested",
        "jid",
        "lang",
        "presence",
        "priority",
        "stream",
    )

    def __init__(self, jid: Jid, host: Host, stream: Stream, identity: Identity | None = None) -> None:
        self.jid = jid
        self.account = jid.bare
        self.host = host
        self.stream = stream
        self.identity = identity
        self.presence: Stanza | None = None
        self.priority = 0
        self.interested = False
        self.lang = ""
        self.directed: set[Jid] | None = None
        self.acks: Acks | None = None
        self.handling: asyncio.Future[None] | None = None
        self.hold: Hold | None = None
        # While the client reads too slowly: done when it has caught up.
        self._caught_up: asyncio.Future[None] | None = None

    def send(self, stanza: Stanza) -> None:
        """Send a stanza to the client, unless it is held back."""
        if self.hold is not None:
            self._send_instead(self.hold, stanza)
            return
        self.host.traffic.sent[stanza.kind] += 1
        if self.acks is None:
            self.stream.send(stanza.wire)
        else:
            self._send_counted(self.acks, stanza)

    def _send_counted(self, acks: Acks, stanza: Stanza) -> None:
        if acks.sent(stanza, time.time()):
            self.stream.send(stanza.wire, REQUEST)
        else:
            self.stream.send(stanza.wire)
        if acks.is_full:
            self.stream.end(StreamResourceConstraint("Too much was not acknowledged", Reason.UNACKNOWLEDGED))

    def _send_instead(self, hold: Hold, stanza: Stanza) -> None:
        self.hold = None
        for each in hold.instead(stanza):
            self.send(each)
        self.hold = hold

    def release(self) -> None:
        """Send what is held back, and hold back nothing more."""
        hold, self.hold = self.hold, None
        for each in hold.held() if hold is not None else ():
            self.send(each)

    async def writable(self) -> None:
        """Wait until the client has read what it was sent, as who sends much at once does; or until it is gone."""
        if self._caught_up is not None:
            await asyncio.shield(self._caught_up)

    def reads(self, ready: bool) -> None:
        """Note that the client reads too slowly (False), or has caught up or is gone (True)."""
        if not ready:
            self._caught_up = self._caught_up or asyncio.get_running_loop().create_future()
        elif self._caught_up is not None:
            self._caught_up.set_result(None)
            self._caught_up = None
