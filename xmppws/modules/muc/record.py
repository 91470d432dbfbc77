"""What is kept of a persistent room."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from xmppws.jid import Jid
from xmppws.modules.muc.options import MucOptions
from xmppws.modules.muc.privileges import Affiliation
from xmppws.modules.muc.room import Room, Standing, State, Subject
from xmppws.modules.muc.settings import Settings


class SubjectRecord(Struct):
    """A subject: the content of its message, its text, and the occupant JID of who set it."""

    content: str
    text: str
    sender: str


class Record(Struct):
    """A room. `standings` has affiliation and reason by account."""

    creator: str
    settings: Settings
    standings: dict[str, tuple[str, str]]
    subject: SubjectRecord | None = None


def record(room: Room) -> Record:
    """Return what is to be kept of a room."""
    standings = {
        account.text: (standing.affiliation.word, standing.reason) for account, standing in room.standings.items()
    }
    made = Record(room.creator.text, room.settings, standings)
    if room.subject is not None:
        content, text, sender = room.subject.content.decode(), room.subject.text, room.subject.sender.text
        made.subject = SubjectRecord(content, text, sender)
    return made


def restore(jid: Jid, kept: Record, options: MucOptions) -> Room:
    """Return the room that a record is of, with nobody in it."""
    room = Room(jid, Jid.prepared(kept.creator), options, State.OPEN, kept.settings)
    words: dict[str, Any] = {affiliation.word: affiliation for affiliation in Affiliation}
    room.standings = {
        Jid.prepared(account): Standing(words[word], reason) for account, (word, reason) in kept.standings.items()
    }
    if kept.subject is not None:
        subject = kept.subject
        room.subject = Subject(subject.content.encode(), subject.text, Jid.prepared(subject.sender))
    return room
