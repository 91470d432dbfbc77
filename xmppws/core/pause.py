"""Senders wait for slow readers, so that the queue of a client that does not read grows no faster than they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmppws.core.session import Session


class Pause:
    """The time in which a sender is not read: until a reader has caught up or is gone, `most` seconds at most.

    `done` is called when it is over. It is no task: nobody has to wait for it when the server stops.
    """

    __slots__ = ("_awaited", "_done", "_reader", "_timer")

    def __init__(self, reader: Session, most: float, done: Callable[[], None]) -> None:
        self._reader = reader
        self._done = done
        self._awaited: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(most, self._end)
        self._wait()

    def cancel(self) -> None:
        """Wait no longer, and do not call `done`."""
        self._timer.cancel()
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.remove_done_callback(self._look)

    def _wait(self) -> None:
        self._awaited = self._reader.caught_up
        if self._awaited is None:
            self._end()
        else:
            self._awaited.add_done_callback(self._look)

    def _look(self, awaited: asyncio.Future[None]) -> None:
        # Of many senders the first may have been too much already; and this may have been due when it was cancelled.
        if awaited is self._awaited:
            self._wait()

    def _end(self) -> None:
        self.cancel()
        self._done()
