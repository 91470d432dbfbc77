"""Somebody in a room: one nickname, one account, and one client or several."""

from __future__ import annotations

from xmppws.jid import Jid
from xmppws.modules.muc.privileges import PRIVILEGES, Privilege, Role


class Occupant:
    """An occupant. `sessions` holds the presence of each client, as the content of a stanza; the newest comes last.

    `jid` is the occupant JID, with the nickname as resource; `account` is whose clients they are.
    """

    __slots__ = ("account", "jid", "role", "sessions")

    def __init__(self, jid: Jid, account: Jid, role: Role) -> None:
        self.jid = jid
        self.account = account
        self.role = role
        self.sessions: dict[Jid, bytes] = {}

    @property
    def nick(self) -> str:
        """The nickname."""
        return self.jid.resource

    @property
    def address(self) -> Jid:
        """The full JID of the client that was heard of last, which stands for the others."""
        return next(reversed(self.sessions))

    @property
    def presence(self) -> bytes:
        """The content of that client's presence."""
        return self.sessions[self.address]

    def may(self, privilege: Privilege) -> bool:
        """Tell whether the role brings a privilege."""
        return privilege in PRIVILEGES[self.role]

    def show(self, session: Jid, presence: bytes) -> None:
        """Keep what a client of the occupant says of itself, as the newest."""
        self.sessions.pop(session, None)
        self.sessions[session] = presence
