"""Second, trivial implementations of the ports: a stream that keeps what it is sent, a route, a router that echoes."""

from __future__ import annotations

from collections.abc import Awaitable

from xmppws.core.admin import ConnectionFacts
from xmppws.core.catalog import Catalog
from xmppws.core.component import Components, assign
from xmppws.core.delivery import Delivery
from xmppws.core.dispatch import Dispatch
from xmppws.core.host import Host
from xmppws.core.loader import load
from xmppws.core.module import Module
from xmppws.core.router import Request, Stream
from xmppws.core.session import Session
from xmppws.errors import End, StreamError
from xmppws.jid import Jid
from xmppws.modules import BUILT_IN
from xmppws.storage.memory import MemoryStorage
from xmppws.stream.framing import Open
from xmppws.xml.parser import Element, Parser, Vocabulary, tag_of


class KeepingStream:
    """A stream that goes nowhere. `sent` are the messages, `error` what it was ended with."""

    def __init__(self, address: str = "192.0.2.1") -> None:
        self.id = "id"
        self.address = address
        self.secure = True
        self.sent: list[bytes] = []
        self.error: StreamError | None = None
        self.reading = True
        self.name = ""

    def facts(self) -> ConnectionFacts:
        return ConnectionFacts(self.id, "localhost", self.name, "established", self.address, True, 60.0, 5.0, 0.02, 0)

    def open(self, sender: str, id: str, *messages: bytes) -> None:
        self.sent += [f"open {sender}".encode(), *messages]

    def send(self, *messages: bytes) -> None:
        self.sent += messages

    def count_login(self) -> float:
        return 0.0

    def authenticated(self, name: str, *, guest: bool = False) -> None:
        self.name = name

    def end(self, error: StreamError | None = None) -> None:
        self.error = error

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class ListRoute:
    """A route to one domain that keeps what it is given."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.delivered: list[bytes] = []

    def owns(self, to: Jid) -> bool:
        return to.domain == self.domain

    def deliver(self, stanza: object) -> Awaitable[None] | None:
        self.delivered.append(stanza.wire)  # type: ignore[attr-defined]
        return None


class EchoRouter:
    """A router that lets everybody in and sends back every element: what `router = "fakes:EchoRouter"` names."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.handlers: list[EchoHandler] = []

    def accept(self, stream: Stream, request: Request) -> EchoHandler:
        self.handlers.append(EchoHandler(self.domain, stream, request))
        return self.handlers[-1]


class EchoHandler:
    def __init__(self, domain: str, stream: Stream, request: Request) -> None:
        self.domain = domain
        self.stream = stream
        self.request = request
        self.ends: list[End] = []

    def opened(self, open: Open) -> Awaitable[None] | None:
        self.stream.authenticated("anybody")
        self.stream.open(self.domain, "1", b"<features xmlns='http://etherx.jabber.org/streams'/>")
        return None

    def received(self, root: Element) -> Awaitable[None] | None:
        path = self.request.path
        self.stream.send(f"<echo xmlns='urn:echo' path='{path}' of='{tag_of(root)}'/>".encode())
        return None

    def probe(self) -> None:
        self.stream.send(b"<probe xmlns='urn:echo'/>")

    def writable(self, ready: bool) -> None:
        pass

    def closed(self, end: End) -> None:
        self.ends.append(end)


class Users:
    """A provider that knows names and nothing else."""

    mechanisms = frozenset({"PLAIN"})

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    async def exists(self, username: str) -> bool:
        return username in self.names


class World:
    """A host `localhost` with chosen modules, and sessions on streams that keep what they are sent."""

    def __init__(
        self,
        *modules: type[Module],
        names: tuple[str, ...] = ("alice", "bob"),
        built_in: bool = True,
        without: tuple[str, ...] = (),
    ) -> None:
        self.dispatch = Dispatch()
        self.storage = MemoryStorage()
        self.host = Host(
            "localhost",
            dispatch=self.dispatch,
            stores=self.storage.for_host("localhost"),
            providers=(Users(*names),),  # type: ignore[arg-type]
            new_id=iter(map(str, range(10_000))).__next__,
        )
        known = {**BUILT_IN, **{module.name: module for module in modules}}
        enabled = known if built_in else [module.name for module in modules]
        load(self.host, [name for name in enabled if name not in without], Catalog(known))
        assign(self.host, {}, taken={"localhost"})
        self.dispatch.hosts = {"localhost": self.host}
        self.dispatch.routes = (Delivery({"localhost": self.host}), Components([self.host]))
        self._vocabulary = Vocabulary()

    def session(self, jid: str, *, priority: int | None = None) -> Session:
        """Bind a session; with a priority it is available."""
        full = Jid.parse(jid)
        session = self.host.bind(full.bare, full.resource, KeepingStream())
        if priority is not None:
            presence = f"<presence xmlns='jabber:client'><priority>{priority}</priority></presence>"
            self.dispatch.observe(self.send(session, presence))
        return session

    def parse(self, text: str) -> Element:
        return Parser(self._vocabulary, "").parse(text.encode())

    def send(self, session: Session, text: str) -> Awaitable[None] | None:
        """Let a session's client send an element."""
        return self.dispatch.from_client(session, self.parse(text))

    async def says(self, session: Session, text: str) -> None:
        """Let a session's client send an element, and wait for all that follows from it."""
        pending = self.send(session, text)
        if pending is not None:
            await pending
        await self.dispatch.drain()


def stream_of(session: Session) -> KeepingStream:
    assert isinstance(session.stream, KeepingStream)
    return session.stream


def got(session: Session) -> list[str]:
    """Return what a session was sent since the last look."""
    stream = stream_of(session)
    texts, stream.sent = [message.decode() for message in stream.sent], []
    return texts
