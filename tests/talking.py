"""A client that loses nothing: stream management (XEP-0198), and its archive (XEP-0313) where that was not enough."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from xml.etree import ElementTree

import aiohttp

from clients import BIND, CLIENT, Client, Closed, connected
from resuming import FAILED, RESUMED, SM, authenticated
from servers import PASSWORDS

MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"
FORWARDED = "{urn:xmpp:forward:0}forwarded"
# A server that stops answers a log-in with its end, which is no features.
LOST = (Closed, OSError, aiohttp.ClientError, TimeoutError, AssertionError)


@dataclass
class Sent:
    """A stanza that waits to be acknowledged; `number` is 0 for what is no message."""

    text: str
    number: int = 0


@dataclass
class Account:
    """What one side of the talk knows. Messages are numbered from 1."""

    name: str
    seen: dict[int, list[str]] = field(default_factory=dict)
    """The numbers of the other's messages in the order in which they were seen, each with the ids of its archived
    copies."""
    repeated: list[int] = field(default_factory=list)
    """Numbers that came once more with the same id, so that a client knows."""
    live: list[int] = field(default_factory=list)
    """Numbers in the order in which they came, but those that say when they were sent."""
    acknowledged: set[int] = field(default_factory=set)
    sent_again: set[int] = field(default_factory=set)
    """Numbers that were sent anew after a resumption had failed."""
    resumed: int = 0
    failed: int = 0
    archive: list[int] = field(default_factory=list)
    """The other's numbers that the archive has at the end."""


