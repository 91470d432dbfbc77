"""The ways from this server to others: components that attach to it, and links by which it attaches to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from xmppws.config import Config
from xmppws.core.auth import Background
from xmppws.core.dispatch import Dispatch
from xmppws.core.host import Host
from xmppws.core.limits import Pace
from xmppws.core.named import NotFound, find
from xmppws.core.route import Route
from xmppws.routes.component.accept import Gateway, Gateways
from xmppws.routes.component.link import Link, Links
from xmppws.stream.tcp_check import Checks
from xmppws.xml.parser import Vocabulary


class RouteError(Exception):
    """A route that cannot be made; the text is for the sysadmin."""


class Routes:
    """`all` are the routes that the configuration asks for, in the order to ask them. Raises `RouteError`."""

    def __init__(
        self,
        config: Config,
        hosts: Mapping[str, Host],
        dispatch: Dispatch,
        new_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._hosts = hosts
        self._dispatch = dispatch
        pace = Pace(config.limits.logins_per_second, config.limits.logins_per_second * config.limits.burst, clock)
        self.gateways = Gateways(self._gateways(), dispatch, new_id, pace)
        self.links = Links(self._links())
        gateways: tuple[Route, ...] = (self.gateways,) if self.gateways.known else ()
        links: tuple[Route, ...] = (self.links,) if self.links.by_domain else ()
        self.all = (*gateways, *self._others(), *links)

    def start(self) -> None:
        """Begin what the routes do by themselves."""
        for route in self.all:
            if isinstance(route, Background):
                route.start()

    async def stop(self) -> None:
        """End it."""
        for route in reversed(self.all):
            if isinstance(route, Background):
                await route.stop()

    def owners(self) -> Iterator[tuple[str, object]]:
        """Return what counts something, as metrics of the domain that it stands by."""
        yield from self.gateways.known.items()
        yield from self.links.by_domain.items()

    def _others(self) -> Iterator[Route]:
        for name in self._config.routes:
            try:
                yield find("route", name)(self._dispatch)
            except NotFound as error:
                raise RouteError(f"routes: {error}") from error

    def _gateways(self) -> Iterator[Gateway]:
        for domain, options in self._config.components.items():
            if options.secret:
                yield Gateway(domain, options, self._hosts[options.host])

    def _links(self) -> Iterator[Link]:
        owners = {domain: host for host in self._hosts.values() for domain in (host.domain, *host.components)}
        here = frozenset({*owners, *self.gateways.domains})
        vocabulary, checks = Vocabulary(), Checks()
        for domain, options in self._config.links.items():
            if domain not in owners:
                raise RouteError(f"links.{domain}: there is no such host, and no component")
            yield Link(domain, owners[domain], options, self._dispatch, here, vocabulary, checks)
