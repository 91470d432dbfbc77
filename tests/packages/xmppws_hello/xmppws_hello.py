"""A module as somebody else would write and install it: it uses every kind of declaration once."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

from aiohttp import web

from xmppws.config import Opt, Section
from xmppws.core.adhoc import Call, Done, adhoc
from xmppws.core.admin import AdminError, admin_command
from xmppws.core.dispatch import Dispatch
from xmppws.core.events import MessageFromUser
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.module import Module, Target, iq_get, keyvalue_store, on
from xmppws.core.router import Request, Stream
from xmppws.core.web import Refuse, Socket, WebRequest, http_get, http_post, websocket
from xmppws.errors import End, ServiceUnavailable
from xmppws.jid import Jid
from xmppws.stream.framing import Open
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import element

HELLO = "urn:example:hello"


class HelloOptions(Section, frozen=True, kw_only=True):
    """Options of the module hello."""

    greeting: Annotated[str, Opt("What is said.")] = "Hello"
    limit: Annotated[int, Opt("How often.", minimum=1)] = 1000


class Hello(Module):
    name = "hello"
    features = (HELLO,)
    Options = HelloOptions
    options: HelloOptions

    said = keyvalue_store("hello", int)

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.started = False

    @iq_get(HELLO, "hello", to=Target.HOST)
    async def greet(self, iq: Stanza) -> Stanza:
        assert iq.sender is not None
        count = (await self.said.get(iq.sender.local) or 0) + 1
        await self.said.set(iq.sender.local, count)
        return iq.result(element(HELLO, "hello", {"count": str(count)}, f"{self.options.greeting} {iq.sender.local}"))

    @on(MessageFromUser, Phase.GUARD)
    def forbid(self, event: MessageFromUser) -> Verdict:
        if event.stanza.element.findtext("{jabber:client}body") == "swear":
            from xmppws.errors import PolicyViolation

            raise PolicyViolation("Mind your language")
        return None

    @http_get("/hello/{name}")
    async def page(self, request: WebRequest) -> web.Response:
        name = request.http.match_info["name"]
        return web.Response(text=f"{self.options.greeting} {name} from {request.address} to {request.host.domain}\n")

    @http_post("/hello/{name}", max_body=10)
    async def post(self, request: WebRequest) -> web.Response:
        return web.Response(text=await request.http.text())

    @websocket("/hello-ws", subprotocols=("hello",), max_message=1000)
    def connect(self, request: WebRequest, socket: Socket) -> Talk:
        if "token" not in request.http.query:
            raise Refuse(401, "A token is missing.")
        return Talk(socket, request.http.query["token"])

    @adhoc("hello", "Say hello")
    def say(self, call: Call) -> Done:
        return Done(f"{self.options.greeting} {call.user}")

    @admin_command("hello", "Greet the sysadmin.")
    async def admin(self, args: list[str]) -> list[dict[str, object]]:
        if not args:
            raise AdminError("Whom?")
        return [{"greeting": self.options.greeting, "name": name} for name in args]


class Talk:
    """One WebSocket: it echoes, and closes on "bye"."""

    def __init__(self, socket: Socket, name: str) -> None:
        self.socket = socket
        socket.authenticated(name)

    def opened(self) -> Awaitable[None] | None:
        return None

    def message(self, payload: bytes) -> Awaitable[None] | None:
        if payload == b"bye":
            self.socket.close(1000, "bye")
        else:
            self.socket.send_text(b"you said " + payload)
        return None

    def writable(self, ready: bool) -> None:
        if ready:
            self.socket.resume_reading()
        else:
            self.socket.pause_reading()

    def closed(self, end: End) -> None:
        pass


class Parrot:
    """A router that repeats."""

    def __init__(self, domain: str) -> None:
        self.domain = domain

    def accept(self, stream: Stream, request: Request) -> Repeats:
        return Repeats(self.domain, stream)


class Repeats:
    def __init__(self, domain: str, stream: Stream) -> None:
        self.domain = domain
        self.stream = stream

    def opened(self, open: Open) -> Awaitable[None] | None:
        self.stream.authenticated("parrot")
        self.stream.open(self.domain, "1", b"<features xmlns='http://etherx.jabber.org/streams'/>")
        return None

    def received(self, root: Element) -> Awaitable[None] | None:
        self.stream.send(f"<said xmlns='urn:parrot'>{root.text}</said>".encode())
        return None

    def probe(self) -> None:
        pass

    def writable(self, ready: bool) -> None:
        pass

    def closed(self, end: End) -> None:
        pass


class Cave:
    """A route: whoever writes to an address at cave.example hears an echo."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self.open = False

    def start(self) -> None:
        self.open = True

    async def stop(self) -> None:
        self.open = False

    def owns(self, to: Jid) -> bool:
        return to.domain == "cave.example"

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        if stanza.kind != "message" or not self.open:
            raise ServiceUnavailable("A cave answers messages alone")
        return self.dispatch.send(stanza.addressed(to=stanza.sender, sender=stanza.to))