class Talker:
    """Sends `number` messages to another account, over as many connections as it takes."""

    def __init__(self, url: str, name: str, other: str, number: int, random: Random) -> None:
        self.account = Account(name)
        self._url = url
        self._other = other
        self._numbers = iter(range(1, number + 1))
        self._last = number
        self._random = random
        self._id = ""
        self._h = 0
        self._acked = 0
        self._queue: deque[Sent] = deque()
        # What was not acknowledged when a resumption failed.
        self._again: deque[Sent] = deque()
        # Of messages that were seen, in order.
        self._ids: list[str] = []

    @property
    def is_done(self) -> bool:
        """Whether all messages are acknowledged."""
        return len(self.account.acknowledged) == self._last

    async def run(self) -> None:
        """Talk until it is cancelled."""
        while True:
            with suppress(*LOST):
                async with asyncio.timeout(20), connected(self._url) as client:
                    await self._begin(client)
                    await self._talk(client)
            await asyncio.sleep(self._random.uniform(0.01, 0.1))

    async def read_archive(self) -> None:
        """Read all of the archive over a session of its own."""
        async with connected(self._url) as client:
            await client.login(self.account.name, PASSWORDS[self.account.name], mechanism="PLAIN", presence=False)
            async for result in self._pages(client):
                message = result.find(f"{FORWARDED}/{CLIENT}message")
                assert message is not None
                if (message.get("from") or "").startswith(f"{self._other}@"):
                    self.account.archive.append(int(message.findtext(f"{CLIENT}body") or 0))

    # --- one connection ---

    async def _begin(self, client: Client) -> None:
        await authenticated(client, self.account.name, mechanism="PLAIN")
        if self._id:
            await client.send(f"<resume xmlns='{SM}' previd='{self._id}' h='{self._h}'/>")
            answer = await client.receive()
            if answer.tag == RESUMED:
                self.account.resumed += 1
                self._acknowledge(answer)
                for each in self._queue:
                    await client.send(each.text)
                return
            assert answer.tag == FAILED
            assert answer[0].tag.endswith("}item-not-found")
            self.account.failed += 1
            # What was handled is there, so only the rest is sent again. Nothing was when the server does not say.
            self._acknowledge(answer)
        await self._begin_anew(client)

    async def _begin_anew(self, client: Client) -> None:
        self._again += [each for each in self._queue if each.number]
        self._queue.clear()
        self._id = ""
        await client.iq("set", f"<bind xmlns='{BIND}'/>")
        await client.send(f"<enable xmlns='{SM}' resume='true'/>")
        enabled = await client.receive_until("enabled")
        self._h = self._acked = 0
        # XEP-0313: before it is available, or what waits for it would come first.
        async for result in self._pages(client, *self._ids[-1:]):
            message = result.find(f"{FORWARDED}/{CLIENT}message")
            assert message is not None
            self._saw(message, result.get("id") or "")
        self._id = enabled.get("id") or ""
        await self._send(client, Sent("<presence xmlns='jabber:client'/>"))

    async def _pages(self, client: Client, after: str = "") -> AsyncIterator[ElementTree.Element]:
        while True:
            page = f"<set xmlns='{RSM}'><max>50</max>{f'<after>{after}</after>' if after else ''}</set>"
            query = f"<query xmlns='{MAM}'>{page}</query>"
            await self._send(client, Sent(f"<iq xmlns='jabber:client' type='set' id='q'>{query}</iq>"))
            while (element := await self._receive(client)).tag != f"{CLIENT}iq":
                result = element.find(f"{{{MAM}}}result")
                if result is not None:
                    after = result.get("id") or ""
                    yield result
            if element.get("type") == "error":
                # The server was killed before what it had shown was in the archive.
                after = self._before(after)
            elif element[0].get("complete") == "true":
                return

    def _before(self, id: str) -> str:
        place = self._ids.index(id)
        return self._ids[place - 1] if place else ""

    async def _talk(self, client: Client) -> None:
        writing = asyncio.ensure_future(self._write(client))
        try:
            while True:
                await self._receive(client)
        finally:
            writing.cancel()
            await asyncio.wait([writing])

    async def _write(self, client: Client) -> None:
        with suppress(*LOST):
            while self._again:
                each = self._again.popleft()
                self.account.sent_again.add(each.number)
                await self._send(client, each)
            for number in self._numbers:
                await self._send(client, Sent(self._message(number), number))
                await asyncio.sleep(self._random.uniform(0.0, 0.03))
                if self._random.random() < 0.2:
                    await client.send(f"<r xmlns='{SM}'/>")
            while True:
                await client.send(f"<r xmlns='{SM}'/>")
                await asyncio.sleep(0.2)

    def _message(self, number: int) -> str:
        attributes = f"to='{self._other}@localhost' type='chat' id='{self.account.name}{number}'"
        return f"<message xmlns='jabber:client' {attributes}><body>{number}</body></message>"

    async def _send(self, client: Client, stanza: Sent) -> None:
        self._queue.append(stanza)
        await client.send(stanza.text)

    async def _receive(self, client: Client) -> ElementTree.Element:
        element = await client.receive()
        if element.tag == f"{{{SM}}}r":
            await client.send(f"<a xmlns='{SM}' h='{self._h}'/>")
        elif element.tag == f"{{{SM}}}a":
            self._acknowledge(element)
        elif element.tag.startswith(CLIENT):
            self._h = (self._h + 1) % 2**32
            if element.tag == f"{CLIENT}message" and element.find(f"{CLIENT}body") is not None:
                ids = [each.get("id") or "" for each in element.iter(STANZA_ID)]
                self._saw(element, ids[0] if ids else "")
        return element

    def _acknowledge(self, element: ElementTree.Element) -> None:
        h = int(element.get("h") or self._acked)
        assert (h - self._acked) % 2**32 <= len(self._queue), "the server takes back what it has acknowledged"
        for _ in range((h - self._acked) % 2**32):
            sent = self._queue.popleft()
            if sent.number:
                self.account.acknowledged.add(sent.number)
        self._acked = h

    def _saw(self, message: ElementTree.Element, id: str) -> None:
        if id and id not in self._ids:
            insort(self._ids, id)
        if not (message.get("from") or "").startswith(f"{self._other}@") or message.get("type") == "error":
            return
        number = int(message.findtext(f"{CLIENT}body") or 0)
        if message.find("{urn:xmpp:delay}delay") is None and number not in self.account.seen:
            self.account.live.append(number)
        ids = self.account.seen.setdefault(number, [])
        if id in ids:
            self.account.repeated.append(number)
        else:
            ids.append(id)
