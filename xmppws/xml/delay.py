"""XEP-0203 Delayed Delivery: when a stanza was sent that is delivered later."""

from __future__ import annotations

from datetime import UTC, datetime

from xmppws.xml import ns
from xmppws.xml.writer import attribute


def timestamp(when: float) -> str:
    """Return seconds since 1970 as XEP-0082 writes them, in UTC, to the millisecond."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def delay(sender: str, when: float) -> bytes:
    """Write the element by which `sender` says that it has held a stanza since `when`, for `Stanza.plus`."""
    return b'<delay xmlns="%b" from="%b" stamp="%b"/>' % (
        ns.DELAY.encode(),
        attribute(sender),
        timestamp(when).encode(),
    )
