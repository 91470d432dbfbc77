"""Links: domains of this server attached to other servers, each as a component of the server it is linked to.

What somebody of a linked domain sends to an address that is not here goes up its link; what comes down is for the
linked domain alone.

| phase   | what is sent            | ends by                        |
|---------|-------------------------|--------------------------------|
| DOWN    | waits, or is an error   | the next attempt               |
| OPENING | waits                   | the answer, connect timeout    |
| UP      | goes                    | the connection                 |
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Collection, Iterable
from enum import Enum
from typing import Final

from xmppws.config import Link as Options
from xmppws.config import address
from xmppws.core.dispatch import Dispatch
from xmppws.core.events import RouteRestored
from xmppws.core.host import Host
from xmppws.core.metrics import counter, gauge
from xmppws.errors import RemoteServerNotFound, RemoteServerTimeout, StreamError
from xmppws.jid import Jid
from xmppws.routes.component.stream import ComponentStream, digest, handshake
from xmppws.stream.tcp import COMPONENT, Header, header
from xmppws.stream.tcp_check import Checks
from xmppws.xml import ns
from xmppws.xml.parser import Element, Vocabulary, tag_of
from xmppws.xml.stanza import Stanza

log = logging.getLogger("xmppws.link")

# Seconds.
_CONNECT_TIMEOUT: Final = 10.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_KEEPALIVE_INTERVAL: Final = 60.0
_TEXT: Final = f"{{{ns.STREAM_ERRORS}}}text"


class Phase(Enum):
    DOWN = "down"
    OPENING = "opening"
    UP = "up"


class Links:
    """The route of linked domains to everywhere that is not here. `here` are all domains of this process."""

    def __init__(self, links: Iterable[Link]) -> None:
        self.by_domain = {link.domain: link for link in links}
        self._tasks: list[asyncio.Task[None]] = []

    def owns(self, to: Jid) -> bool:
        """Tell that it is for all that no route before it owns: who sends it decides."""
        return True

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        """Send a stanza up the link of its sender's domain."""
        assert stanza.sender is not None and stanza.to is not None
        link = self.by_domain.get(stanza.sender.domain)
        if link is None:
            raise RemoteServerNotFound(f"No way to {stanza.to.domain} from here")
        return link.deliver(stanza)

    def start(self) -> None:
        """Connect all links, and connect them again whenever they are lost."""
        self._tasks = [asyncio.ensure_future(link.run()) for link in self.by_domain.values()]

    async def stop(self) -> None:
        """End all links."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Link:
    """One linked domain, which belongs to `host`."""

    up = gauge("xmppws_link_up", "Whether the link to the other server is up.")
    waiting = gauge("xmppws_link_waiting", "Stanzas that wait for the link.")
    sent = counter("xmppws_link_sent_total", "Stanzas that went up the link.")
    received = counter("xmppws_link_received_total", "Stanzas that came down the link.")

    def __init__(
        self,
        domain: str,
        host: Host,
        options: Options,
        dispatch: Dispatch,
        here: Collection[str],
        vocabulary: Vocabulary,
        checks: Checks,
    ) -> None:
        self.domain = domain
        self.host = host
        self.options = options
        self.address = address(options.address)
        self.here = here
        self.dispatch = dispatch
        self.vocabulary = vocabulary
        self.checks = checks
        self.phase = Phase.DOWN
        self._stream: LinkStream | None = None
        self._queue: deque[Stanza] = deque()
        self._size = 0
        self._expiry: asyncio.TimerHandle | None = None

    def deliver(self, stanza: Stanza) -> Awaitable[None] | None:
        """Send a stanza, or keep it for a while. Raises `RemoteServerTimeout` when too much waits already."""
        if self._stream is not None and self.phase is Phase.UP:
            self.sent.inc()
            return self._stream.send(stanza)
        size = len(stanza.content)
        if len(self._queue) >= self.options.max_queue or self._size + size > self.options.max_queue_size:
            raise RemoteServerTimeout("The link to other servers is down")
        self._queue.append(stanza)
        self._size += size
        self.waiting.set(len(self._queue))
        if self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(self.options.queue_timeout, self._expired)
        return None

    async def run(self) -> None:
        """Keep the link up, for ever."""
        pause = _FIRST_PAUSE
        while True:
            try:
                stream = await self._connect()
            except (OSError, TimeoutError, Refused) as error:
                log.warning("link of %s to %s: %s", self.domain, self.address, _sentence(error))
            else:
                pause = _FIRST_PAUSE
                self._up(stream)
                why = await self._until_ended(stream)
                self._down()
                log.warning("link of %s to %s is down: %s", self.domain, self.address, why)
            # All that lost one server at the same moment must not come back to it at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _until_ended(self, stream: LinkStream) -> str:
        # RFC 6120 section 4.6.1: whitespace keeps a stream, and finds out when the other side is gone. Servers drop
        # components that say nothing for minutes.
        while True:
            done, _ = await asyncio.wait((stream.ended,), timeout=_KEEPALIVE_INTERVAL)
            if done:
                return stream.ended.result()
            stream.write(b" ")

    def take(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza that came down."""
        assert stanza.to is not None and stanza.sender is not None
        if stanza.to.domain != self.domain or stanza.sender.domain in self.here:
            told = "link of %s: a stanza from %s to %s is not for it to bring"
            log.warning(told, self.domain, stanza.sender, stanza.to)
            return None
        self.received.inc()
        return self.dispatch.send(stanza)

    async def _connect(self) -> LinkStream:
        self.phase = Phase.OPENING
        where, loop = self.address, asyncio.get_running_loop()
        stream = LinkStream(self)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                if where.path:
                    await loop.create_unix_connection(lambda: stream, where.path)
                else:
                    await loop.create_connection(lambda: stream, where.host, where.port)
                await stream.accepted
        except BaseException:
            self.phase = Phase.DOWN
            stream.abort()
            raise
        return stream

    def _up(self, stream: LinkStream) -> None:
        log.info("link of %s to %s is up", self.domain, self.address)
        self._stream, self.phase = stream, Phase.UP
        self.up.set(1)
        for stanza in self._emptied():
            # Without waiting for the peer: what waited is bounded.
            self.sent.inc()
            stream.send(stanza)
        event = RouteRestored(lambda to: to.domain not in self.here)
        if self.host.domain == self.domain:
            self.dispatch.observe(self.host.hooks.run(event))

    def _down(self) -> None:
        self._stream, self.phase = None, Phase.DOWN
        self.up.set(0)

    def _emptied(self) -> Iterable[Stanza]:
        stanzas, self._queue, self._size = self._queue, deque(), 0
        self.waiting.set(0)
        return stanzas

    def _expired(self) -> None:
        self._expiry = None
        if self.phase is Phase.UP:
            return
        for stanza in self._emptied():
            if stanza.answerable:
                self.dispatch.post(stanza.error(RemoteServerTimeout("The link to other servers is down")))


