"""Attempts to log in: counted, logged and audited in the same way wherever they are made."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from xmppws.core.audit import audit
from xmppws.core.traffic import Traffic

log = logging.getLogger("xmppws.login")

_SHOWN: Final = 100


class Client(Protocol):
    """Who tries: a `core.router.Stream`, or a `core.web.Socket`."""

    @property
    def id(self) -> str:
        """The id of the connection."""

    @property
    def address(self) -> str:
        """The client's own address."""


def note_login(
    domain: str,
    traffic: Traffic,
    client: Client,
    *,
    username: str,
    mechanism: str,
    failure: str = "",
    provider: str = "",
) -> dict[str, str]:
    """Note an attempt to log in to a host: `failure` is a condition such as "not-authorized", "" for success.

    Returns the facts that stand in the log.
    """
    outcome = failure or "success"
    traffic.logins[mechanism, outcome] += 1
    # As the client said it, so it may be longer than any localpart.
    username = username[:_SHOWN]
    facts = {"id": client.id, "address": client.address, "host": domain, "user": username}
    facts |= {"mechanism": mechanism, "outcome": outcome}
    if provider:
        facts["provider"] = provider
    log.info(
        "id=%s login=%s address=%s host=%s user=%r mechanism=%s",
        *(client.id, outcome, client.address, domain, username, mechanism),
        extra=facts,
    )
    audit("login-failed" if failure else "login", **facts)
    return facts
