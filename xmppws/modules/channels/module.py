"""JSON pub/sub for pages that speak no XMPP: channels, which are rooms of the module muc.

A page opens a WebSocket at `/ws`, with a token of an account (`authentication = ["jwt"]`), subscribes to events of
channels, and publishes. What it publishes, XMPP clients in the room read, and the other way round; man
xmppws-channels(7) has the messages. Left out: HTTP requests that publish, and presence beyond who is there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from xmppws.config import Section
from xmppws.config.kinds import MIB
from xmppws.core.auth import Tokens
from xmppws.core.events import RoomWanted
from xmppws.core.host import Host
from xmppws.core.metrics import counter, gauge
from xmppws.core.module import Module, Xep
from xmppws.core.providers import Providers
from xmppws.core.web import Refuse, Socket, WebRequest, websocket
from xmppws.errors import StanzaError, SystemShutdown
from xmppws.jid import Jid
from xmppws.modules.channels.channel import Channel
from xmppws.modules.channels.names import to_localpart
from xmppws.modules.channels.options import ChannelsOptions
from xmppws.modules.channels.page import Page
from xmppws.modules.channels.requests import Problem

log = logging.getLogger("xmppws.channels")

# Seconds between two looks for pages that are idle.
_CHECK_INTERVAL: Final = 5.0
_NOT_SECURE: Final = (
    "This connection is not secure. Use wss; behind a proxy that ends TLS, list the proxy in http.trusted_proxies and "
    "let it set X-Forwarded-Proto, or set http.consider_websocket_secure."
)


class Channels(Module):
    name = "channels"
    xeps = (Xep(335, "0.1.1"),)
    requires = ("muc",)
    Options = ChannelsOptions
    options: ChannelsOptions

    pages_now = gauge("xmppws_channels_pages", "WebSockets of pages that are open.")
    channels_now = gauge("xmppws_channels_channels", "Channels with pages.")
    published = counter("xmppws_channels_published_total", "Messages that pages have published.")
    delivered = counter("xmppws_channels_delivered_total", "Messages that were sent to pages.")

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        self.providers = Providers(host.providers)
        self.pages: set[Page] = set()
        self._channels: dict[str, Channel] = {}
        self._checks: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Look for idle pages from now on, and say what is missing."""
        if not any(isinstance(provider, Tokens) for provider in self.host.providers):
            log.warning('%s: pages cannot log in to channels without authentication = ["jwt"]', self.host.domain)
        if not self._service:
            log.warning("%s: channels have no rooms: the module muc has no address", self.host.domain)
        self._check()

    async def stop(self) -> None:
        """End all pages."""
        if self._checks is not None:
            self._checks.cancel()
        for page in tuple(self.pages):
            page.end(SystemShutdown("The channels are stopping"))

    @websocket("/ws", max_message=MIB)
    def connect(self, request: WebRequest, socket: Socket) -> Page:
        """Take a page; its token may stand in the query, and is not checked before the upgrade.

        A browser does not tell pages how a handshake was refused, but it does what a message says.
        """
        if not request.secure:
            raise Refuse(403, _NOT_SECURE)
        page = Page(self, socket, request.http.query.get("token", ""))
        self.pages.add(page)
        self.pages_now.set(len(self.pages))
        return page

    def forget(self, page: Page) -> None:
        """Forget a page that is gone."""
        self.pages.discard(page)
        self.pages_now.set(len(self.pages))

    def channel(self, name: str) -> Channel:
        """Return a channel, which counts one page more. Raises `Problem` for one too many."""
        channel = self._channels.get(name)
        if channel is None:
            if len(self._channels) >= self.options.max_rooms:
                raise Problem("too-many-rooms", "There are as many channels as there may be")
            channel = Channel(name, Jid.make(to_localpart(name), self._service), self.options)
            self._channels[name] = channel
            self.channels_now.set(len(self._channels))
        channel.pages += 1
        return channel

    def left(self, channel: Channel) -> None:
        """Note that one page fewer is in a channel."""
        channel.pages -= 1
        if not channel.pages:
            del self._channels[channel.name]
            self.channels_now.set(len(self._channels))

    async def provide(self, channel: Channel) -> None:
        """See to it that a channel has its room. Raises `Problem`."""
        wanted = RoomWanted(channel.jid, channel.name, self.options.max_room_users)
        try:
            await self.host.hooks.finish(wanted)
        except StanzaError as error:
            raise Problem("too-many-rooms", error.text) from None
        if not wanted.found:
            raise Problem("unavailable", "There are no rooms for channels here")

    @property
    def _service(self) -> str:
        of_muc = (domain for domain, module in self.host.components.items() if module == "muc")
        return self.options.service or next(of_muc, "")

    def _check(self) -> None:
        now = time.monotonic()
        for page in tuple(self.pages):
            page.check(now)
        self._checks = asyncio.get_running_loop().call_later(_CHECK_INTERVAL, self._check)
