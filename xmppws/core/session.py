"""A session: one connected resource of an account (RFC 6120 section 7, RFC 6121 section 4).

While its client reads too slowly, three things keep what waits for it small. Presence and chat states are held back,
the latest of each sender. Who sends much at once, such as pages of an archive, awaits `writable`. And clients of this
process that write to it are not read for a while after each stanza. What is too much all the same ends its stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from xmppws.core.held import Held
from xmppws.core.pause import Pause
from xmppws.errors import Reason, StreamResourceConstraint
from xmppws.jid import Jid
from xmppws.stream.sm import REQUEST, Acks
from xmppws.xml.stanza import Stanza

if TYPE_CHECKING:
    from xmppws.core.admin import Disconnection
    from xmppws.core.auth import Identity
    from xmppws.core.host import Host
    from xmppws.core.router import Stream

# Stanzas that one slow reader need not be sent at once.
_MAX_HELD: Final = 500


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
    `identity` is what its token says, None where it has none; `agent` is a digest that all sessions of one installation
    of a client share, b"" where it is not known. `acks` counts its stanzas, once the client wants that;
    `handling` is the one of them that is handled and has to wait. `hold` keeps back what the client does not need now.
    `caught_up` is set while the client reads too slowly, and done when it does so no more.
    `disconnected` is how it lost its last connection, None if it never did, and `resumed` how often it was resumed.
    """

    __slots__ = (
        "_is_held_back",
        "_pause",
        "account",
        "acks",
        "agent",
        "caught_up",
        "directed",
        "disconnected",
        "handling",
        "hold",
        "host",
        "identity",
        "interested",
        "jid",
        "lang",
        "presence",
        "priority",
        "resumed",
        "stream",
    )

    def __init__(self, jid: Jid, host: Host, stream: Stream, identity: Identity | None = None) -> None:
        self.jid = jid
        self.account = jid.bare
        self.host = host
        self.stream = stream
        self.identity = identity
        self.agent = b""
        self.presence: Stanza | None = None
        self.priority = 0
        self.interested = False
        self.lang = ""
        self.directed: set[Jid] | None = None
        self.acks: Acks | None = None
        self.handling: asyncio.Future[None] | None = None
        self.disconnected: Disconnection | None = None
        self.resumed = 0
        self.hold: Hold | None = None
        self.caught_up: asyncio.Future[None] | None = None
        # Whether something else than slow reading wants a hold.
        self._is_held_back = False
        # While the client is not read because another one reads too slowly.
        self._pause: Pause | None = None

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

    # --- What need not be sent at once ---

    def hold_back(self, hold: Hold) -> None:
        """Hold back, until `release`, what the client does not need now."""
        self._is_held_back = True
        self.hold = self.hold or hold

    def release(self) -> None:
        """Hold back nothing more than a client that reads too slowly needs; send the rest."""
        self._is_held_back = False
        hold, self.hold = self.hold, None if self.caught_up is None else self._own_hold()
        for each in hold.held() if hold is not None else ():
            # This may be what is too much for it: then the others wait on.
            self.send(each)

    def _own_hold(self) -> Hold:
        traffic = self.host.traffic
        return Held(self.jid, _MAX_HELD, traffic.held, traffic.collapsed)

    def _send_instead(self, hold: Hold, stanza: Stanza) -> None:
        for each in hold.instead(stanza):
            self._send_now(each)
            if each is stanza and self.caught_up is not None:
                self._keep_waiting(stanza)

    def _send_now(self, stanza: Stanza) -> None:
        # What `send` does without a call, as nearly all goes there.
        self.host.traffic.sent[stanza.kind] += 1
        if self.acks is None:
            self.stream.send(stanza.wire)
        else:
            self._send_counted(self.acks, stanza)

    # --- Clients that read too slowly ---

    async def writable(self) -> None:
        """Wait until the client has read what it was sent, as who sends much at once does; or until it is gone."""
        while self.caught_up is not None:
            await asyncio.shield(self.caught_up)

    def reads(self, ready: bool) -> None:
        """Note that the client reads too slowly (False) or has caught up (True), and read from it accordingly."""
        if ready:
            self._wake()
            if not self._is_held_back:
                self.release()
            self._read()
        elif self.caught_up is None:
            self.caught_up = asyncio.get_running_loop().create_future()
            self.hold = self.hold or self._own_hold()
            self.stream.pause_reading()

    def lost(self) -> None:
        """Note that the stream is over: nobody waits for it any more, nor it for anybody.

        What is held back is for the stream that comes after it, if any does.
        """
        if self.caught_up is None and self._pause is None:
            return
        self._wake()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        # The client's answer to the end is still to come; what it had sent before must not be handled in its midst.
        asyncio.get_running_loop().call_soon(self.stream.resume_reading)

    def _wake(self) -> None:
        caught_up, self.caught_up = self.caught_up, None
        if caught_up is not None:
            caught_up.set_result(None)

    def _keep_waiting(self, stanza: Stanza) -> None:
        """Let the client that has sent a stanza, directly, not send the next one yet."""
        # An error is no sending of the client's: the server makes them, too.
        if stanza.kind == "presence" or stanza.type == "error" or stanza.sender is None:
            return
        sender = self.host.dispatch.session(stanza.sender)
        if sender is not None and self.host.slow_reader_wait:
            sender.wait_for(self, self.host.slow_reader_wait)

    def wait_for(self, reader: Session, most: float) -> None:
        """Do not read from the client until a reader has caught up or is gone, `most` seconds at most."""
        if self._pause is None and reader is not self:
            reader.host.traffic.pauses.inc()
            self.stream.pause_reading()
            self._pause = Pause(reader, most, self._waited)

    def _waited(self) -> None:
        self._pause = None
        self._read()

    def _read(self) -> None:
        if self._pause is None and self.caught_up is None:
            self.stream.resume_reading()