class Refused(Exception):
    """The server does not take the link; the message says why."""


class LinkStream(ComponentStream):
    """One connection of a link. `accepted` is done when it is up, `ended` with the reason when it is over."""

    def __init__(self, link: Link) -> None:
        options = link.options
        super().__init__(
            link.vocabulary, link.checks, max_size=options.max_stanza_size, per_second=options.stanzas_per_second
        )
        self._link = link
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._why = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the stream."""
        super().connection_made(transport)
        self.write(header(COMPONENT, to=self._link.domain, version=None))

    def header(self, header: Header) -> None:
        """Prove that the secret is known."""
        self.write(handshake(digest(header.id or "", self._link.options.secret)))

    def handshake(self, proof: str) -> None:
        """Learn that the server has accepted it."""
        if not self.accepted.done():
            self.accepted.set_result(None)

    def stanza(self, stanza: Stanza) -> Awaitable[None] | None:
        """Take a stanza that came down."""
        return self._link.take(stanza)

    def failed(self, error: Element) -> None:
        """Keep what the server says of the end."""
        conditions = [tag_of(each).rpartition("}")[2] for each in error if tag_of(each) != _TEXT]
        self._why = f"it ended the stream with {': '.join([*conditions[:1], (error.findtext(_TEXT) or '')[:200]])}"

    def end(self, error: StreamError | None) -> None:
        """End the stream."""
        if error is not None:
            self._why = self._why or f"it broke the rules of XML streams: {error}"
        super().end(error)

    def over(self, why: str) -> None:
        """Learn that the connection is gone."""
        why = self._why or why
        if not self.accepted.done():
            self.accepted.set_exception(Refused(why))
            # Nobody may be waiting any more.
            self.accepted.exception()
        if not self.ended.done():
            self.ended.set_result(why)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


def _sentence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {_CONNECT_TIMEOUT:g}s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
