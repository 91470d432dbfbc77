"""What a host counts about its clients. On the way of a stanza that is one addition to an integer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from xmppws.core.histogram import Histogram


def _by_kind() -> dict[str, int]:
    return {"message": 0, "presence": 0, "iq": 0}


@dataclass(slots=True)
class Traffic:
    """Stanzas from and to clients by kind; logins by mechanism and outcome ("success" or the SASL condition).

    `times` tells how long a sample of clients' stanzas took until nothing more had to be waited for.
    """

    received: dict[str, int] = field(default_factory=_by_kind)
    sent: dict[str, int] = field(default_factory=_by_kind)
    logins: Counter[tuple[str, str]] = field(default_factory=Counter)
    times: Histogram = field(default_factory=Histogram)
