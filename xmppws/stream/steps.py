"""What the negotiation of a client's stream comes to, step by step: see `stream.c2s`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xmppws.errors import StreamError
from xmppws.jid import Jid
from xmppws.stream.sasl import Question, UpgradeWanted
from xmppws.stream.sasl2 import Request
from xmppws.stream.sm import Resume
from xmppws.xml.stanza import Stanza


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt to log in ended: `failure` is the SASL condition, "" for success.

    `mechanism` is "" when it was none of those offered; `username` is what the client said so far, as it said it.
    """

    mechanism: str
    username: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """Messages to send; then, if there is an error, the end of the stream. `attempt` is what they bring to an end."""

    messages: tuple[bytes, ...]
    error: StreamError | None = None
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """The client wants this resource ("" for one of the server's making); answer with `bound()` or `bind_refused()`."""

    resource: str
    iq: Stanza


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The client is `account`, and wants all that its `request` names (XEP-0388); answer with `finished()`.

    `data` is what its mechanism says last, None for nothing.
    """

    account: Jid
    request: Request
    attempt: Attempt
    data: bytes | None


Step: TypeAlias = Reply | Question | UpgradeWanted | Bind | Resume | Authenticated
