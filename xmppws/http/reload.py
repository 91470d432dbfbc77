"""What the HTTP side of a running server takes over from a changed configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

from xmppws.config import Config
from xmppws.core.reload import Applier
from xmppws.http.endpoint import Endpoint, Limits, Paces
from xmppws.http.occupancy import occupancy_limits
from xmppws.stream.keepalive import Intervals


def allowed_origins(config: Config) -> dict[str, frozenset[str]]:
    """Return the allowed origins of each virtual host, in lower case."""
    return {domain: frozenset(map(str.lower, options.allowed_origins)) for domain, options in config.hosts.items()}


def appliers(endpoint: Endpoint, origins: dict[str, frozenset[str]]) -> Iterator[Applier]:
    """Return what applies time-outs and limits, and allowed origins, where `origins` is what is asked for them."""
    names = [field.name for type_ in (Limits, Intervals) for field in fields(type_)]
    yield Applier(re.compile(rf"c2s\.({'|'.join(names)}|max_connections)"), lambda config: _limit(endpoint, config))
    host_limits = re.compile(r"(hosts\..+\.)?c2s\.max_host_connections")
    yield Applier(host_limits, lambda config: _host_limits(endpoint, config))
    yield Applier(re.compile(r"limits\..+"), lambda config: _pace(endpoint, config))
    yield Applier(re.compile(r"hosts\..+\.allowed_origins"), lambda config: origins.update(allowed_origins(config)))


def intervals(config: Config) -> Intervals:
    """Return when clients are pinged and probed."""
    return Intervals(config.c2s.ping_interval, config.c2s.pong_timeout, config.c2s.read_timeout)


def _pace(endpoint: Endpoint, config: Config) -> None:
    # Clients that are connected keep what they were allowed.
    endpoint.paces = Paces(config, endpoint.deadlines.clock)


def _host_limits(endpoint: Endpoint, config: Config) -> None:
    # Those that are connected stay. A host that is gone from the file is here until the restart.
    endpoint.occupancy.limits = {**endpoint.occupancy.limits, **occupancy_limits(config)}


def _limit(endpoint: Endpoint, config: Config) -> None:
    # Deadlines that are set already stay; the next ones are made by the new times.
    endpoint.limits = Limits.of(config.c2s)
    endpoint.intervals = intervals(config)
    endpoint.admission.timeout = config.c2s.handshake_timeout
    endpoint.admission.limit = config.c2s.max_connections
