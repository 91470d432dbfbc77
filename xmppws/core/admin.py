"""The sysadmin's side: commands that modules add to those of the admin socket, and what these see of connections."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from xmppws.core.declare import declare
from xmppws.errors import End, Reason, StreamError

if TYPE_CHECKING:
    from xmppws.core.watch import Watcher

F = TypeVar("F", bound=Callable[..., Any])

Row: TypeAlias = dict[str, Any]
"""One row of a table: what JSON can hold, by column."""
Rows: TypeAlias = list[Row] | Awaitable[list[Row]]


AUTO: Final = "auto"
_SYSTEM_SOCKET: Final = Path("/run/xmppws/admin.sock")


def socket_path(option: str) -> Path | None:
    """Return where the admin socket is: what `admin_socket` names, or None where there is none."""
    if option == AUTO:
        return _SYSTEM_SOCKET if _SYSTEM_SOCKET.parent.is_dir() else None
    return Path(option) if option else None


@dataclass(frozen=True, slots=True)
class AdminCommand:
    """A method answers `xmppws admin NAME`."""

    name: str
    help: str


class AdminError(Exception):
    """What a command cannot do, in a sentence for the sysadmin."""


def admin_command(name: str, help: str) -> Callable[[F], F]:
    """Declare a method as an admin command: `(self, args: list[str]) -> list[dict]`, or an awaitable of that.

    It returns rows of a table; a column whose name ends in `_seconds` or `_bytes` is shown to people in larger units.
    Raise `AdminError` for what goes wrong.
    """
    return declare(AdminCommand(name, help))


HIBERNATING: Final = "hibernating"
"""The `ConnectionFacts.state` of a session that has no connection, and can be resumed."""


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """One connection as it is now, or the last one of a session that hibernates.

    `user` is the bare JID that logged in, or "", and `host` the virtual host, or "" before it is known. `lasted` (since
    the connection was made) and `idle` (since something was received) are seconds, as is `round_trip`, that of the last
    ping, or None. `queue_bytes` is what the client has yet to take. `resumable` is for how many seconds a session that
    hibernates can still be resumed, None for one with a connection.
    """

    id: str
    host: str
    user: str
    state: str
    address: str
    secure: bool
    lasted: float
    idle: float
    round_trip: float | None
    queue_bytes: int
    resumable: float | None = None


@dataclass(frozen=True, slots=True)
class Disconnection:
    """How a session has lost a connection: what it was like at that moment, why it ended, and when (since 1970)."""

    facts: ConnectionFacts
    end: End
    when: float

    @property
    def ago(self) -> float:
        """How many seconds ago that was."""
        # The clock may have been set back meanwhile.
        return max(0.0, time.time() - self.when)


class Connections(Protocol):
    """All connections of a server."""

    def all(self) -> list[ConnectionFacts]:
        """Return what is known of each."""

    def end(self, id: str, error: StreamError) -> bool:
        """End a connection, and tell whether it was there."""

    def recent_ends(self, seconds: float) -> Counter[Reason]:
        """Count why connections ended lately; only so many of the newest ends are remembered."""

    def watch(self, user: str, watcher: Watcher) -> Callable[[], None]:
        """Show what passes and happens on all connections of a user (a bare JID) until the result is called."""
