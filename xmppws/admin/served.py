"""What the commands see of the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from xmppws.core.admin import Connections, Row
from xmppws.core.host import Host


class Served(Protocol):
    """A running server."""

    version: str

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The local virtual hosts, by domain."""

    @property
    def connections(self) -> Connections:
        """All connections."""

    @property
    def listeners(self) -> Sequence[str]:
        """Where the server listens, for people to read."""

    @property
    def data(self) -> str:
        """Where the data lies, as `storage.identity` names it."""

    def uptime(self) -> float:
        """Return the seconds since the start."""

    def memory(self) -> int:
        """Return the resident memory, in bytes."""

    async def reload(self) -> list[Row]:
        """Read the configuration again; return a row for each change. Raises `AdminError`."""

    async def reload_module(self, name: str) -> None:
        """Read the code of a module again. Raises `ModuleError`."""
