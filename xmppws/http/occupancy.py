"""How many connections each virtual host has, of those that it may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from xmppws.config import Config


class Occupancy:
    """Counts connections by virtual host. `limits` bounds them; a host that is not in it, or with 0, has no bound."""

    __slots__ = ("connections", "limits")

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self.connections: Counter[str] = Counter()

    def is_full(self, domain: str) -> bool:
        """Tell whether a host has all the connections it may have."""
        limit = self.limits.get(domain, 0)
        return 0 < limit <= self.connections[domain]

    def enter(self, domain: str) -> None:
        """Count a connection to a host, if it is known to which."""
        if domain:
            self.connections[domain] += 1

    def leave(self, domain: str) -> None:
        """Count it no more."""
        if domain:
            self.connections[domain] -= 1


def occupancy_limits(config: Config) -> dict[str, int]:
    """Return how many connections each virtual host may have."""
    return {domain: options.c2s.max_host_connections for domain, options in config.hosts.items()}
