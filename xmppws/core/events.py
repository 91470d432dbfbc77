"""The events that modules can handle. Each says when it fires and what stopping means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

from xmppws.errors import End
from xmppws.jid import Jid
from xmppws.xml.forms import Form
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza

if TYPE_CHECKING:
    from xmppws.core.admin import Disconnection
    from xmppws.core.roster import RosterItem
    from xmppws.core.session import Session


class SessionBound(Struct, eq=False):
    """A client has bound a resource. Stopping has no effect."""

    session: Session


class FeaturesWanted(Struct, eq=False):
    """A client has bound a resource with its log-in (XEP-0386): handlers do what it wants to begin with.

    `wanted` are elements by tag, and `answers` what the client is told, as XML. What the session is sent meanwhile
    waits until the client knows of it. Stopping means that no other handler is asked.
    """

    session: Session
    wanted: Mapping[str, Element]
    answers: list[bytes] = field(default_factory=list)


class SessionEnded(Struct, eq=False):
    """A session is over and can be sent nothing any more; it still holds its last presence. Stopping has no effect."""

    session: Session
    end: End


class SessionDisconnected(Struct, eq=False):
    """A session has lost its connection, and hibernates until it is resumed or over. Stopping has no effect."""

    session: Session
    lost: Disconnection


class SessionResumed(Struct, eq=False):
    """A session that has lost its connection goes on with another one. Stopping has no effect."""

    session: Session
    lost: Disconnection


class SessionSuspended(Struct, eq=False):
    """The server stops, and a session is stored until it is resumed: handlers put into `state` what they know of it.

    Stopping has no effect.
    """

    session: Session
    state: dict[str, str] = field(default_factory=dict)


class SessionRestored(Struct, eq=False):
    """The server has started, and a session is there again: handlers take from `state` what they put there.

    Stopping has no effect.
    """

    session: Session
    state: dict[str, str]


class AccountEnding(Struct, eq=False):
    """An account is about to lose all its data, and has no session: what others hold of it is to be cancelled.

    Stopping has no effect.
    """

    account: Jid


class MessageFromUser(Struct, eq=False):
    """A local client sends a message, before it is routed: a handler may put another `stanza` in its place.

    `for_sender` holds children, as XML, that the sender's own clients are shown with it, and nobody else. STOP: it goes
    nowhere; say why by raising a `StanzaError` instead.
    """

    session: Session
    stanza: Stanza
    for_sender: bytes = b""


class MessageToUser(Struct, eq=False):
    """A message has come for a local account, before delivery: a handler may put another `stanza` in its place.

    STOP: the handler has taken care of it.
    """

    stanza: Stanza


class MessageUndelivered(Struct, eq=False):
    """No session takes a message that RFC 6121 lets the server keep.

    STOP: it is kept; else its sender gets an error.
    """

    stanza: Stanza


class OfflineWanted(Struct, eq=False):
    """A message has waited for an account, and is about to be sent to a session.

    STOP: the session has it already; it is not sent, and waits no longer.
    """

    session: Session
    stanza: Stanza


class IqFromUser(Struct, eq=False):
    """A local client sends an IQ to another address than its own account, before it is routed.

    STOP: it goes nowhere; say why by raising a `StanzaError` instead.
    """

    session: Session
    stanza: Stanza


class IqToUser(Struct, eq=False):
    """An IQ has come for a local account or one of its resources, before it is answered or delivered.

    STOP: the handler has taken care of it.
    """

    stanza: Stanza


class PresenceFromUser(Struct, eq=False):
    """A local client tells all its contacts that it is available or unavailable.

    STOP: the handler has taken care of it.
    """

    session: Session
    stanza: Stanza


class DirectedPresenceFromUser(Struct, eq=False):
    """A local client sends presence to one address, before it is routed. STOP: the handler has taken care of it."""

    session: Session
    stanza: Stanza


class PresenceToUser(Struct, eq=False):
    """Presence has come for a local account. STOP: the handler has taken care of it; else it is dropped."""

    stanza: Stanza


class SessionAvailable(Struct, eq=False):
    """A session's presence is kept, and its contacts have been told. Stopping has no effect.

    `earlier` is the priority that it had before, None when it was not available: this is its initial presence then.
    """

    session: Session
    roster: dict[Jid, RosterItem]
    earlier: int | None


class PresenceAudience(Struct, eq=False):
    """The presence of an account is about to go to some of its contacts: a handler may take addresses away.

    Stopping means that no other handler is asked.
    """

    account: Jid
    contacts: set[Jid]


class AudienceChanged(Struct, eq=False):
    """Addresses may see an account's presence from now on, or not any more: they are told. Stopping has no effect."""

    account: Jid
    contacts: Collection[Jid]
    shown: bool


class RosterWanted(Struct, eq=False):
    """A module needs an account's roster: the handler sets `items`, keyed by contact. Stopping means it is set."""

    account: Jid
    items: dict[Jid, RosterItem] | None = None


class RosterChange(Struct, eq=False):
    """A module changes what an account's roster holds of one contact, while nobody else does.

    The handler calls `change` with the item as it is, None for none, and sets `before` and `after`. What `change`
    raises, it lets pass. When the item is kept it calls `kept`, and then tells the account's clients what they see of
    it. Stopping means that all this is done.
    """

    account: Jid
    contact: Jid
    change: Callable[[RosterItem | None], RosterItem | None]
    kept: Callable[[RosterChange], None] | None = None
    before: RosterItem | None = None
    after: RosterItem | None = None


class ContactRemoved(Struct, eq=False):
    """A user has taken a contact from the roster. Stopping has no effect."""

    account: Jid
    contact: Jid
    item: RosterItem


class PresenceAllowed(Struct, eq=False):
    """May somebody see whether an account is available, and what goes with it? The handler sets `allowed`.

    Stopping means that it is decided; an account itself always may.
    """

    account: Jid
    asker: Jid
    allowed: bool = False


class DiscoInfoWanted(Struct, eq=False):
    """Somebody who may asks what the host, an account or a component is and can do: handlers add to what is known.

    `to` is a bare JID, and may be an address inside a component. Stopping means that no other handler is asked.
    """

    asker: Jid
    to: Jid
    identities: list[tuple[str, str, str]] = field(default_factory=list)
    """Category, type and name."""
    features: set[str] = field(default_factory=set)
    forms: list[Form] = field(default_factory=list)
    """XEP-0128: forms of the type result, each with its FORM_TYPE."""


class DiscoItemsWanted(Struct, eq=False):
    """Somebody asks for the items of a node of the host or a component: the handler sets `items` as (JID, node, name).

    `to` is a bare JID, and may be an address inside a component. Without a node, `items` begins as an empty list that
    handlers add to. Stopping means that the items are set; else there is no such node.
    """

    asker: Jid
    to: Jid
    node: str
    items: list[tuple[str, str, str]] | None = None


class RoomWanted(Struct, eq=False):
    """A module needs a room to be at an address: the handler makes one if there is none, and sets `found`.

    A room that it makes has this name, lets so many occupants in, shows who they are, and is the host's own. It raises
    the `StanzaError` for a room that cannot be. Stopping means that the room is there.
    """

    jid: Jid
    name: str
    max_occupants: int
    found: bool = False


class RouteRestored(Struct, eq=False):
    """A way to other servers is there again: handlers tell and ask anew those whom it `reaches`.

    What went over it before may have been lost on either side. Stopping has no effect.
    """

    reaches: Callable[[Jid], bool]
