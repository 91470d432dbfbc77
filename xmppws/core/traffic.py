"""What a host counts about its clients. On the way of a stanza that is one addition to an integer."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

from xmppws.core.histogram import Histogram
from xmppws.core.metrics import Counter


def _by_kind() -> dict[str, int]:
    return {"message": 0, "presence": 0, "iq": 0}


@dataclass(slots=True)
class Traffic:
    """Stanzas from and to clients by kind; logins by mechanism and outcome ("success" or the SASL condition).

    `times` tells how long a sample of clients' stanzas took until nothing more had to be waited for. Of slow readers,
    `held` are stanzas that waited for them, `collapsed` those of these that were never sent, as a newer one came, and
    `pauses` how often clients were not read because of what they had sent to one.
    """

    received: dict[str, int] = field(default_factory=_by_kind)
    sent: dict[str, int] = field(default_factory=_by_kind)
    logins: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    times: Histogram = field(default_factory=Histogram)
    held: Counter = field(default_factory=Counter)
    collapsed: Counter = field(default_factory=Counter)
    pauses: Counter = field(default_factory=Counter)
