"""What clients send to a room, read: joins, lists of changes, forms (XEP-0045 sections 7.2, 9 and 10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from typing import Final

from xmppws.errors import BadRequest, JidMalformed
from xmppws.jid import InvalidJid, Jid
from xmppws.modules.muc.history import Wanted
from xmppws.modules.muc.moderation import AffiliationChange, RoleChange
from xmppws.modules.muc.privileges import Affiliation, Role
from xmppws.modules.muc.room import Room
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import Stanza

_NUMBER: Final = re.compile("[0-9]{1,9}").fullmatch
_ITEM: Final = f"{{{ns.MUC_ADMIN}}}item"
_REASON: Final = f"{{{ns.MUC_ADMIN}}}reason"
_MOST: Final = 100
_MUC: Final = (f"{{{ns.MUC}}}", f"{{{ns.MUC_USER}}}")


def presence_content(presence: Stanza) -> bytes:
    """Return what the others are shown of a presence: all but its id and what belongs to MUC (section 17.3)."""
    stripped = deepcopy(presence.element)
    stripped.attrib.pop("id", None)
    for each in list(stripped):
        if tag_of(each).startswith(_MUC):
            stripped.remove(each)
    return Stanza("presence", presence.type, stripped).content


def condition(error: Stanza) -> str:
    """Return the condition of an error stanza, "" if it has none."""
    told = error.child(ns.CLIENT, "error")
    names = (tag_of(each).rpartition("}") for each in ([] if told is None else told))
    return next((name for namespace, _, name in names if namespace == f"{{{ns.STANZA_ERRORS}" and name != "text"), "")


def read_history(x: Element, now: float) -> Wanted:
    """Read how much history somebody who enters wants (section 7.2.14). Raises `BadRequest`."""
    history = x.find(f"{{{ns.MUC}}}history")
    if history is None:
        return Wanted()
    seconds = _number(history, "seconds")
    moments = [now - seconds] if seconds is not None else []
    since = history.get("since")
    if since is not None:
        moments.append(_time(since))
    return Wanted(_number(history, "maxchars"), _number(history, "maxstanzas"), max(moments, default=None))


def read_changes(query: Element, room: Room) -> Iterator[RoleChange | AffiliationChange]:
    """Read the changes of a request (sections 8 to 10). Raises `BadRequest`, and `JidMalformed`."""
    items = query.findall(_ITEM)
    if len(items) > _MOST:
        raise BadRequest(f"At most {_MOST} items at a time")
    for each in items:
        nick, why = each.get("nick"), each.findtext(_REASON) or ""
        role, affiliation = each.get("role"), each.get("affiliation")
        # Section 17.4: "if ... attempts to modify both the affiliation and role of the same item in the same IQ set,
        # the service MUST return a <bad-request/> error".
        if (role is None) == (affiliation is None):
            raise BadRequest("An item has a role or an affiliation")
        if affiliation is not None:
            yield AffiliationChange(_account(each, room), read_affiliation(affiliation), why)
        elif nick is None:
            raise BadRequest("A role is that of a nickname")
        else:
            yield RoleChange(nick, read_role(role or ""), why)


def read_role(word: str) -> Role:
    """Read a role. Raises `BadRequest`."""
    for role in Role:
        if role.word == word:
            return role
    raise BadRequest("A role is none, visitor, participant or moderator")


def read_affiliation(word: str) -> Affiliation:
    """Read an affiliation. Raises `BadRequest`."""
    for affiliation in Affiliation:
        if affiliation.word == word:
            return affiliation
    raise BadRequest("An affiliation is outcast, none, member, admin or owner")


def _account(item: Element, room: Room) -> Jid:
    text, nick = item.get("jid"), item.get("nick")
    if text is None:
        # Section 17.4 wants the address; where there is a nickname alone, it is clear who is meant.
        occupant = room.occupants.get(nick or "")
        if occupant is None:
            raise BadRequest("An affiliation is that of a jid")
        return occupant.account
    try:
        return Jid.parse(text).bare
    except InvalidJid as error:
        raise JidMalformed(str(error)) from None


def _number(history: Element, name: str) -> int | None:
    text = history.get(name)
    if text is None:
        return None
    if not _NUMBER(text):
        raise BadRequest(f"{name} of the history is a whole number")
    return int(text)


def _time(text: str) -> float:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    # XEP-0082 section 3.2: with a time zone.
    if when is None or when.tzinfo is None:
        raise BadRequest("since is a time such as 2026-01-31T23:59:59Z")
    return when.timestamp()
