"""An XMPP client for tests, over a real WebSocket (aiohttp's), with nothing of the server's code."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from xml.etree import ElementTree

import aiohttp

from scram_client import ScramClient

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
CLIENT = "{jabber:client}"
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
STREAM_ERRORS = "{urn:ietf:params:xml:ns:xmpp-streams}"


class Closed(Exception):
    """The server closed the WebSocket."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Client:
    """One WebSocket. `receive` gives the next element; everything raises `Closed` once the server has closed."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, domain: str) -> None:
        self.socket = socket
        self.domain = domain
        self.jid = ""
        self.ids = count(1)

    async def send(self, text: str) -> None:
        await self.socket.send_str(text)

    async def receive_text(self, timeout: float = 10) -> str:
        message = await self.socket.receive(timeout)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Closed(self.socket.close_code, message.extra)
        return str(message.data)

    async def receive(self, timeout: float = 10) -> ElementTree.Element:
        return ElementTree.fromstring(await self.receive_text(timeout))

    async def receive_until(self, name: str) -> ElementTree.Element:
        """Return the next element with this local name, dropping others."""
        while True:
            element = await self.receive()
            if element.tag.rpartition("}")[2] == name:
                return element

    async def open(self, to: str | None = None, version: str = "1.0") -> ElementTree.Element:
        """Open the stream and return the features."""
        await self.send(f"<open xmlns='{FRAMING}' to='{to or self.domain}' version='{version}'/>")
        opened = await self.receive()
        assert opened.tag == f"{{{FRAMING}}}open", opened.tag
        return await self.receive()

    async def authenticate(self, username: str, password: str, mechanism: str = "SCRAM-SHA-256") -> ElementTree.Element:
        """Run SASL and return the last element: success or failure."""
        if mechanism in ("PLAIN", "ANONYMOUS"):
            message = f"\0{username}\0{password}" if mechanism == "PLAIN" else ""
            data = base64.b64encode(message.encode()).decode()
            await self.send(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{data}</auth>")
            return await self.receive()
        if mechanism == "OAUTHBEARER":
            return await self._show(username, password)
        scram = ScramClient(HASHES[mechanism], username, password, nonce="fyko+d2lbbFgONRv9qkxdawL")
        first = base64.b64encode(scram.first).decode()
        await self.send(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>")
        challenge = await self.receive()
        if challenge.tag != f"{{{SASL}}}challenge":
            return challenge
        final = base64.b64encode(scram.final(base64.b64decode(challenge.text or ""))).decode()
        await self.send(f"<response xmlns='{SASL}'>{final}</response>")
        outcome = await self.receive()
        if outcome.tag == f"{{{SASL}}}success":
            assert scram.accepts(base64.b64decode(outcome.text or "")), "the server does not know the password"
        return outcome

    async def _show(self, username: str, token: str) -> ElementTree.Element:
        """Show a token; after a challenge, which says why it is refused, give the dummy response."""
        name = f"a={username}@{self.domain}" if username else ""
        message = f"n,{name},\1auth=Bearer {token}\1\1"
        data = base64.b64encode(message.encode()).decode()
        await self.send(f"<auth xmlns='{SASL}' mechanism='OAUTHBEARER'>{data}</auth>")
        outcome = await self.receive()
        if outcome.tag == f"{{{SASL}}}challenge":
            await self.send(f"<response xmlns='{SASL}'>AQ==</response>")
            outcome = await self.receive()
        return outcome

    async def login(
        self,
        username: str,
        password: str,
        *,
        resource: str = "",
        mechanism: str = "SCRAM-SHA-256",
        presence: bool = True,
    ) -> str:
        """Open, authenticate, bind, send presence, and return the full JID."""
        await self.open()
        outcome = await self.authenticate(username, password, mechanism)
        assert outcome.tag == f"{{{SASL}}}success", ElementTree.tostring(outcome)
        await self.open()
        wanted = f"<resource>{resource}</resource>" if resource else ""
        result = await self.iq("set", f"<bind xmlns='{BIND}'>{wanted}</bind>", to="")
        self.jid = result.findtext(f"{{{BIND}}}bind/{{{BIND}}}jid") or ""
        if presence:
            await self.send("<presence xmlns='jabber:client'/>")
            await self.receive_until("presence")
        return self.jid

    async def iq(self, type: str, payload: str, to: str | None = None) -> ElementTree.Element:
        """Send a request and return what answers it, dropping other stanzas."""
        id = f"t{next(self.ids)}"
        address = f" to='{to}'" if to else ""
        await self.send(f"<iq xmlns='jabber:client' type='{type}' id='{id}'{address}>{payload}</iq>")
        while True:
            answer = await self.receive_until("iq")
            if answer.get("id") == id:
                return answer

    async def message(self, to: str, body: str, type: str = "chat", id: str = "") -> None:
        attributes = f"to='{to}' type='{type}' id='{id or next(self.ids)}'"
        await self.send(f"<message xmlns='jabber:client' {attributes}><body>{body}</body></message>")

    async def body(self) -> str:
        """Return the body of the next message."""
        return (await self.receive_until("message")).findtext(f"{CLIENT}body") or ""

    async def expect_end(self) -> tuple[str, str, int | None]:
        """Read to the end and return the stream error's condition and text, and the close code."""
        condition = text = ""
        try:
            while True:
                element = await self.receive()
                if element.tag == "{http://etherx.jabber.org/streams}error":
                    condition = next(c.tag.removeprefix(STREAM_ERRORS) for c in element if not c.tag.endswith("}text"))
                    text = element.findtext(f"{STREAM_ERRORS}text") or ""
                elif element.tag == f"{{{FRAMING}}}close":
                    await self.send(f"<close xmlns='{FRAMING}'/>")
        except Closed as closed:
            return condition, text, closed.code

    async def close(self) -> None:
        """Close the stream as a client should, and wait for the server's side of it."""
        await self.send(f"<close xmlns='{FRAMING}'/>")
        await self.expect_end()


@asynccontextmanager
async def connected(url: str, domain: str = "localhost", **options: Any) -> AsyncIterator[Client]:
    """Connect a WebSocket; options go to aiohttp's `ws_connect`."""
    connector = aiohttp.UnixConnector(options.pop("path")) if "path" in options else None
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(url, protocols=("xmpp",), max_msg_size=0, autoclose=True, **options) as socket,
    ):
        yield Client(socket, domain)


@asynccontextmanager
async def logged_in(
    url: str, username: str, password: str, domain: str = "localhost", **options: Any
) -> AsyncIterator[Client]:
    """Connect, log in with presence, and close the stream at the end."""
    login = {name: options.pop(name) for name in ("resource", "mechanism", "presence") if name in options}
    async with connected(url, domain, **options) as client:
        await client.login(username, password, **login)
        yield client


async def gather_bodies(client: Client, number: int) -> list[str]:
    """Return the bodies of the next messages."""
    async with asyncio.timeout(30):
        return [await client.body() for _ in range(number)]
