"""What a room says of its occupants, as bytes: `<x/>` of muc#user, which presence ends with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from xmppws.jid import Jid
from xmppws.modules.muc.privileges import Affiliation, Role
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import attribute, element, text

SELF: Final = 110
"""Section 7.2.2: "so that the user knows this presence refers to itself as an occupant"."""

_X: Final = b'<x xmlns="%b">%%b</x>' % ns.MUC_USER.encode()
_CLIENT: Final = ns.CLIENT.encode()

GONE: Final = b' xmlns="%b" type="unavailable"/>' % _CLIENT
"""The content of a presence that says no more than that somebody is gone."""
NO_SUBJECT: Final = b' xmlns="%b" type="groupchat"><subject/></message>' % _CLIENT
"""The content of the message that a room without subject sends."""


@dataclass(frozen=True, slots=True)
class Note:
    """What presence says beside who somebody is: status codes; who made a change, and why; the next nickname."""

    codes: tuple[int, ...] = ()
    actor: str = ""
    reason: str = ""
    nick: str = ""


NOTHING: Final = Note()


@lru_cache(maxsize=2)
def _empty(kind: str) -> Element:
    return element(ns.CLIENT, kind)


def made(kind: str, type: str, content: bytes, *, to: Jid | None, sender: Jid | None) -> Stanza:
    """Return a stanza of the room's own making from its content, as `kept` does, but with one element for all."""
    return Stanza(kind, type, _empty(kind), to, sender, content)


def item(affiliation: Affiliation, role: Role, note: Note, *, jid: str = "", own: bool = False) -> bytes:
    """Write the element that tells of an occupant. With a `jid` the reader may know it; `own` is for the occupant."""
    attributes = b' affiliation="%b" role="%b"' % (affiliation.word.encode(), role.word.encode())
    if jid:
        attributes += b' jid="%b"' % attribute(jid)
    if note.nick:
        attributes += b' nick="%b"' % attribute(note.nick)
    inside = b'<actor nick="%b"/>' % attribute(note.actor) if note.actor else b""
    inside += reason(note.reason)
    written = b"<item%b>%b</item>" % (attributes, inside) if inside else b"<item%b/>" % attributes
    return _X % (written + status(*note.codes, *((SELF,) if own else ())))


def status(*codes: int) -> bytes:
    """Write status codes."""
    return b"".join(b'<status code="%d"/>' % code for code in sorted(codes))


def destroyed(why: str, venue: str, password: str) -> bytes:
    """Write the element that tells of the end of a room (section 10.9)."""
    secret = b"<password>%b</password>" % text(password) if password else b""
    at = b' jid="%b"' % attribute(venue) if venue else b""
    told = b"<destroy%b>%b%b</destroy>" % (at, reason(why), secret)
    return _X % (b'<item affiliation="none" role="none"/>' + told)


def changed(*codes: int) -> bytes:
    """Return the content of the message that tells of changed settings (section 10.2.1)."""
    return b' xmlns="%b" type="groupchat">%b</message>' % (_CLIENT, _X % status(*codes))


def reason(why: str) -> bytes:
    """Write a reason, if there is one."""
    return b"<reason>%b</reason>" % text(why) if why else b""


def not_in_room(at: Jid, to: Jid) -> Stanza:
    """Return what a client gets that believes to be in a room (section 7.2.18)."""
    note = Note((307, 333), reason="You are not in this room")
    gone = made("presence", "unavailable", GONE, to=to, sender=at)
    return gone.plus(item(Affiliation.NONE, Role.NONE, note, own=True))


def with_id(content: bytes, id: str) -> bytes:
    """Put an id to the content of a stanza."""
    return b' id="%b"%b' % (attribute(id), content) if id else content
