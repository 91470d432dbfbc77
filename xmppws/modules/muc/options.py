"""Options of the module muc."""

from __future__ import annotations

from typing import Annotated

from xmppws.config import Opt, Section, Size
from xmppws.config.kinds import KIB, MIB


class MucOptions(Section, frozen=True, kw_only=True):
    """Options of the module muc: what rooms may hold, and who may make them."""

    name: Annotated[str, Opt("What service discovery calls the service.")] = "Rooms"
    create: Annotated[
        str,
        Opt(
            'Who may make rooms: everybody, accounts of the host ("local"), or its admins.',
            choices=("everybody", "local", "admins"),
        ),
    ] = "everybody"
    lock: Annotated[
        bool, Opt("Let nobody else into a new room before its owner has configured it, as XEP-0045 wants it.")
    ] = True
    max_rooms: Annotated[int, Opt("Rooms at a time.", minimum=1, maximum=1_000_000)] = 1000
    max_rooms_per_user: Annotated[
        int, Opt("Rooms that one account has made and that still exist.", minimum=1, maximum=1_000_000)
    ] = 20
    max_occupants: Annotated[
        int, Opt("Occupants of a room; its owner may set fewer. Ten admins more come in.", minimum=1, maximum=100_000)
    ] = 200
    max_sessions: Annotated[int, Opt("Clients of one account in a room at a time.", minimum=1, maximum=1000)] = 10
    max_affiliations: Annotated[
        int, Opt("Accounts that a room remembers as owner, admin, member or outcast.", minimum=1, maximum=100_000)
    ] = 1000
    max_nick_length: Annotated[int, Opt("Characters of a nickname.", minimum=1, maximum=1023)] = 64
    max_presence_size: Annotated[
        Size, Opt("Bytes of an occupant's presence, which everybody who enters is sent.", minimum=KIB, maximum=MIB)
    ] = 8 * KIB
    max_subject_size: Annotated[Size, Opt("Bytes of the subject's message.", minimum=256, maximum=MIB)] = 4 * KIB
    max_reason_length: Annotated[
        int, Opt("Characters of the reason for a kick, a ban or the end of a room.", minimum=1, maximum=10_000)
    ] = 500
    history_length: Annotated[
        int, Opt("Latest messages of a room that who enters may be sent.", minimum=0, maximum=10_000)
    ] = 20
    max_history_size: Annotated[
        Size, Opt("Bytes of all of them together; older ones are forgotten.", minimum=0, maximum=64 * MIB)
    ] = 128 * KIB
