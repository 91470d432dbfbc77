"""Which messages are archived, and the ids that they carry then (XEP-0359)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Final

from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import attribute

STANZA_ID: Final = f"{{{ns.STANZA_IDS}}}stanza-id"
_BODY: Final = f"{{{ns.CLIENT}}}body"
_REFUSED: Final = frozenset(f"{{{ns.HINTS}}}{name}" for name in ("no-store", "no-permanent-store"))
# "A server MAY include additional non-conversation messages": those without which the others are shown wrong, such as
# receipts, markers, reactions and retractions; invitations and calls; what is encrypted; and what asks for it.
_WORTH: Final = (
    "{urn:xmpp:receipts}received",
    "{urn:xmpp:chat-markers:0}",
    "{urn:xmpp:eme:0}",
    "{urn:xmpp:message-correct:0}",
    "{urn:xmpp:reactions:0}",
    "{urn:xmpp:message-retract:",
    "{urn:xmpp:jingle-message:",
    "{jabber:x:conference}",
    f"{{{ns.MUC_USER}}}x",
    f"{{{ns.HINTS}}}store",
)


def is_archived(type: str, tags: list[str]) -> bool:
    """Tell whether a message is for the archive (XEP-0313, User Archives); `tags` are those of its children."""
    if type not in ("chat", "normal") or not _REFUSED.isdisjoint(tags):
        return False
    return _BODY in tags or any(tag.startswith(_WORTH) for tag in tags)


def stanza_id(account: Jid, id: str) -> bytes:
    """Write what says under which id an account's archive has a message."""
    return b'<stanza-id xmlns="%b" by="%b" id="%b"/>' % (
        ns.STANZA_IDS.encode(),
        attribute(account.text),
        id.encode(),
    )


def ids_by(message: Stanza, account: Jid) -> list[str]:
    """Return the ids that an account's archive has given to a message, or somebody in its name."""
    return [
        each.get("id", "") for each in message.tree().iterfind(STANZA_ID) if _is_by(each.get("by", ""), account.text)
    ]


def without_ids_by(message: Stanza, account: Jid) -> Stanza:
    """Return a message without the ids that are said to be an account's."""
    return _without_ids(message, lambda by: _is_by(by, account.text))


def without_ids_within(message: Stanza, domains: Iterable[str]) -> Stanza:
    """Return a message without the ids that are said to be of addresses at these domains."""
    ours = frozenset(domains)
    return _without_ids(message, lambda by: by.partition("/")[0].rpartition("@")[2].lower() in ours)


def _is_by(by: str, account: str) -> bool:
    # Some clients may compare addresses better than by their text. Preparing what anybody sends costs up to
    # milliseconds each; this covers what matters.
    return by == account or by.lower() == account


def _without_ids(message: Stanza, is_concerned: Callable[[str], bool]) -> Stanza:
    root = deepcopy(message.tree())
    for each in root.findall(STANZA_ID):
        if is_concerned(each.get("by", "")):
            root.remove(each)
    return Stanza(message.kind, message.type, root, message.to, message.sender)
