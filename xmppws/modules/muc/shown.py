"""What service discovery says of the service and of its rooms (XEP-0045 sections 6.2 to 6.5)."""

from __future__ import annotations

from xmppws.core.events import DiscoInfoWanted
from xmppws.modules.muc.room import Room
from xmppws.xml import ns
from xmppws.xml.forms import Field, Form

SERVICE_FEATURES = (ns.MUC, ns.MUC_STABLE_ID)


def describe(room: Room, event: DiscoInfoWanted) -> None:
    """Add what a room is."""
    settings = room.settings
    event.identities.append(("conference", "text", settings.name or room.jid.local))
    event.features.update((ns.MUC, ns.MUC_STABLE_ID, ns.MUC_SELF_PING))
    event.features.update(
        (
            "muc_passwordprotected" if settings.password else "muc_unsecured",
            "muc_public" if settings.public else "muc_hidden",
            "muc_persistent" if settings.persistent else "muc_temporary",
            "muc_membersonly" if settings.members_only else "muc_open",
            "muc_moderated" if settings.moderated else "muc_unmoderated",
            "muc_nonanonymous" if settings.non_anonymous else "muc_semianonymous",
        )
    )
    fields = (
        Field("FORM_TYPE", (ns.MUC_ROOM_INFO,), "hidden"),
        Field("muc#roominfo_description", (settings.description,), label="Description"),
        Field("muc#roominfo_subject", (room.subject.text if room.subject else "",), label="Subject"),
        Field("muc#roominfo_subjectmod", (_flag(settings.open_subject),), "boolean", "Participants may change it"),
        Field("muc#roominfo_occupants", (str(len(room.occupants)),), label="Number of occupants"),
        Field("muc#maxhistoryfetch", (str(room.options.history_length),), label="Most messages of the history"),
        Field("muc#roomconfig_maxusers", (str(room.limit),), label="Most occupants"),
    )
    event.forms.append(Form(fields, "result"))


def _flag(value: bool) -> str:
    return "1" if value else "0"
