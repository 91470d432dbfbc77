"""What a room tells by presence of those who are in it (XEP-0045 sections 7.2, 7.14, 8 and 10.9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza

SELF: Final = 110
NON_ANONYMOUS: Final = 100
BECAME_NON_ANONYMOUS: Final = 172
BECAME_ANONYMOUS: Final = 173
RENAMED: Final = 303

_X: Final = f"{{{ns.MUC_USER}}}x"
_ITEM: Final = f"{{{ns.MUC_USER}}}item"
_REASON: Final = f"{{{ns.MUC_USER}}}reason"
_STATUS: Final = f"{{{ns.MUC_USER}}}status"
_DESTROY: Final = f"{{{ns.MUC_USER}}}destroy"
_WHY: Final = {
    301: "You were banned from the channel",
    307: "You were removed from the channel",
    321: "You may not be in the channel any more",
    322: "The channel is for its members now",
    332: "The channels are stopping",
    333: "The channel could not reach this page",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One presence of an occupant: `account` is its bare JID, or "" where the room does not show it."""

    nick: str
    is_here: bool
    codes: frozenset[int]
    account: str
    new_nick: str
    why: str

    @classmethod
    def read(cls, presence: Stanza) -> Seen:
        """Read a presence that came from a room."""
        assert presence.sender is not None
        x = presence.tree().find(_X)
        codes = status_codes(x)
        item = None if x is None else x.find(_ITEM)
        account, new_nick, reason = "", "", ""
        if item is not None:
            account, new_nick = _account(item.get("jid", "")), item.get("nick", "")
            reason = item.findtext(_REASON) or ""
        why = next((text for code, text in _WHY.items() if code in codes), "")
        if x is not None and (destroyed := x.find(_DESTROY)) is not None:
            why, reason = "The channel was ended", destroyed.findtext(_REASON) or ""
        told = f"{why}: {reason}" if why and reason else why
        return cls(presence.sender.resource, presence.type == "", codes, account, new_nick, told)


def is_of_another(presence: Stanza) -> bool:
    """Tell, without reading it, whether a presence is surely not the reader's own."""
    return b"%d" % SELF not in presence.content


def status_codes(x: Element | None) -> frozenset[int]:
    """Return the status codes in an element of muc#user."""
    if x is None:
        return frozenset()
    codes = (status.get("code", "") for status in x.findall(_STATUS))
    return frozenset(int(code) for code in codes if code.isdecimal() and len(code) == 3)


def changes(message: Element) -> frozenset[int]:
    """Return the codes of a message by which a room tells of changed settings (section 10.2.1)."""
    return status_codes(message.find(_X))


def _account(jid: str) -> str:
    try:
        return Jid.parse(jid).bare.text if jid else ""
    except InvalidJid:
        return ""
