"""What pages are sent, as bytes. Texts that many messages share are written once, by `quoted`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

Id: TypeAlias = str | int | None

quoted: Final = msgspec.json.encode
"""Write a value as JSON."""

unquoted: Final = msgspec.json.Decoder(Id).decode
"""Read what `quoted` made of the id of a request."""

PONG: Final = b'{"type":"pong"}'


def sender(nick: str, id: str) -> bytes:
    """Write who somebody is: an account's address where the room shows it, and the name in the channel."""
    return quoted({"id": id, "nick": nick} if id else {"nick": nick})


def authenticated(account: str, expires: float, id: Id) -> bytes:
    """Answer `auth`; `expires` is in seconds since 1970, and in milliseconds for pages."""
    told: dict[str, object] = {"type": "authenticated", "user": account, "expires": int(expires * 1000)}
    return quoted(_with(told, id))


def pong(id: Id) -> bytes:
    """Answer `ping`."""
    return PONG if id is None else quoted(_with({"type": "pong"}, id))


def subscribed(channel: str, event: str, users: Iterable[bytes], id: Id) -> bytes:
    """Answer `subscribe`; `users` are those who are in the channel, as `sender` wrote them."""
    told: dict[str, object] = {"type": "subscribed", "channel": channel, "event": event}
    told["users"] = [msgspec.Raw(user) for user in users]
    return quoted(_with(told, id))


def unsubscribed(channel: str, event: str | None, id: Id) -> bytes:
    """Answer `unsubscribe`."""
    told: dict[str, object] = {"type": "unsubscribed", "channel": channel}
    if event is not None:
        told["event"] = event
    return quoted(_with(told, id))


def error(code: str, text: str, *, channel: str = "", event: str = "", id: Id = None) -> bytes:
    """Tell what cannot be, and why."""
    told: dict[str, object] = {"type": "error", "code": code, "text": text}
    told |= {name: value for name, value in (("channel", channel), ("event", event)) if value}
    return quoted(_with(told, id))


def message(channel: bytes, event: str, data: bytes, sender: bytes, when: float) -> bytes:
    """Write a message. The channel, the data and the sender are JSON already; `when` is in seconds since 1970."""
    return b'{"type":"message","channel":%b,"event":%b,"data":%b,"sender":%b,"timestamp":%d}' % (
        channel,
        quoted(event),
        data,
        sender,
        when * 1000,
    )


def passage(kind: str, channel: bytes, sender: bytes, when: float) -> bytes:
    """Tell that somebody is in a channel ("enter") or not any more ("leave")."""
    return b'{"type":"%b","channel":%b,"sender":%b,"timestamp":%d}' % (kind.encode(), channel, sender, when * 1000)


def _with(told: dict[str, object], id: Id) -> dict[str, object]:
    if id is not None:
        told["id"] = id
    return told
