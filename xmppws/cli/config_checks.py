"""What the configuration names outside of itself: modules with their options, routers, certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from xmppws.auth.jwt import own_keys
from xmppws.config import Component, Config, ConfigError, Host, Mistake, module_options
from xmppws.core.auth import ProviderError
from xmppws.core.catalog import Catalog, ModuleError
from xmppws.core.component import mistake
from xmppws.core.named import NotFound, find
from xmppws.modules import BUILT_IN, OPTIONAL

Key = tuple[str | int, ...]


def check(config: Config) -> Iterator[Mistake]:
    """Find what is named and cannot be used."""
    catalog = Catalog(BUILT_IN, map(Path, config.plugin_paths), OPTIONAL)
    yield from _plugin_paths(config)
    for domain, host in config.hosts.items():
        if host.router == "local":
            yield from _modules(config, domain, host, catalog)
            yield from _jwt(config, domain, host)
        elif host.router == "upstream":
            yield from _upstream(config, domain, host)
        else:
            yield from _router(config, domain, host.router)
        if host.certificate:
            yield from _certificate(config, ("hosts", domain), host.certificate, host.key)
    for domain, component in config.components.items():
        owner = config.hosts.get(component.host)
        if component.module and owner is not None and owner.router == "local":
            yield from _component(config, domain, component, catalog)
    for index, name in enumerate(config.routes):
        try:
            find("route", name)
        except NotFound as error:
            yield config.source.mistake(("routes", index), name, str(error))
    for index, listener in enumerate(config.http.listeners):
        if listener.certificate:
            yield from _certificate(config, ("http", "listeners", index), listener.certificate, listener.key)


def _plugin_paths(config: Config) -> Iterator[Mistake]:
    for index, path in enumerate(config.plugin_paths):
        if not Path(path).is_dir():
            yield config.source.mistake(("plugin_paths", index), path, "is no directory")


def _modules(config: Config, domain: str, host: Host, catalog: Catalog) -> Iterator[Mistake]:
    names = catalog.enabled(host.modules_enabled, host.modules_disabled)
    for name in names:
        yield from _module(config, _nearest(config, domain, "modules_enabled"), name, names, catalog)
    for name in host.modules_disabled:
        if name not in catalog.names:
            yield from _module(config, _nearest(config, domain, "modules_disabled"), name, names, catalog)
    for name in host.modules:
        if name in catalog.names:
            yield from _options(config, domain, name, catalog)
        else:
            yield from _module(config, _nearest(config, domain, "modules", name), name, names, catalog)


def _module(config: Config, key: Key, name: str, enabled: list[str], catalog: Catalog) -> Iterator[Mistake]:
    try:
        requires = catalog.find(name).requires
    except ModuleError as error:
        yield config.source.mistake(key, None, str(error))
        return
    for required in requires:
        if required not in enabled:
            yield config.source.mistake(key, None, f"module '{name}' requires '{required}', which is not enabled")


def _options(config: Config, domain: str, name: str, catalog: Catalog) -> Iterator[Mistake]:
    try:
        module_options(config, domain, name, catalog.find(name).Options)
    except ConfigError as error:
        yield from error.mistakes
    except ModuleError as error:
        yield config.source.mistake(_nearest(config, domain, "modules", name), None, str(error))


def _component(config: Config, domain: str, component: Component, catalog: Catalog) -> Iterator[Mistake]:
    name, host = component.module, config.hosts[component.host]
    try:
        module = catalog.find(name)
    except ModuleError as error:
        rule = str(error)
    else:
        enabled = name in catalog.enabled(host.modules_enabled, host.modules_disabled)
        rule = mistake(component.host, name, {name: module} if enabled else {})
    if rule:
        yield config.source.mistake(("components", domain, "module"), None, rule)


def _nearest(config: Config, domain: str, *key: str) -> Key:
    """Return the key as the host sets it, or as top level does."""
    own = ("hosts", domain, *key)
    return own if own in config.source.places else key


def _upstream(config: Config, domain: str, host: Host) -> Iterator[Mistake]:
    # Its libraries take memory that other commands need not have.
    from xmppws.routers.upstream.errors import TlsFileError
    from xmppws.routers.upstream.tls import ClientTls

    try:
        ClientTls(host.upstream.ca_file, host.upstream.certificate, host.upstream.key)
    except TlsFileError as error:
        yield config.source.mistake(("hosts", domain, "upstream"), None, str(error))


def _router(config: Config, domain: str, router: str) -> Iterator[Mistake]:
    try:
        find("router", router)(domain)
    except Exception as error:  # Whatever a router of somebody else raises when it is made.
        yield config.source.mistake(("hosts", domain, "router"), None, str(error))


def _jwt(config: Config, domain: str, host: Host) -> Iterator[Mistake]:
    try:
        if "jwt" in host.authentication:
            own_keys(host.jwt)
    except ProviderError as error:
        yield config.source.mistake(_nearest(config, domain, "jwt", "key"), None, str(error))


def _certificate(config: Config, at: Key, certificate: str, key: str) -> Iterator[Mistake]:
    readable = True
    for name, file in (("certificate", certificate), ("key", key)):
        try:
            if file:
                Path(file).open("rb").close()
        except OSError as error:
            readable = False
            yield config.source.mistake((*at, name), file, f"cannot be read: {error.strerror}")
    try:
        if readable:
            # An empty password, so that nobody is asked for one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None, password="")
    except (ssl.SSLError, ValueError) as error:
        yield config.source.mistake((*at, "certificate"), certificate, _told(error))


def _told(error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "does not belong to the key"
    return "must hold a certificate and its key (or `key` must), in PEM, and the key without a password"
