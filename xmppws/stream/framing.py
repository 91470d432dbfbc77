"""The XMPP subprotocol (RFC 7395): `<open/>`, elements, `<close/>`, and what is written for them.

`Framing` is the state machine of one stream. It is told what came in and what goes out, and answers whether that is
allowed now.

| state   | meaning                                                     |
|---------|-------------------------------------------------------------|
| NEW     | nothing was received                                        |
| OPENING | the client's `<open/>` was received and not answered yet    |
| OPEN    | both sides have opened                                      |
| CLOSING | we have sent `<close/>` and wait for the client's           |
| CLOSED  | both sides have closed                                      |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from xmppws.errors import BadFormat, InvalidNamespace, NotAuthorized, SeeOtherUri, StreamError
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.writer import attribute, text

_STANZAS: Final = frozenset(f"{{{ns.CLIENT}}}{kind}" for kind in ("message", "presence", "iq"))
CLOSE: Final = f'<close xmlns="{ns.FRAMING}"/>'.encode()


class State(Enum):
    NEW = "new"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Event(Enum):
    OPEN_RECEIVED = "open received"
    CLOSE_RECEIVED = "close received"
    ELEMENT_RECEIVED = "element received"
    OPEN_SENT = "open sent"
    CLOSE_SENT = "close sent"


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.NEW, Event.OPEN_RECEIVED): State.OPENING,
    # RFC 7395 section 3.6: either side may close at any time.
    (State.NEW, Event.CLOSE_RECEIVED): State.CLOSED,
    (State.NEW, Event.CLOSE_SENT): State.CLOSING,
    (State.OPENING, Event.OPEN_SENT): State.OPEN,
    (State.OPENING, Event.CLOSE_RECEIVED): State.CLOSED,
    (State.OPENING, Event.CLOSE_SENT): State.CLOSING,
    # Section 3.7: a restart is a new `<open/>` on the same socket.
    (State.OPEN, Event.OPEN_RECEIVED): State.OPENING,
    (State.OPEN, Event.ELEMENT_RECEIVED): State.OPEN,
    (State.OPEN, Event.CLOSE_RECEIVED): State.CLOSED,
    (State.OPEN, Event.CLOSE_SENT): State.CLOSING,
    # What a client sent before it saw our `<close/>` is not an error any more.
    (State.CLOSING, Event.OPEN_RECEIVED): State.CLOSING,
    (State.CLOSING, Event.ELEMENT_RECEIVED): State.CLOSING,
    (State.CLOSING, Event.CLOSE_RECEIVED): State.CLOSED,
    (State.CLOSED, Event.OPEN_RECEIVED): State.CLOSED,
    (State.CLOSED, Event.CLOSE_RECEIVED): State.CLOSED,
    (State.CLOSED, Event.ELEMENT_RECEIVED): State.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Open:
    """The client's stream header (RFC 6120 section 4.7); an attribute that is absent is None."""

    to: str | None
    sender: str | None
    version: str | None
    lang: str | None


class Framing:
    """The state of one stream. Every (state, event) pair is in `TRANSITIONS`, a `StreamError`, or a mistake of ours."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State.NEW

    def received(self, root: Element) -> Open | Element | None:
        """Take an element from the client.

        Returns an `Open`, an element for the router, or None when there is nothing to do. After the client's
        `<close/>` the state is CLOSED. Raises a `StreamError`.
        """
        if self.state is State.OPEN and root.tag in _STANZAS:
            return root  # The table says the same; nearly all that comes is this.
        event = _event(root)
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            # RFC 6120 section 4.9.3.12: data before the stream was opened.
            raise NotAuthorized("Send <open/> first, and wait for the server's <open/>")
        self.state = state
        if state is State.OPENING:
            return _read_open(root)
        return root if state is State.OPEN else None

    def sent(self, event: Event) -> None:
        """Note that `<open/>` or `<close/>` was sent."""
        self.state = TRANSITIONS[self.state, event]

    def ending(self, error: StreamError | None, sender: str, id: str) -> list[bytes]:
        """Return what ends the stream from our side.

        Nothing when it is over, else `<close/>`, after the error if there is one.
        """
        if self.state in (State.CLOSING, State.CLOSED):
            return []
        messages = [CLOSE]
        if isinstance(error, SeeOtherUri):
            messages = [b'<close xmlns="%b" see-other-uri="%b"/>' % (ns.FRAMING.encode(), attribute(error.uri))]
        elif error is not None:
            messages.insert(0, stream_error(error))
            # RFC 7395 section 3.5: an error while opening is preceded by our `<open/>`.
            if self.state is not State.OPEN:
                messages.insert(0, open_message(sender, id))
        self.sent(Event.CLOSE_SENT)
        return messages


def _event(root: Element) -> Event:
    tag = tag_of(root)
    if tag == f"{{{ns.FRAMING}}}open":
        return Event.OPEN_RECEIVED
    if tag == f"{{{ns.FRAMING}}}close":
        return Event.CLOSE_RECEIVED
    # RFC 7395 section 3.3.2: a framing element of another namespace ends the stream with <invalid-namespace/>.
    if tag.startswith(f"{{{ns.FRAMING}}}") or tag.rpartition("}")[2] in ("open", "stream"):
        raise InvalidNamespace(f"Framing elements are open and close of {ns.FRAMING}")
    return Event.ELEMENT_RECEIVED


def _read_open(root: Element) -> Open:
    lang = root.get(ns.LANG)
    # Routers keep it and pass it on, so it is bounded (RFC 5646 section 4.4.1 advises 35).
    if lang is not None and len(lang) > 35:
        raise BadFormat("xml:lang is longer than any language tag")
    return Open(root.get("to"), root.get("from"), root.get("version"), lang)


def open_message(sender: str, id: str, *, lang: str = "en", to: str | None = None) -> bytes:
    """Write our stream header (RFC 6120 section 4.7; RFC 7395 section 3.4)."""
    client = b' to="%b"' % attribute(to) if to else b""
    return b'<open xmlns="%b" from="%b"%b id="%b" version="1.0" xml:lang="%b"/>' % (
        ns.FRAMING.encode(),
        attribute(sender),
        client,
        attribute(id),
        attribute(lang),
    )


def features(content: bytes) -> bytes:
    """Write stream features. RFC 7395 section 3.3.3: the prefix is declared in the message itself."""
    return b'<stream:features xmlns:stream="%b">%b</stream:features>' % (ns.STREAM.encode(), content)


def limits_feature(max_bytes: int, idle: float) -> bytes:
    """Write the largest stanza that is taken, and after how long a silent client is asked whether it is there.

    XEP-0478 Stream Limits Advertisement 0.2.0; `idle` is in seconds.
    """
    # In whole seconds, and never more than it is: less than one cannot be said.
    seconds = b"<idle-seconds>%d</idle-seconds>" % idle if idle >= 1 else b""
    return b'<limits xmlns="%b"><max-bytes>%d</max-bytes>%b</limits>' % (ns.STREAM_LIMITS.encode(), max_bytes, seconds)


def stream_error(error: StreamError) -> bytes:
    """Write a stream error (RFC 6120 section 4.9.2). Its text begins with the stable reason id."""
    return (
        b'<stream:error xmlns:stream="%b"><%b xmlns="%b"/><text xmlns="%b" xml:lang="en">%b</text>%b</stream:error>'
        % (
            ns.STREAM.encode(),
            error.condition.encode(),
            ns.STREAM_ERRORS.encode(),
            ns.STREAM_ERRORS.encode(),
            text(error.end.text),
            error.specific,
        )
    )
