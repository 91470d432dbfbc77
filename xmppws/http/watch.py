"""Those who watch one user: a connection of that user has a `Watch`, and shows it every message."""

from __future__ import annotations

import logging

from xmppws.core.admin import Direction, See

log = logging.getLogger("xmppws.connection")


class Watch:
    """The watchers of one user."""

    __slots__ = ("watchers",)

    def __init__(self) -> None:
        self.watchers: list[See] = []

    def show(self, id: str, direction: Direction, *messages: bytes) -> None:
        """Show messages of a connection to all; a watcher that fails harms neither the others nor the connection."""
        for message in messages:
            for see in tuple(self.watchers):
                try:
                    see(id, direction, message)
                except Exception:
                    log.exception("id=%s: a message could not be shown", id)
