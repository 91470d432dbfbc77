"""XEP-0202 Entity Time: the host's clock, in UTC and with the offset of the server's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from xmppws.core.module import Module, Target, Xep, iq_get
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import child, element


class Time(Module):
    name = "time"
    xeps = (Xep(202, "2.0"), Xep(82, "1.1.1"))
    features = (ns.TIME,)

    @iq_get(ns.TIME, "time", to=Target.HOST)
    def answer(self, iq: Stanza) -> Stanza:
        """Answer with the time now."""
        now = datetime.now(UTC)
        made = element(ns.TIME, "time")
        child(made, ns.TIME, "tzo", text=_offset(now.astimezone().utcoffset() or timedelta()))
        child(made, ns.TIME, "utc", text=now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        return iq.result(made)


def _offset(offset: timedelta) -> str:
    # XEP-0082 section 3.2: the sign, and hours and minutes in two digits each.
    minutes = int(offset.total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"
