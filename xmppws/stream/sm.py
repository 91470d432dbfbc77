"""XEP-0198 Stream Management 1.6.3: what was sent and is not acknowledged yet, and how much was handled.

`Acks` belongs to a session and outlives its sockets. All numbers count modulo 2^32 (section 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from xmppws.errors import UndefinedCondition
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza, kept, revived
from xmppws.xml.writer import attribute

FEATURE: Final = f'<sm xmlns="{ns.STREAM_MANAGEMENT}"/>'.encode()
REQUEST: Final = f'<r xmlns="{ns.STREAM_MANAGEMENT}"/>'.encode()
ENABLE: Final = f"{{{ns.STREAM_MANAGEMENT}}}enable"
RESUME: Final = f"{{{ns.STREAM_MANAGEMENT}}}resume"
R: Final = f"{{{ns.STREAM_MANAGEMENT}}}r"
A: Final = f"{{{ns.STREAM_MANAGEMENT}}}a"

_WRAP: Final = 2**32
# So many stanzas are sent before the client is asked which have come.
_ASKED_AFTER: Final = 5


class Resume(NamedTuple):
    """A client wants to go on with the session of this id, of which it has handled `h` stanzas (section 5)."""

    id: str
    h: int


class Unacked(NamedTuple):
    """A stanza that was sent: all of it but its tree. `when` is in seconds since 1970."""

    kind: str
    type: str
    to: Jid | None
    sender: Jid | None
    content: bytes
    when: float

    @property
    def wire(self) -> bytes:
        """The stanza as bytes."""
        return kept(self.kind, self.type, self.content, to=self.to, sender=self.sender).wire

    def stanza(self) -> Stanza:
        """Return it as a stanza again."""
        return revived(self.kind, self.type, self.content, to=self.to, sender=self.sender)


class Acks:
    """The two counters of a session and the queue between them."""

    __slots__ = ("_acked", "_asked", "_max_size", "_max_stanzas", "_queue", "_size", "_told", "handled")

    def __init__(self, max_stanzas: int, max_size: int) -> None:
        self.handled = 0
        """How many stanzas of the client were handled."""
        self._max_stanzas = max_stanzas
        self._max_size = max_size
        self._size = 0
        self._acked = 0
        self._told = 0
        self._asked = False
        self._queue: deque[Unacked] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Unacked]:
        return iter(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether more waits to be acknowledged than may."""
        return len(self._queue) > self._max_stanzas or self._size > self._max_size

    @property
    def acked(self) -> int:
        """How many stanzas the client has acknowledged."""
        return self._acked

    def restore(self, handled: int, acked: int, queue: Iterable[Unacked]) -> None:
        """Put back what another process counted and kept."""
        self.handled = self._told = handled
        self._acked = acked
        self._queue.extend(queue)
        self._size = sum(len(each.content) for each in self._queue)

    def count(self) -> None:
        """Note that a stanza of the client was handled."""
        self.handled = (self.handled + 1) % _WRAP

    def tell(self, handled: int) -> int:
        """Return what to tell the client of what was handled: never less than it was told before.

        A client would take a smaller number for nearly 2^32 more.
        """
        if (handled - self._told) % _WRAP < _WRAP // 2:
            self._told = handled
        return self._told

    def sent(self, stanza: Stanza, when: float) -> bool:
        """Keep a stanza that is sent, and tell whether the client is to be asked now what has come."""
        content = stanza.content
        self._queue.append(Unacked(stanza.kind, stanza.type, stanza.to, stanza.sender, content, when))
        self._size += len(content)
        return not self._asked and len(self._queue) >= _ASKED_AFTER and self.ask()

    def ask(self) -> bool:
        """Note that the client is asked, and tell whether that makes sense: something waits, and it was not."""
        if self._asked or not self._queue:
            return False
        self._asked = True
        return True

    def acknowledge(self, h: int) -> None:
        """Forget what the client has handled. Raises `HandledTooHigh`."""
        number = (h - self._acked) % _WRAP
        if number > len(self._queue):
            raise HandledTooHigh(h, (self._acked + len(self._queue)) % _WRAP)
        for _ in range(number):
            self._size -= len(self._queue.popleft().content)
        self._acked = h
        self._asked = False

    def resume(self, h: int) -> list[bytes]:
        """Return what the client has not handled, to be sent again. Raises `HandledTooHigh`."""
        self.acknowledge(h)
        self._asked = bool(self._queue)
        written = [each.wire for each in self._queue]
        return [*written, REQUEST] if written else []

    def give_up(self) -> list[Unacked]:
        """Return what the client never acknowledged, and forget it."""
        left = list(self._queue)
        self._queue.clear()
        self._size = 0
        return left


class HandledTooHigh(UndefinedCondition):
    """The client has acknowledged more than it was sent (section 4)."""

    def __init__(self, h: int, sent: int) -> None:
        super().__init__(f"You acknowledged {h} stanzas, and were sent {sent}")
        self.specific = b'<handled-count-too-high xmlns="%b" h="%d" send-count="%d"/>' % (
            ns.STREAM_MANAGEMENT.encode(),
            h,
            sent,
        )


def read_h(element: Element) -> int:
    """Return the `h` of an element. Raises `UndefinedCondition` for one that is no number of 32 bits."""
    text = element.get("h", "")
    if not text.isdecimal() or not text.isascii() or len(text) > 10 or int(text) >= _WRAP:
        raise UndefinedCondition("h is a number from 0 to 4294967295")
    return int(text)


def wants_resumption(enable: Element) -> bool:
    """Tell whether an `<enable/>` asks for a stream that can be resumed."""
    return enable.get("resume", "") in ("true", "1")


def read_resume(element: Element) -> Resume:
    """Return what a `<resume/>` says. Raises `UndefinedCondition`."""
    return Resume(element.get("previd", ""), read_h(element))


def answer(h: int) -> bytes:
    """Write how many stanzas were handled."""
    return b'<a xmlns="%b" h="%d"/>' % (ns.STREAM_MANAGEMENT.encode(), h)


def enabled(id: str, max: float) -> bytes:
    """Write that stanzas are counted; with an id the stream can be resumed within `max` seconds."""
    resumable = b' id="%b" resume="true" max="%d"' % (attribute(id), int(max)) if id else b""
    return b'<enabled xmlns="%b"%b/>' % (ns.STREAM_MANAGEMENT.encode(), resumable)


def resumed(id: str, h: int) -> bytes:
    """Write that a stream goes on."""
    return b'<resumed xmlns="%b" previd="%b" h="%d"/>' % (ns.STREAM_MANAGEMENT.encode(), attribute(id), h)


def failed(condition: str, h: int | None = None) -> bytes:
    """Write that counting, or going on, cannot be (a condition of RFC 6120 section 8.3.3).

    `h` is how many stanzas were handled of the session that cannot go on, None if that is not known.
    """
    handled = b"" if h is None else b' h="%d"' % h
    return b'<failed xmlns="%b"%b><%b xmlns="%b"/></failed>' % (
        ns.STREAM_MANAGEMENT.encode(),
        handled,
        condition.encode(),
        ns.STANZA_ERRORS.encode(),
    )
