"""What occupants say: to all, to one, the subject, and IQ requests to each other (XEP-0045 sections 7.4, 7.5, 8.1)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Final

from xmppws.errors import BadRequest, Forbidden, ItemNotFound, NotAcceptable, PolicyViolation
from xmppws.jid import Jid
from xmppws.modules.muc.occupant import Occupant
from xmppws.modules.muc.privileges import Privilege
from xmppws.modules.muc.relay import Asked
from xmppws.modules.muc.room import Room, Subject
from xmppws.xml import ns
from xmppws.xml.delay import delay
from xmppws.xml.parser import tag_of
from xmppws.xml.stanza import Stanza

_PRIVATE: Final = f'<x xmlns="{ns.MUC_USER}"/>'.encode()
_SUBJECT: Final = f"{{{ns.CLIENT}}}subject"
_NO_SUBJECT: Final = frozenset(f"{{{ns.CLIENT}}}{name}" for name in ("body", "thread"))
_PING: Final = f"{{{ns.PING}}}ping"
_DISCO: Final = (f"{{{ns.DISCO_INFO}}}query", f"{{{ns.DISCO_ITEMS}}}query")
# What accounts answer, and clients cannot.
_OF_ACCOUNTS: Final = frozenset({f"{{{ns.VCARD}}}vCard"})


def say(room: Room, who: Jid, message: Stanza, now: float) -> Iterator[Stanza]:
    """Send a message of an occupant to all, or change the subject. `message` is as its client sent it.

    The copies are made as they are asked for: one after the other in the same memory, they cost less.
    """
    occupant = room.occupant(who)
    tags = {tag_of(child) for child in message.element}
    # Section 8.1: with a <body/> or a <thread/> it is a message like others.
    if _SUBJECT in tags and _NO_SUBJECT.isdisjoint(tags):
        _set_subject(room, occupant, message, now)
    elif not occupant.may(Privilege.SPEAK):
        raise Forbidden("You have no voice in this room")
    # Written once; what differs from copy to copy is its address.
    said = message.addressed(to=None, sender=occupant.jid)
    room.history.add(said, tags, now)
    return (said.addressed(to=session, sender=said.sender) for session in tuple(room.sessions))


def whisper(room: Room, who: Jid, nick: str, message: Stanza) -> list[Stanza]:
    """Send a private message of an occupant to all clients of another."""
    occupant = room.occupant(who)
    if message.type == "groupchat":
        raise BadRequest("A message of type groupchat is for the whole room")
    other = _other(room, nick)
    # What a client says in this namespace could be taken for the room's own words.
    private = without(message, ns.MUC_USER).plus(_PRIVATE)
    return [private.addressed(to=session, sender=occupant.jid) for session in other.sessions]


def ask(room: Room, who: Jid, nick: str, request: Stanza, new_id: str) -> list[Stanza]:
    """Send an IQ request of an occupant on to another's client, or answer it."""
    assert request.payload is not None
    tag = tag_of(request.payload)
    occupant = room.sessions.get(who)
    if occupant is None:
        # Section 6.6 asks for this answer; XEP-0410 for the other one.
        raise (BadRequest if tag in _DISCO else NotAcceptable)("You are not in this room")
    if tag == _PING and occupant.nick == nick:
        # XEP-0410 section 3.3: the room answers for a client that it knows to be there.
        return [request.result()]
    other = _other(room, nick)
    to = other.account if tag in _OF_ACCOUNTS else other.address
    room.relay.ask(new_id, Asked(who, request.id, to))
    return [_with_id(request, new_id, to=to, sender=occupant.jid)]


def answer(room: Room, who: Jid, reply: Stanza) -> list[Stanza]:
    """Send the answer to such a request back, from the occupant that it comes from."""
    asked = room.relay.answered(reply.id, who)
    if asked is None or asked.asker not in room.sessions:
        return []
    sender = next((each.jid for each in room.occupants.values() if who in each.sessions or who == each.account), None)
    return [] if sender is None else [_with_id(reply, asked.id, to=asked.asker, sender=sender)]


def without(stanza: Stanza, *namespaces: str) -> Stanza:
    """Return a stanza without the children of some namespaces."""
    prefixes = tuple(f"{{{namespace}}}" for namespace in namespaces)
    if not any(tag_of(child).startswith(prefixes) for child in stanza.element):
        return stanza
    element = deepcopy(stanza.element)
    for child in list(element):
        if tag_of(child).startswith(prefixes):
            element.remove(child)
    return Stanza(stanza.kind, stanza.type, element, stanza.to, stanza.sender)


def _set_subject(room: Room, occupant: Occupant, message: Stanza, now: float) -> None:
    needed = Privilege.SET_OPEN_SUBJECT if room.settings.open_subject else Privilege.SET_SUBJECT
    if not occupant.may(needed):
        raise Forbidden("You may not change the subject of this room")
    if len(message.content) > room.options.max_subject_size:
        raise PolicyViolation(f"The message of a subject has at most {room.options.max_subject_size} bytes")
    text = message.element.findtext(_SUBJECT) or ""
    room.subject = Subject(message.plus(delay(room.jid.text, now)).content, text, occupant.jid)


def _other(room: Room, nick: str) -> Occupant:
    other = room.occupants.get(nick)
    if other is None:
        raise ItemNotFound("Nobody in the room has that nickname")
    return other


def _with_id(stanza: Stanza, id: str, *, to: Jid, sender: Jid) -> Stanza:
    element = deepcopy(stanza.element)
    element.set("id", id)
    return Stanza(stanza.kind, stanza.type, element, to, sender)
