"""What service discovery says of the service and of its rooms (XEP-0045 sections 6.2 to 6.5)."""

from __future__ import annotations

from xmppws.core.events import DiscoInfoWanted
from xmppws.jid import Jid
from xmppws.modules.muc.privileges import Affiliation
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
    fields = [
        Field("FORM_TYPE", (ns.MUC_ROOM_INFO,), "hidden"),
        Field("muc#roominfo_description", (settings.description,), label="Description"),
        Field("muc#roominfo_subjectmod", ("1" if settings.open_subject else "0",), "boolean", "All may set it"),
        Field("muc#maxhistoryfetch", (str(room.options.history_length),), label="Most messages of the history"),
        Field("muc#roomconfig_maxusers", (str(room.limit),), label="Most occupants"),
    ]
    if _may_look(room, event.asker):
        subject = room.subject.text if room.subject is not None else ""
        fields.append(Field("muc#roominfo_subject", (subject,), label="Subject"))
        fields.append(Field("muc#roominfo_occupants", (str(len(room.occupants)),), label="Number of occupants"))
    event.forms.append(Form(tuple(fields), "result"))


def _may_look(room: Room, account: Jid) -> bool:
    """Tell whether somebody may know what goes on in a room: who could enter, as far as the room can tell."""
    affiliation = room.affiliation(account)
    is_closed = room.settings.members_only or bool(room.settings.password)
    return affiliation >= (Affiliation.MEMBER if is_closed else Affiliation.NONE)
