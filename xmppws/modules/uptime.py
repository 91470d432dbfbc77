"""XEP-0012 section 5, uptime of the host, and an ad-hoc command that says it in words."""

from __future__ import annotations

import time
from datetime import timedelta

from xmppws.config import Section
from xmppws.core.adhoc import Call, Done, adhoc
from xmppws.core.host import Host
from xmppws.core.module import Module, Target, Xep, iq_get
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import element


class Uptime(Module):
    name = "uptime"
    xeps = (Xep(12, "2.0"),)
    features = (ns.LAST,)

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        # When this module is read again, it stands in the place of the older one, which knows since when.
        self.began: float = getattr(host.modules.get(self.name), "began", time.monotonic())

    @iq_get(ns.LAST, "query", to=Target.HOST)
    def answer(self, iq: Stanza) -> Stanza:
        """Say for how many seconds the host has been running."""
        return iq.result(element(ns.LAST, "query", {"seconds": str(self._seconds())}))

    @adhoc("uptime", "Show how long the server has been running")
    def show(self, call: Call) -> Done:
        """Say it in words."""
        return Done(f"The server has been running for {in_words(self._seconds())}.")

    def _seconds(self) -> int:
        return int(time.monotonic() - self.began)


def in_words(seconds: int) -> str:
    """Return a time such as "2 days, 3 hours and 1 minute"."""
    span = timedelta(seconds=seconds)
    hours, minutes = divmod(span.seconds // 60, 60)
    days, hours_, minutes_ = _some(span.days, "day"), _some(hours, "hour"), _some(minutes, "minute")
    return f"{days}, {hours_} and {minutes_}"


def _some(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
