"""The composition root: a `Config` becomes a running server. Nothing else builds objects."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Final

from aiohttp import web
from msgspec import structs

from xmppws import __version__
from xmppws.admin.socket import AdminSocket
from xmppws.auth.assembly import make_providers
from xmppws.auth.internal import InternalProvider
from xmppws.config import Address, Config, address, module_options
from xmppws.config import Host as HostOptions
from xmppws.core.admin import AUTO, Row, socket_path
from xmppws.core.auth import Accounts, Background, ProviderError
from xmppws.core.catalog import Catalog
from xmppws.core.component import Components, assign
from xmppws.core.delivery import Delivery
from xmppws.core.dispatch import Dispatch
from xmppws.core.host import Host
from xmppws.core.loader import load, replace
from xmppws.core.module import Module
from xmppws.core.reload import Applier, Reload
from xmppws.core.stores import Storage
from xmppws.core.watch import watch_sessions
from xmppws.http import console, health, hostmeta
from xmppws.http.accepted import Admission
from xmppws.http.app import application, logger
from xmppws.http.console.whoami import WhoAmI
from xmppws.http.deadlines import Deadlines
from xmppws.http.endpoint import Endpoint, Limits, Paces
from xmppws.http.handoff import self_test
from xmppws.http.handshake import Doorkeeper
from xmppws.http.listeners import Bound, Listeners, certificates_by_name, plan
from xmppws.http.metrics import Page as MetricsPage
from xmppws.http.metrics.figures import Figures
from xmppws.http.occupancy import Occupancy, occupancy_limits
from xmppws.http.paths import Paths
from xmppws.http.peers import Peers
from xmppws.http.proxies import Trust
from xmppws.http.register import Register
from xmppws.http.reload import allowed_origins, intervals
from xmppws.http.reload import appliers as http_appliers
from xmppws.http.sockets import ListenError, Sockets
from xmppws.http.systemd import Inherited
from xmppws.http.vhosts import VirtualHosts
from xmppws.http.websocket import WebSocketHandler
from xmppws.jid import Jid
from xmppws.modules import BUILT_IN, OPTIONAL
from xmppws.routers.assembly import RouterError, Routers
from xmppws.routes.assembly import RouteError, Routes
from xmppws.storage import identity, open_storage

log = logging.getLogger("xmppws")

_HASHING_THREADS: Final = 2
# Seconds for which an HTTP connection waits for another request, and counts against c2s.max_connections.
_KEEPALIVE_TIMEOUT: Final = 30.0


class StartError(Exception):
    """The server cannot start; the text is for the sysadmin."""


def new_id() -> str:
    """Make an unguessable id of 96 bits, in letters, digits, '-' and '_'."""
    return secrets.token_urlsafe(12)


class Server:
    """A running server.

    `start` it, then `stop` it. `sockets` are those that systemd handed over. `listening` is where it listens, with the
    ports that port 0 became; `metrics_addresses` serve the metrics alone. `reload` awaits what is in `on_reload`.
    """

    version = __version__

    def __init__(
        self,
        config: Config,
        sockets: Inherited = MappingProxyType({}),
        *,
        reread: Callable[[], Config] | None = None,
        appliers: Iterable[Applier] = (),
    ) -> None:
        self._config = config
        # Without it there is nothing to read again.
        self._reread = reread or (lambda: config)
        self._sockets = Sockets(sockets)
        self._started = 0.0
        self._executor = ThreadPoolExecutor(_HASHING_THREADS, "hashing")
        self.storage: Storage = open_storage(config.storage.url, config.data_dir)
        self.dispatch = Dispatch()
        self.catalog = Catalog(BUILT_IN, map(Path, config.plugin_paths), OPTIONAL)
        self.hosts = {
            domain: self._host(domain, options) for domain, options in config.hosts.items() if options.router == "local"
        }
        self.dispatch.hosts = self.hosts
        self.routes = self._outward()
        self.dispatch.routes = (Delivery(self.hosts), Components(self.hosts.values()), *self.routes.all)
        self.on_reload: list[Callable[[], Awaitable[None]]] = [self._refresh_providers]
        self._appliers = [*appliers, Applier(re.compile(r"(hosts\..+\.)?admins"), self._apply_admins)]
        self.listening: list[Bound] = []
        self.metrics_addresses: list[Address] = []
        self.component_addresses: list[Address] = []

    def _modules(self) -> Iterator[Module]:
        return (module for host in self.hosts.values() for module in host.modules.values())

    def _host(self, domain: str, options: HostOptions) -> Host:
        stores = self.storage.for_host(domain)
        host = Host(
            domain,
            dispatch=self.dispatch,
            stores=stores,
            providers=make_providers(domain, options, stores, self._executor),
            new_id=new_id,
            admins=_admins(options),
            slow_reader_wait=options.c2s.slow_reader_wait,
        )
        names = self.catalog.enabled(options.modules_enabled, options.modules_disabled)
        load(host, names, self.catalog, partial(module_options, self._config, domain))
        components = self._config.components
        served = {name: each.module for name, each in components.items() if each.host == domain and each.module}
        further = (name for each in components.values() for name in each.domains)
        assign(host, served, taken={*self._config.hosts, *components, *further})
        return host

    def _outward(self) -> Routes:
        try:
            return Routes(self._config, self.hosts, self.dispatch, new_id, monotonic)
        except RouteError as error:
            raise StartError(str(error)) from None

    async def start(self) -> None:
        """Open the storage and listen. Raises `StartError` or `StorageError`, and leaves nothing behind then."""
        # What was started is stopped in the opposite order, after a failed start too.
        async with AsyncExitStack() as stack:
            await self._open(stack)
            site = application(self._config.http.websocket_path, self._routes(), self._paths.handle)
            runner = web.AppRunner(site, access_log=None, logger=logger(), keepalive_timeout=_KEEPALIVE_TIMEOUT)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await self._start_modules(stack)
            stack.callback(self._sockets.close)
            try:
                await self._serve_metrics(stack)
                await self._listen(runner, stack)
                await self._accept_components()
                await self._serve_admin(stack)
            except ListenError as error:
                raise StartError(str(error)) from None
            self._run(stack)

    async def start_mounted(self) -> list[web.AbstractRouteDef]:
        """Start without listeners of its own, and return what somebody else's application has to serve.

        The admin socket is opened where the configuration asks for it. Raises as `start` does.
        """
        async with AsyncExitStack() as stack:
            await self._open(stack)
            routes = self._routes()
            await self._start_modules(stack)
            if self._config.admin_socket != AUTO:
                stack.callback(self._sockets.close)
                try:
                    await self._serve_admin(stack)
                except ListenError as error:
                    raise StartError(str(error)) from None
            self._run(stack)
        return [*routes, *(web.route("*", path, self._paths.handle) for path in self._paths.declared)]

    async def _open(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        stack.callback(self._executor.shutdown)
        await self_test()
        await self.storage.open()
        stack.push_async_callback(self.storage.close)
        stack.push_async_callback(self.dispatch.drain)
        stack.push_async_callback(self.routes.stop)
        await self._start_providers(stack)
        self.endpoint = self._endpoint(loop)
        self.on_reload.append(self.routers.reload)
        stack.push_async_callback(self.routers.close)
        stack.callback(self.endpoint.deadlines.stop)

    async def _start_providers(self, stack: AsyncExitStack) -> None:
        try:
            await self._refresh_providers()
        except ProviderError as error:
            raise StartError(str(error)) from None
        for host in self.hosts.values():
            for provider in host.providers:
                if isinstance(provider, Background):
                    provider.start()
                    stack.push_async_callback(provider.stop)

    async def _start_modules(self, stack: AsyncExitStack) -> None:
        # After the modules have said their last words to those who resume.
        stack.push_async_callback(self.routers.suspend)
        for module in self._modules():
            await module.start()
            stack.push_async_callback(module.stop)
        await self.routers.restore()
        stack.push_async_callback(self.end_streams)

    def _run(self, stack: AsyncExitStack) -> None:
        """Begin what goes on until `stop`."""
        self._reload = Reload(self._config, self._reread, self._appliers)
        self.endpoint.deadlines.start(asyncio.get_running_loop())
        self.routes.start()
        self._stack = stack.pop_all()

    async def end_streams(self) -> None:
        """End every stream with system-shutdown, and take no new ones."""
        await self.endpoint.stop(self._config.c2s.close_timeout)

    async def stop(self) -> None:
        """Accept nothing more, end every stream with system-shutdown, and let what was begun finish."""
        self._sockets.close()
        await self._stack.aclose()

    async def reload(self) -> list[Row]:
        """Read again what may change while streams go on, such as certificates, and then the configuration.

        Returns a row for each change. Raises `AdminError` for a configuration with mistakes.
        """
        for each in self.on_reload:
            try:
                await each()
            except Exception:
                log.exception("a part of the server could not be reloaded")
        new, rows = self._reload()
        # A host that is gone from the file is here until the restart, and its modules with it.
        self._config = structs.replace(new, hosts=MappingProxyType({**self._config.hosts, **new.hosts}))
        self.routers.refresh(self._config)
        for row in rows:
            log.info("reload: %s %s", row["option"], row["outcome"])
        return rows

    async def _refresh_providers(self) -> None:
        for host in self.hosts.values():
            for provider in host.providers:
                await provider.refresh()

    def _apply_admins(self, config: Config) -> None:
        for domain, host in self.hosts.items():
            if domain in config.hosts:
                host.admins = _admins(config.hosts[domain])

    @property
    def addresses(self) -> list[Address]:
        """The addresses it listens on."""
        return [bound.address for bound in self.listening]

    async def reload_module(self, name: str) -> None:
        """Read a module's code again and put it in the place of the loaded one, on every host. Raises `ModuleError`."""
        module = self.catalog.reload(name)
        for domain, host in self.hosts.items():
            if name in host.modules:
                await replace(host, module, partial(module_options, self._config, domain))
        self._paths.rebuild()
        self.routers.refresh(self._config)

    def uptime(self) -> float:
        """Seconds since the start."""
        return asyncio.get_running_loop().time() - self._started

    def memory(self) -> int:
        """Resident memory in bytes."""
        return health.resident_memory()

    @property
    def connections(self) -> Register:
        """All connections."""
        return Register(self.endpoint)

    @property
    def listeners(self) -> list[str]:
        """Where it listens, for people to read."""
        return [
            *map(str, self.listening),
            *(f"{where} (metrics)" for where in self.metrics_addresses),
            *(f"{where} (components)" for where in self.component_addresses),
        ]

    @property
    def data(self) -> str:
        """Where the data lies, as `storage.identity` names it."""
        return identity(self._config.storage.url, self._config.data_dir)

    def sessions(self) -> int:
        """How many resources are bound, on all hosts."""
        return sum(len(host.sessions) for host in self.hosts.values())

    def _endpoint(self, loop: asyncio.AbstractEventLoop) -> Endpoint:
        config = self._config
        c2s = config.c2s
        deadlines = Deadlines(loop.time)
        names = {domain: options.http_host or (domain,) for domain, options in config.hosts.items()}
        try:
            self.routers = Routers(config, self.hosts, deadlines, new_id)
        except RouterError as error:
            raise StartError(str(error)) from error
        endpoint = Endpoint(
            virtual_hosts=VirtualHosts(names, config.http.default_host),
            routers=self.routers.by_domain,
            deadlines=deadlines,
            admission=Admission(deadlines, timeout=c2s.handshake_timeout, limit=c2s.max_connections),
            occupancy=Occupancy(occupancy_limits(config)),
            limits=Limits.of(c2s),
            paces=Paces(config, deadlines.clock),
            max_stanza_sizes={domain: options.c2s.max_stanza_size for domain, options in config.hosts.items()},
            intervals=intervals(config),
            new_id=new_id,
        )
        for host in self.hosts.values():
            watch_sessions(host, endpoint.watches)
        return endpoint

    def _routes(self) -> list[web.AbstractRouteDef]:
        http = self._config.http
        trust = Trust(
            http.trusted_proxies,
            forwarded_header=http.forwarded_header,
            consider_secure=http.consider_websocket_secure,
        )
        self._peers = peers = Peers(trust)
        origins = allowed_origins(self._config)
        sites = [
            hostmeta.Site(domain, options.http_host or (domain,), options.external_url)
            for domain, options in self._config.hosts.items()
        ]
        doorkeeper = Doorkeeper(self.endpoint.virtual_hosts, peers, origins)
        meta = hostmeta.HostMeta(sites, http.websocket_path, peers.client, http.default_host)
        pages: list[web.AbstractRouteDef] = [*hostmeta.routes(meta), *health.routes(self, self._unready)]
        if http.console:
            seen = WhoAmI(http.websocket_path, client=peers.client, admit=doorkeeper.admit, links=meta.links)
            pages += console.routes(http.websocket_path, seen.facts)
        refused = (doorkeeper.refused, self.endpoint.admission.refused)
        self._metrics = MetricsPage(Figures(self.endpoint, refused, self.hosts, self.storage, self.routes.owners))
        pages += self._metrics.guarded(self._config.metrics.token)
        handler = WebSocketHandler(self.endpoint, peers, doorkeeper).handle
        self._paths = Paths(self.hosts, self.endpoint, peers, doorkeeper)
        self._appliers += http_appliers(self.endpoint, origins)
        return [web.route("*", http.websocket_path, handler), *pages]

    def _unready(self) -> str:
        return "stopping" if self.endpoint.stopping else ""

    async def _listen(self, runner: web.AppRunner, stack: AsyncExitStack) -> None:
        assert runner.server is not None
        config = self._config
        listeners = Listeners(
            runner.server,
            self.endpoint.admission,
            self._peers,
            self._sockets,
            by_name=certificates_by_name(config.hosts),
            close_timeout=config.c2s.close_timeout,
        )
        stack.callback(listeners.close)
        await listeners.open(plan(config.http, config.hosts))
        self._sockets.warn_of_unused()
        self.listening = listeners.bound
        self.on_reload.append(listeners.reload)

    async def _serve_metrics(self, stack: AsyncExitStack) -> None:
        runner = web.AppRunner(self._metrics.application(), access_log=None, logger=logger())
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        for entry in self._config.metrics.listen:
            self.metrics_addresses += await self._sockets.listen("metrics.listen", address(entry), runner.server)

    async def _accept_components(self) -> None:
        gateways = self.routes.gateways
        for entry in self._config.component_listen if gateways.known else ():
            self.component_addresses += await self._sockets.listen(
                "component_listen", address(entry), gateways.protocol
            )

    async def _serve_admin(self, stack: AsyncExitStack) -> None:
        path = socket_path(self._config.admin_socket)
        if path is None:
            return
        admin = AdminSocket(self)
        stack.push_async_callback(admin.stop)
        try:
            await self._sockets.listen("admin_socket", Address(path=str(path)), admin.protocol)
        except ListenError as error:
            # Where the file does not ask for it, nobody misses it before they need it.
            if self._config.admin_socket != AUTO:
                raise
            log.warning("%s", error)


def _admins(options: HostOptions) -> frozenset[Jid]:
    return frozenset(map(Jid.parse, options.admins))


@asynccontextmanager
async def open_accounts(config: Config, domain: str) -> AsyncIterator[Accounts]:
    """Open the accounts of one host, beside a running server too. Raises `StorageError`."""
    storage = open_storage(config.storage.url, config.data_dir)
    await storage.open()
    try:
        with ThreadPoolExecutor(os.cpu_count(), "hashing") as executor:
            yield InternalProvider(domain, storage.for_host(domain), executor)
    finally:
        await storage.close()
