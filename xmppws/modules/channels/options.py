"""Options of the module channels."""

from __future__ import annotations

from typing import Annotated

from xmppws.config import Duration, Opt, Section, Size
from xmppws.config.kinds import KIB, MIB


class ChannelsOptions(Section, frozen=True, kw_only=True):
    """Options of the module channels: what pages may do, and how much."""

    service: Annotated[
        str, Opt("The domain with the rooms that channels are. Default: the component of the host's module muc.")
    ] = ""
    echo: Annotated[bool, Opt("Send a page its own messages, too, where it does not say otherwise.")] = True
    text_event: Annotated[
        str, Opt('The event that stands for what people write in the room, as {"text": ...}, and that they read so.')
    ] = "message"
    max_room_users: Annotated[
        int, Opt("Users in a channel that pages have made; a room that was there before has its own limit.", minimum=1)
    ] = 50
    max_rooms: Annotated[int, Opt("Channels with pages at a time.", minimum=1, maximum=1_000_000)] = 1000
    max_page_channels: Annotated[int, Opt("Channels of one page.", minimum=1, maximum=1000)] = 20
    max_page_events: Annotated[int, Opt("Events of a channel that one page is subscribed to.", minimum=1)] = 50
    max_message_size: Annotated[Size, Opt("Largest message of a page.", minimum=256, maximum=MIB)] = 64 * KIB
    idle_timeout: Annotated[
        Duration, Opt("How long a page may stay that is subscribed to nothing.", minimum=1, maximum=86400)
    ] = 300.0
    history_length: Annotated[
        int, Opt("Latest messages of a channel that a page may ask for when it subscribes.", minimum=0, maximum=10_000)
    ] = 20
    max_history_size: Annotated[
        Size, Opt("Bytes of all of them together; older ones are forgotten.", minimum=0, maximum=64 * MIB)
    ] = 128 * KIB
