"""Streams that end in every odd way, mixed at random: afterwards nothing of them is left, and nobody else noticed."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from clients import BIND, SASL, logged_in
from raw import OPEN, Raw, frame, head
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.errors import Reason, StreamPolicyViolation
from xmppws.stream.frames import CLOSE, PING

STRANGE = [
    frame(b"x"),
    frame(b"\xff\xfe"),
    frame(b"<a"),
    frame(b"<!DOCTYPE a>"),
    frame(b"<message xmlns='jabber:client'/>"),
    frame(b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"),
    frame(b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='elsewhere' version='1.0'/>"),
    frame(b"", 2),
    frame(b"a", masked=False),
    frame(b"a", reserved=1),
    frame(b"<a", final=False) + frame(b"b", 1),
    frame(b"\x03\xe8bye", CLOSE),
    frame(b"\x00", CLOSE),
    frame(b"", PING) * 300,
    frame(b"x" * 70_000),
    frame(b"x" * 70_000)[:5000],
    b"\x81",
]
STANZAS = [
    b"<presence xmlns='jabber:client'/>",
    b"<presence xmlns='jabber:client' to='carol@localhost'/>",
    b"<presence xmlns='jabber:client' type='unavailable'/>",
    b"<message xmlns='jabber:client' to='carol@localhost' type='chat'><body>storm</body></message>",
    b"<message xmlns='jabber:client' to='nobody@localhost' type='chat'><body>storm</body></message>",
    b"<message xmlns='jabber:client' to='bob@localhost' type='headline'><body>storm</body></message>",
    b"<iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
    b"<iq xmlns='jabber:client' type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>",
    b"<iq xmlns='jabber:client' type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
    b"<iq xmlns='jabber:client' type='get' id='x' to='localhost'><unknown xmlns='urn:unknown'/></iq>",
]


def login(username: str, password: str, resource: str) -> bytes:
    """Write a whole login as a client that waits for no answer would send it."""
    credentials = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
    bind = f"<bind xmlns='{BIND}'><resource>{resource}</resource></bind>"
    auth = f"<auth xmlns='{SASL}' mechanism='PLAIN'>{credentials}</auth>"
    iq = f"<iq xmlns='jabber:client' type='set' id='b'>{bind}</iq>"
    return b"".join(frame(part) for part in (OPEN, auth.encode(), OPEN, iq.encode()))


class Storm:
    """Clients that do whatever comes to the mind of `chance`."""

    def __init__(self, server: Running, chance: random.Random) -> None:
        self.server = server
        self.chance = chance

    async def client(self) -> None:
        """Connect, do a few things, end somehow."""
        client = Raw(*await asyncio.open_connection("127.0.0.1", self.server.port))
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._live(client)
                await self._end(client)
        finally:
            client.writer.transport.abort()

    async def _live(self, client: Raw) -> None:
        data = head() + self._sent()
        if self.chance.random() < 0.3:
            # Anywhere, in the middle of the head, of a frame or of the login too.
            cut = self.chance.randrange(len(data))
            client.write(data[:cut])
            await self._pause()
            data = data[cut:] if self.chance.random() < 0.7 else b""
        client.write(data)
        await self._pause()

    def _sent(self) -> bytes:
        name, password = self.chance.choice(list(PASSWORDS.items())[:2])
        if self.chance.random() < 0.2:
            password = "wrong"
        # Three resources for all of them, so that they replace each other.
        sent = login(name, password, f"r{self.chance.randrange(3)}") if self.chance.random() < 0.8 else b""
        sent += b"".join(frame(self.chance.choice(STANZAS)) for _ in range(self.chance.randrange(8)) if sent)
        return sent + self.chance.choice(STRANGE) if self.chance.random() < 0.5 else sent

    async def _end(self, client: Raw) -> None:
        endings: list[Callable[[Raw], Awaitable[None]]] = [
            self._abort,
            self._half_close,
            self._flood,
            self._kick,
            self._close,
        ]
        await self.chance.choice(endings)(client)

    async def _abort(self, client: Raw) -> None:
        client.writer.transport.abort()

    async def _half_close(self, client: Raw) -> None:
        client.writer.write_eof()
        await self._read(client)

    async def _flood(self, client: Raw) -> None:
        client.write(frame(self.chance.choice(STANZAS)) * 100)
        await self._pause()

    async def _kick(self, client: Raw) -> None:
        """Let an admin end any of the streams."""
        connections = self.server.server.connections
        facts = connections.all()
        error = StreamPolicyViolation("", Reason.KICKED)
        # Not the witness, who is carol.
        others = [each.id for each in facts if not each.user.startswith("carol")]
        if others:
            connections.end(self.chance.choice(others), error)
        await self._read(client)

    async def _close(self, client: Raw) -> None:
        client.write(frame(b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"))
        client.write(frame(b"\x03\xe8", CLOSE))
        await self._read(client)

    async def _pause(self) -> None:
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)

    async def _read(self, client: Raw) -> None:
        """Take what comes for a while: some endings are answered, others leave the stream open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while await client.reader.read(65536):
                    pass


async def gone(server: Running) -> None:
    """Wait until no connection is left."""
    await until(lambda: not server.server.endpoint.admission.connections)
    await server.server.dispatch.drain()


def nothing_left(server: Running) -> None:
    """Check that every counter and register is empty."""
    endpoint, host = server.server.endpoint, server.server.hosts["localhost"]
    assert not endpoint.connections and not endpoint.admission.connections
    assert not endpoint._strangers
    assert not endpoint.watches
    assert not len(host.sessions) and not list(host.sessions)
    assert not endpoint.deadlines._slots
    assert not server.server.dispatch._tasks


async def weather(seed: int, clients: int) -> None:
    chance = random.Random(seed)
    settings = config(close_timeout=1.0, auth_timeout=2.0, max_unauthenticated_per_address=1000)
    async with running(settings) as server:
        endpoint = server.server.endpoint
        async with logged_in(server.url, "carol", PASSWORDS["carol"]) as witness:
            storm = Storm(server, chance)
            for _ in range(clients // 20):
                await asyncio.gather(*(storm.client() for _ in range(20)))
                strangers = {each for network in endpoint._strangers.values() for each in network}
                assert strangers == {each for each in endpoint.connections if not each.name}
            answer = await witness.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")
            assert answer.get("type") == "result"
            await witness.close()
        await gone(server)
        nothing_left(server)
        assert sum(endpoint.ends.values()) > clients // 2


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_left(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Every counter and register is empty, no error was logged, and one client stayed all the time."""
    await weather(seed, 200)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("seed", [3, 4])
async def test_nothing_is_left_when_the_server_stops_meanwhile(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    async with running(config(close_timeout=1.0, max_unauthenticated_per_address=1000)) as server:
        storm = Storm(server, chance)
        clients = [asyncio.ensure_future(storm.client()) for _ in range(40)]
        # Some have logged in by then, some are about to, some wait to connect.
        await asyncio.wait(clients, return_when=asyncio.FIRST_COMPLETED)
    for outcome in await asyncio.gather(*clients, return_exceptions=True):
        assert outcome is None or isinstance(outcome, OSError)
    nothing_left(server)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.soak
async def test_nothing_is_left_for_long(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(100, 150):
        await weather(seed, 1000)
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
        caplog.clear()
