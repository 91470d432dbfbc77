"""XEP-0280 Message Carbons: the clients of an account see what each other sends and receives.

A client is copied once it has asked for that. Eligible is what section 6.1 recommends (`urn:xmpp:carbons:rules:0`),
errors excepted: whether one answers an eligible message is not remembered.
"""

from __future__ import annotations

from typing import Final

from xmppws.config import Section
from xmppws.core.delivery import available
from xmppws.core.events import (
    FeaturesWanted,
    MessageFromUser,
    MessageToUser,
    SessionEnded,
    SessionRestored,
    SessionSuspended,
)
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.metrics import counter
from xmppws.core.module import Module, Target, Xep, iq_set, on
from xmppws.core.session import Session
from xmppws.errors import ItemNotFound
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.parser import tag_of
from xmppws.xml.stanza import Stanza, kept

_ENABLE: Final = f"{{{ns.CARBONS}}}enable"
_BODY: Final = f"{{{ns.CLIENT}}}body"
_REFUSED: Final = frozenset({f"{{{ns.CARBONS}}}private", f"{{{ns.HINTS}}}no-copy"})
_MUC_USER: Final = f"{{{ns.MUC_USER}}}x"
# Besides bodies: receipts, chat markers, chat states, encrypted messages, calls, and what asks to be kept.
_WORTH: Final = (
    "{urn:xmpp:receipts}",
    "{urn:xmpp:chat-markers:0}",
    f"{{{ns.CHAT_STATES}}}",
    "{urn:xmpp:jingle-message:",
    "{urn:xmpp:eme:0}",
    "{urn:xmpp:message-correct:0}",
    "{urn:xmpp:reactions:0}",
    "{urn:xmpp:message-retract:",
    f"{{{ns.HINTS}}}store",
    "{jabber:x:conference}",
)


class Carbons(Module):
    name = "carbons"
    xeps = (Xep(280, "1.0.1"), Xep(297, "1.0"))
    features = (ns.CARBONS, ns.CARBONS_RULES)
    account_features = (ns.CARBONS,)
    inline_features = (ns.CARBONS,)

    copies = counter("xmppws_carbons_copies_total", "Copies sent to other clients of an account.")

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        self._enabled: dict[Jid, tuple[Session, ...]] = {}

    @iq_set(ns.CARBONS, "enable", to=Target.SELF)
    def enable(self, iq: Stanza) -> Stanza:
        """Copy to a client from now on (section 4)."""
        self._enable(self._session(iq))
        return iq.result()

    @iq_set(ns.CARBONS, "disable", to=Target.SELF)
    def disable(self, iq: Stanza) -> Stanza:
        """Copy to a client no more (section 5)."""
        self._forget(self._session(iq))
        return iq.result()

    @on(FeaturesWanted, Phase.ANSWER)
    def wanted(self, event: FeaturesWanted) -> Verdict:
        """Copy to a client from its first moment on (XEP-0386 section 3.2)."""
        if _ENABLE in event.wanted and self.host.sessions.find(event.session.jid) is event.session:
            self._enable(event.session)
        return None

    @on(SessionEnded, Phase.GUARD)
    def ended(self, event: SessionEnded) -> Verdict:
        """Forget a client that is gone."""
        self._forget(event.session)
        return None

    @on(SessionSuspended, Phase.OBSERVE)
    def suspended(self, event: SessionSuspended) -> Verdict:
        """Let it be stored that a client is copied."""
        if event.session in self._enabled.get(event.session.account, ()):
            event.state[self.name] = "enabled"
        return None

    @on(SessionRestored, Phase.OBSERVE)
    def restored(self, event: SessionRestored) -> Verdict:
        """Copy to a client again."""
        if self.name in event.state:
            self._enable(event.session)
        return None

    @on(MessageFromUser, Phase.COPY)
    def sent(self, event: MessageFromUser) -> Verdict:
        """Show what a client sends to the others (section 8)."""
        enabled = self._enabled.get(event.session.account)
        assert event.stanza.to is not None
        if enabled is not None and _is_eligible(event.stanza, incoming=False):
            getting = self._getting(event.stanza) if event.stanza.to.bare == event.session.account else []
            shown = event.stanza.plus(event.for_sender) if event.for_sender else event.stanza
            self._copy(b"sent", shown, [each for each in enabled if each not in (event.session, *getting)])
        return None

    @on(MessageToUser, Phase.COPY)
    def received(self, event: MessageToUser) -> Verdict:
        """Show what one client gets to those that do not (section 7)."""
        message = event.stanza
        assert message.to is not None
        enabled = self._enabled.get(message.to.bare)
        if enabled is None or (message.sender is not None and message.sender.bare == message.to.bare):
            return None  # What a user sends to itself was copied when it was sent.
        if _is_eligible(message, incoming=True):
            getting = self._getting(message)
            self._copy(b"received", message, [each for each in enabled if each not in getting])
        return None

    def _getting(self, message: Stanza) -> list[Session]:
        """Return who gets a message itself (RFC 6121 section 8.5)."""
        assert message.to is not None
        sessions = self.host.sessions.of(message.to.bare)
        return [each for each in sessions if each.jid == message.to] or available(sessions)

    def _copy(self, kind: bytes, message: Stanza, to: list[Session]) -> None:
        if not to:
            return
        forwarded = b'<forwarded xmlns="%b">%b</forwarded>' % (ns.FORWARD.encode(), message.wire)
        copy = b'<%b xmlns="%b">%b</%b>' % (kind, ns.CARBONS.encode(), forwarded, kind)
        content = b' xmlns="%b" type="chat">%b</message>' % (ns.CLIENT.encode(), copy)
        for session in to:
            session.send(kept("message", "chat", content, to=session.jid, sender=session.account))
        self.copies.inc(len(to))

    def _session(self, iq: Stanza) -> Session:
        session = self.host.sessions.find(iq.sender) if iq.sender is not None else None
        if session is None:
            raise ItemNotFound
        return session

    def _enable(self, session: Session) -> None:
        enabled = self._enabled.get(session.account, ())
        if session not in enabled:
            self._enabled[session.account] = (*enabled, session)

    def _forget(self, session: Session) -> None:
        left = tuple(each for each in self._enabled.get(session.account, ()) if each is not session)
        if left:
            self._enabled[session.account] = left
        else:
            self._enabled.pop(session.account, None)


def _is_eligible(message: Stanza, *, incoming: bool) -> bool:
    if message.type not in ("chat", "normal"):
        return False
    tags = [tag_of(child) for child in message.element]
    if not _REFUSED.isdisjoint(tags):
        return False
    if _MUC_USER in tags and incoming:
        # Private messages of rooms come to every client that is in the room; invitations have no body of the room's.
        return message.sender is None or not message.sender.resource
    return message.type == "chat" or _BODY in tags or any(tag.startswith(_WORTH) for tag in tags)
