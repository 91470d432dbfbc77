"""Commands for the sysadmin that modules add to those of the admin socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from xmppws.core.declare import declare

F = TypeVar("F", bound=Callable[..., Any])

Row: TypeAlias = dict[str, Any]
"""One row of a table: what JSON can hold, by column."""
Rows: TypeAlias = list[Row] | Awaitable[list[Row]]


@dataclass(frozen=True, slots=True)
class AdminCommand:
    """A method answers `xmppws admin NAME`."""

    name: str
    help: str


class AdminError(Exception):
    """What a command cannot do, in a sentence for the sysadmin."""


def admin_command(name: str, help: str) -> Callable[[F], F]:
    """Declare a method as an admin command: `(self, args: list[str]) -> list[dict]`, or an awaitable of that.

    It returns rows of a table. Raise `AdminError` for what goes wrong.
    """
    return declare(AdminCommand(name, help))
