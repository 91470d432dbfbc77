"""Options of the module mam."""

from __future__ import annotations

from typing import Annotated

from xmppws.config import Duration, Opt, Section
from xmppws.modules.mam.preferences import Policy

DAY = 86400.0


class MamOptions(Section, frozen=True, kw_only=True):
    """Options of the module mam: what is archived, and for how long."""

    expire_after: Annotated[
        Duration, Opt('How long a message stays in the archives; "0s": for ever.', minimum=0, maximum=36500 * DAY)
    ] = 30 * DAY
    default_policy: Annotated[
        str,
        Opt(
            "What is archived for users who have not said what they want: everything, nothing, or what goes between "
            "them and the contacts in their rosters.",
            choices=tuple(Policy),
        ),
    ] = "always"
    max_page: Annotated[int, Opt("Messages that a client gets for one request.", minimum=1, maximum=500)] = 100
    max_addresses: Annotated[
        int, Opt("Addresses that a user may want to be archived always, or never.", minimum=1, maximum=10_000)
    ] = 1000
