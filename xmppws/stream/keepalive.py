"""When to ping a client, when to probe it, and when it is dead. Times come from the caller's clock, in seconds.

Proxies cut connections on which one direction is silent, so a WebSocket ping goes out when nothing was received, or
nothing was sent, for `ping_interval`. Pongs are made by the browser, not by the page: a page that hangs still sends
them. So a client that sends nothing else for `read_timeout` is probed above WebSocket.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Intervals:
    """The configured times, in seconds."""

    ping_interval: float = 30.0
    pong_timeout: float = 30.0
    read_timeout: float = 840.0


class Due(Enum):
    """What is to be done now."""

    PING = "send a WebSocket ping"
    PROBE = "send an XMPP ping"
    PONG_TIMEOUT = "the last ping was not answered"
    READ_TIMEOUT = "the last probe was not answered"


class KeepAlive:
    """The clock readings of one connection: when something was last received, sent, and said in XMPP."""

    __slots__ = ("_pinged", "_probed", "received", "round_trip", "sent", "stanza")

    def __init__(self, now: float) -> None:
        self.received = self.sent = self.stanza = now
        self._pinged: float | None = None
        self._probed: float | None = None
        self.round_trip: float | None = None

    def ponged(self, now: float) -> float | None:
        """Note a pong and return how long it took, or None if nothing had been asked."""
        if self._pinged is None:
            return None
        self.round_trip = now - self._pinged
        self._pinged = None
        return self.round_trip

    def check(self, now: float, intervals: Intervals) -> Due | None:
        """Return the one thing that is due, having noted that it is done."""
        # Whatever arrived since shows that the client is there. The clock may be coarse: what came in the same tick
        # came since.
        if self._pinged is not None and self.received >= self._pinged:
            self._pinged = None
        if self._probed is not None and self.stanza >= self._probed:
            self._probed = None
        if self._pinged is not None and now - self._pinged >= intervals.pong_timeout:
            return Due.PONG_TIMEOUT
        if self._probed is not None and now - self._probed >= intervals.pong_timeout:
            return Due.READ_TIMEOUT
        if self._probed is None and now - self.stanza >= intervals.read_timeout:
            self._probed = now
            return Due.PROBE
        if self._pinged is None and now - min(self.received, self.sent) >= intervals.ping_interval:
            self._pinged = now
            return Due.PING
        return None

    def next(self, intervals: Intervals) -> float:
        """Return when to check again at the latest."""
        ping = min(self.received, self.sent) + intervals.ping_interval
        # An answer moves nothing, so what follows it is looked for as well when its time would have come.
        if self._pinged is not None:
            ping = self._pinged + min(intervals.ping_interval, intervals.pong_timeout)
        probe = self.stanza + intervals.read_timeout
        if self._probed is not None:
            probe = self._probed + min(intervals.read_timeout, intervals.pong_timeout)
        return min(ping, probe)
