"""Stanzas that have come for a local host or account (RFC 6120 section 10.5, RFC 6121 section 8).

What becomes of a message is one table, that of RFC 6121 section 8.5.4. Where it lets the server choose between silence
and an error, the sender gets an error, so that nothing is lost without anybody knowing; headlines and errors are for
nobody to answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Final, TypeAlias

from xmppws.core.events import IqToUser, MessageToUser, MessageUndelivered, PresenceToUser
from xmppws.core.hooks import STOP, Verdict
from xmppws.core.host import Host
from xmppws.core.module import IqHandler, Target
from xmppws.core.session import Session
from xmppws.errors import ServiceUnavailable
from xmppws.jid import Jid
from xmppws.xml.parser import tag_of
from xmppws.xml.stanza import Stanza

_Deliver: TypeAlias = "Callable[[Host, Stanza, Jid], Awaitable[None] | None]"


class Situation(Enum):
    """Who there is at an address without a session of exactly that full JID."""

    BARE_AVAILABLE = "a bare JID with resources of non-negative priority"
    BARE_EMPTY = "a bare JID without any"
    FULL_AVAILABLE = "a full JID that is not there, while other resources of non-negative priority are"
    FULL_EMPTY = "a full JID that is not there, nor any other"


class Action(Enum):
    """What becomes of a message."""

    DELIVER = "to all resources of non-negative priority"
    KEEP = "kept for later if a module does that and there is such an account, else an error"
    ERROR = "service-unavailable to the sender"
    IGNORE = "nothing"


MESSAGES: Final[dict[tuple[Situation, str], Action]] = {
    (Situation.BARE_AVAILABLE, "normal"): Action.DELIVER,
    (Situation.BARE_AVAILABLE, "chat"): Action.DELIVER,
    (Situation.BARE_AVAILABLE, "groupchat"): Action.ERROR,
    (Situation.BARE_AVAILABLE, "headline"): Action.DELIVER,
    (Situation.BARE_AVAILABLE, "error"): Action.IGNORE,
    (Situation.BARE_EMPTY, "normal"): Action.KEEP,
    (Situation.BARE_EMPTY, "chat"): Action.KEEP,
    (Situation.BARE_EMPTY, "groupchat"): Action.ERROR,
    (Situation.BARE_EMPTY, "headline"): Action.IGNORE,
    (Situation.BARE_EMPTY, "error"): Action.IGNORE,
    (Situation.FULL_AVAILABLE, "normal"): Action.ERROR,
    (Situation.FULL_AVAILABLE, "chat"): Action.DELIVER,
    (Situation.FULL_AVAILABLE, "groupchat"): Action.ERROR,
    (Situation.FULL_AVAILABLE, "headline"): Action.IGNORE,
    (Situation.FULL_AVAILABLE, "error"): Action.IGNORE,
    (Situation.FULL_EMPTY, "normal"): Action.ERROR,
    (Situation.FULL_EMPTY, "chat"): Action.KEEP,
    (Situation.FULL_EMPTY, "groupchat"): Action.ERROR,
    (Situation.FULL_EMPTY, "headline"): Action.IGNORE,
    (Situation.FULL_EMPTY, "error"): Action.IGNORE,
}


class Delivery:
    """The route to the hosts of this process."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = hosts

    def owns(self, to: Jid) -> bool:
        """Tell whether an address is on a host of this process."""
        return to.domain in self._hosts

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza."""
        to = stanza.to
        assert to is not None
        host = self._hosts[to.domain]
        if not to.local:
            return _to_host(host, stanza, to)
        kind = stanza.kind
        if kind == "presence":
            return _discard(host.hooks.run(PresenceToUser(stanza)))
        event, deliver = _DELIVERIES[kind]
        if event in host.hooks.handlers:
            arrival = event(stanza)
            verdict = host.hooks.run(arrival)
            if verdict is not None:
                return None if verdict is STOP else _later(verdict, deliver, host, arrival)
            stanza = arrival.stanza
        return deliver(host, stanza, to)


def available(sessions: tuple[Session, ...]) -> list[Session]:
    """Return those that may be sent what is addressed to the account (RFC 6121 section 8.5.2)."""
    return [session for session in sessions if session.presence is not None and session.priority >= 0]


def _to_host(host: Host, stanza: Stanza, to: Jid) -> Awaitable[None] | None:
    if stanza.kind == "iq":
        return _iq(host, stanza, to)
    # Presence to a host needs no answer (RFC 6121 section 4.6.3); a message has nobody here to read it.
    if stanza.kind == "message":
        raise ServiceUnavailable("Nobody reads messages to this address")
    return None


async def _later(pending: Awaitable[Verdict], deliver: _Deliver, host: Host, arrival: MessageToUser | IqToUser) -> None:
    if await pending is STOP:
        return
    stanza = arrival.stanza
    assert stanza.to is not None
    rest = deliver(host, stanza, stanza.to)
    if rest is not None:
        await rest


def _message(host: Host, stanza: Stanza, to: Jid) -> Awaitable[None] | None:
    sessions = host.sessions.of(to.bare)
    if to.resource:
        for session in sessions:
            if session.jid.resource == to.resource:
                # RFC 6121 section 8.5.3.1: to a connected resource, whatever its type and presence.
                session.send(stanza)
                return None
    recipients = available(sessions)
    if to.resource:
        situation = Situation.FULL_AVAILABLE if recipients else Situation.FULL_EMPTY
    else:
        situation = Situation.BARE_AVAILABLE if recipients else Situation.BARE_EMPTY
    action = MESSAGES[situation, stanza.type]
    if action is Action.DELIVER:
        send_all(recipients, stanza)
    elif action is Action.KEEP:
        return _keep(host, stanza, to)
    elif action is Action.ERROR:
        raise ServiceUnavailable
    return None


async def _keep(host: Host, stanza: Stanza, to: Jid) -> None:
    if MessageUndelivered in host.hooks.handlers and await host.exists(to.local):
        verdict = host.hooks.run(MessageUndelivered(stanza))
        if verdict is STOP or (verdict is not None and await verdict is STOP):
            return
    raise ServiceUnavailable


def send_all(sessions: list[Session], stanza: Stanza) -> None:
    """Send one stanza to several sessions, written once."""
    wire = stanza.wire
    for session in sessions:
        if session.acks is not None or session.hold is not None:
            session.send(stanza)
            continue
        session.host.traffic.sent[stanza.kind] += 1
        session.stream.send(wire)


def _iq(host: Host, iq: Stanza, to: Jid) -> Awaitable[None] | None:
    if to.resource:
        session = host.sessions.find(to) if to.local else None
        if session is not None:
            session.send(iq)
            return None
    elif iq.answerable:
        return _answer(host, iq, to)
    if iq.answerable:
        raise ServiceUnavailable
    return None  # A result for nobody (RFC 6121 section 8.5.3.2.3 lets it be dropped).


def _answer(host: Host, iq: Stanza, to: Jid) -> Awaitable[None] | None:
    assert iq.payload is not None and iq.sender is not None
    if not to.local:
        target = Target.HOST
    else:
        target = Target.SELF if to == iq.sender.bare else Target.OTHER
    handler = host.iq_handler(iq.type, tag_of(iq.payload), target)
    if handler is None:
        raise ServiceUnavailable
    return answer(host, handler, iq)


def answer(host: Host, handler: IqHandler, iq: Stanza) -> Awaitable[None] | None:
    """Let a handler answer a request, and send what it returns."""
    reply = handler(iq)
    if isinstance(reply, Stanza):
        return host.dispatch.send(reply)
    return None if reply is None else _answer_later(host, reply)


async def _answer_later(host: Host, pending: Awaitable[Stanza | None]) -> None:
    reply = await pending
    if reply is not None:
        sent = host.dispatch.send(reply)
        if sent is not None:
            await sent


_DELIVERIES: Final[dict[str, tuple[type[MessageToUser] | type[IqToUser], _Deliver]]] = {
    "message": (MessageToUser, _message),
    "iq": (IqToUser, _iq),
}


def _discard(verdict: Verdict | Awaitable[Verdict]) -> Awaitable[None] | None:
    return None if verdict is None or verdict is STOP else _wait(verdict)


async def _wait(pending: Verdict | Awaitable[Verdict]) -> None:
    if isinstance(pending, Awaitable):
        await pending
