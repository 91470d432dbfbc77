"""What pages send: one JSON object a message, with a `type`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from xmppws.errors import NotWellFormed, Reason
from xmppws.modules.channels import answers

MAX_DEPTH: Final = 100
"""Arrays and objects within each other in a message."""

_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKET: Final = re.compile(r"[\[\]{}]")

# Fields that a request does not know are for others to read, and pass.
_Id: TypeAlias = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=0, lt=2**53)] | None


class Problem(Exception):
    """What a page is told of a request that cannot be; its stable code is for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def answer(self, request: Request | None) -> bytes:
        """Write the error that answers a request, as far as it could be read."""
        channel, event = getattr(request, "channel", ""), getattr(request, "event", None) or ""
        id = None if request is None else request.id
        return answers.error(self.code, self.text, channel=channel, event=event, id=id)


class Auth(Struct, frozen=True, tag="auth"):
    """Log in."""

    token: str
    id: _Id = None


class Subscribe(Struct, frozen=True, tag="subscribe"):
    """Get the messages of one event of a channel; `history` is how many of those that were sent before."""

    channel: str
    event: str
    history: Annotated[int, Meta(ge=0)] = 0
    echo: bool | None = None
    id: _Id = None


class Unsubscribe(Struct, frozen=True, tag="unsubscribe"):
    """Get them no more; without an event, leave the channel."""

    channel: str
    event: str | None = None
    id: _Id = None


class Publish(Struct, frozen=True, tag="publish"):
    """Send a message to all who are subscribed to the event."""

    channel: str
    event: str
    data: Raw
    id: _Id = None


class Ping(Struct, frozen=True, tag="ping"):
    """Ask for a sign of life."""

    id: _Id = None


Request: TypeAlias = Auth | Subscribe | Unsubscribe | Publish | Ping

_decode: Final[Callable[[str], Request]] = msgspec.json.Decoder(Request).decode


def read(payload: bytes) -> Request:
    """Read a request.

    Raises `Problem` for what is none, and `NotWellFormed`, which ends the socket, for what is not UTF-8 (RFC 6455
    section 8.1).
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise NotWellFormed("A message is not UTF-8", Reason.NOT_UTF8) from None
    check(text)
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        raise Problem("bad-request", f"{error}"[:200]) from None
    except msgspec.DecodeError:
        raise Problem("bad-json", "A message is one JSON object") from None


def check(text: str) -> None:
    """See that a text is JSON which every reader takes, and takes alike: no object has a name twice, none is too deep.

    Raises `Problem`.
    """
    try:
        _structure(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Problem("bad-json", f"This is not JSON: {error}"[:200]) from None
    # How deep the reader goes depends on how deep in calls it is: what is taken here may not fail further in.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise _too_deep()


def _too_deep() -> Problem:
    return Problem("bad-json", f"The JSON is nested more than {MAX_DEPTH} deep")


def _depth(json: str) -> int:
    brackets = _BRACKET.findall(_STRING.sub("", json))
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets))


def _unique(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        raise Problem("duplicate-key", "An object in the JSON has a name twice")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# Values are thrown away, so numbers need not be made: some take long.
_structure: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=bool, parse_float=bool, parse_constant=_no_constant
).decode
