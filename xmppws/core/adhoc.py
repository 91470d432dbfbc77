"""Ad-hoc commands (XEP-0050) as modules declare them. The module `adhoc` speaks the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from xmppws.core.declare import declare
from xmppws.jid import Jid
from xmppws.xml.forms import Form

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class AdhocCommand:
    """A method is an ad-hoc command. `admins_only`: nobody else sees it or may run it."""

    node: str
    title: str
    admins_only: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One step of a command: who runs it, and the form as filled in, or None at first."""

    user: Jid
    form: Form | None


@dataclass(frozen=True, slots=True)
class Done:
    """The command is over: a sentence for the user, and a form with results if there is more to show."""

    note: str = ""
    form: Form | None = None


def adhoc(node: str, title: str, *, admins_only: bool = False) -> Callable[[F], F]:
    """Declare a method as an ad-hoc command: `(self, Call) -> Form | Done`, or an awaitable of that.

    A `Form` is shown to the user, and the method called again with what was filled in; `Done` ends it. Raise a
    `StanzaError` for what goes wrong.
    """
    return declare(AdhocCommand(node, title, admins_only))
