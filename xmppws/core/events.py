"""The events that modules can handle. Each says when it fires and what stopping means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmppws.errors import End
from xmppws.jid import Jid
from xmppws.xml.stanza import Stanza

if TYPE_CHECKING:
    from xmppws.core.roster import RosterItem
    from xmppws.core.session import Session


@dataclass(slots=True)
class SessionBound:
    """A client has bound a resource. Stopping has no effect."""

    session: Session


@dataclass(slots=True)
class SessionEnded:
    """A session is over and can be sent nothing any more; it still holds its last presence. Stopping has no effect."""

    session: Session
    end: End


@dataclass(slots=True)
class MessageFromUser:
    """A local client sends a message, before it is routed.

    STOP: it goes nowhere; say why by raising a `StanzaError` instead.
    """

    session: Session
    stanza: Stanza


@dataclass(slots=True)
class MessageToUser:
    """A message has come for a local account, before delivery. STOP: the handler has taken care of it."""

    stanza: Stanza


@dataclass(slots=True)
class MessageUndelivered:
    """No session takes a message that RFC 6121 lets the server keep.

    STOP: it is kept; else its sender gets an error.
    """

    stanza: Stanza


@dataclass(slots=True)
class PresenceFromUser:
    """A local client tells all its contacts that it is available or unavailable.

    STOP: the handler has taken care of it.
    """

    session: Session
    stanza: Stanza


@dataclass(slots=True)
class DirectedPresenceFromUser:
    """A local client sends presence to one address, before it is routed. STOP: the handler has taken care of it."""

    session: Session
    stanza: Stanza


@dataclass(slots=True)
class PresenceToUser:
    """Presence has come for a local account. STOP: the handler has taken care of it; else it is dropped."""

    stanza: Stanza


@dataclass(slots=True)
class RosterWanted:
    """A module needs an account's roster: the handler sets `items`, keyed by contact. Stopping means it is set."""

    account: Jid
    items: dict[Jid, RosterItem] | None = None


@dataclass(slots=True)
class DiscoItemsWanted:
    """Somebody asks for the items of a node of the host: the handler sets `items` as (JID, node, name).

    Stopping means that they are set; else there is no such node.
    """

    asker: Jid
    node: str
    items: list[tuple[str, str, str]] | None = None
