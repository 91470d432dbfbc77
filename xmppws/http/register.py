"""The connections of an endpoint, as the admin socket sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from xmppws.core.admin import ConnectionFacts
from xmppws.core.watch import Watch, Watcher
from xmppws.errors import Reason, StreamError
from xmppws.http.connection import Connection
from xmppws.http.endpoint import Endpoint


class Register:
    """The `core.admin.Connections` of an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def all(self) -> list[ConnectionFacts]:
        """Return what is known of each connection."""
        return [connection.facts() for connection in self._endpoint.connections]

    def end(self, id: str, error: StreamError) -> bool:
        """End a connection, and tell whether it was there."""
        for connection in self._endpoint.connections:
            if connection.id == id and connection.ended is None:
                connection.fail(error)
                return True
        return False

    def recent_ends(self, seconds: float) -> Counter[Reason]:
        """Count why connections ended lately."""
        since = self._endpoint.deadlines.now - seconds
        return Counter(reason for when, reason in self._endpoint.recent_ends if when >= since)

    def watch(self, user: str, watcher: Watcher) -> Callable[[], None]:
        """Show what passes and happens on connections of a user until the result is called."""
        watches = self._endpoint.watches
        if user not in watches:
            watches[user] = Watch()
            self._set(user, watches[user])
        watch = watches[user]
        watch.watchers.append(watcher)

        def stop() -> None:
            watch.watchers.remove(watcher)
            if not watch.watchers:
                del watches[user]
                self._set(user, None)

        return stop

    def _set(self, user: str, watch: Watch | None) -> None:
        for connection in self._endpoint.connections:
            if isinstance(connection, Connection) and connection.name == user:
                connection.watch = watch
