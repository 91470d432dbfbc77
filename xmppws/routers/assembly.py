"""The routers of all virtual hosts of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING

from xmppws.config import Config
from xmppws.config import Host as HostOptions
from xmppws.core.expiry import Sweep
from xmppws.core.host import Host
from xmppws.core.named import NotFound, find
from xmppws.core.router import Router
from xmppws.routers.local import LocalRouter

if TYPE_CHECKING:
    from xmppws.routers.upstream.dns import Resolver
    from xmppws.routers.upstream.router import UpstreamRouter


class RouterError(Exception):
    """A router that cannot be made; the text is for the sysadmin."""


class Routers:
    """`by_domain` has them all, `upstreams` those with a server behind. Raises `RouterError`."""

    def __init__(self, config: Config, hosts: Mapping[str, Host], sweep: Sweep, new_id: Callable[[], str]) -> None:
        self._config = config
        self._hosts = hosts
        self._sweep = sweep
        self._new_id = new_id
        self._resolver: Resolver | None = None
        self.upstreams: dict[str, UpstreamRouter] = {}
        self.by_domain: dict[str, Router] = {domain: self._make(domain, each) for domain, each in config.hosts.items()}

    def refresh(self, config: Config) -> None:
        """Make anew what local routers offer, after the configuration or a module was reloaded."""
        for router in self._local():
            router.idle = config.c2s.read_timeout
            router.refresh()

    async def reload(self) -> None:
        """Read again the files that the routers need."""
        for router in self.upstreams.values():
            router.reload()

    async def restore(self) -> None:
        """Let the sessions be there that were when the server stopped, and could be resumed."""
        for router in self._local():
            await router.resumptions.restore()

    async def suspend(self) -> None:
        """Store those sessions, for the server stops."""
        for router in self._local():
            await router.resumptions.suspend()

    async def close(self) -> None:
        """End what the routers have begun."""
        if self._resolver is not None:
            await self._resolver.close()

    def _local(self) -> Iterator[LocalRouter]:
        return (router for router in self.by_domain.values() if isinstance(router, LocalRouter))

    def _make(self, domain: str, options: HostOptions) -> Router:
        if options.router == "local":
            return LocalRouter(self._hosts[domain], options.c2s, sweep=self._sweep, idle=self._config.c2s.read_timeout)
        try:
            if options.router == "upstream":
                return self._upstream(domain, options)
            router: Router = find("router", options.router)(domain)
        except (NotFound, RouterError) as error:
            raise RouterError(f"hosts.{domain}.router: {error}") from error
        return router

    def _upstream(self, domain: str, options: HostOptions) -> Router:
        # Its libraries, for DNS and certificates, take memory that other servers need not have.
        from xmppws.routers.upstream.dns import Resolver
        from xmppws.routers.upstream.errors import UpstreamError
        from xmppws.routers.upstream.router import UpstreamRouter

        dns = self._config.dns
        try:
            self._resolver = self._resolver or Resolver(dns.nameservers, timeout=dns.timeout, clock=monotonic)
            max_depth = self._config.c2s.max_depth
            router = UpstreamRouter(domain, options.upstream, self._resolver, self._new_id, max_depth=max_depth)
        except UpstreamError as error:
            raise RouterError(str(error)) from error
        self.upstreams[domain] = router
        return router
