"""XEP-0484 FAST 0.1.0: tokens that clients of a host log in with instead of a password.

A client is one installation, by the id of its user agent (XEP-0388). It has at most two tokens: the one that it uses,
and a newer one that it may not have got yet. Only what checks a token is kept, so nobody logs in with what is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from secrets import token_urlsafe
from typing import NamedTuple

from msgspec import Struct, structs

from xmppws.config import HostC2S
from xmppws.core.auth import TOKENS_STORE, Identity
from xmppws.core.host import Host
from xmppws.core.providers import Login
from xmppws.core.turns import Turns
from xmppws.errors import SaslCredentialsExpired, SaslNotAuthorized
from xmppws.stream.sasl import ht
from xmppws.stream.sasl2 import Fast

MECHANISMS = (ht.NAME,)


class Token(Struct, frozen=True):
    """What is kept of a token: a digest of what the client shows, and what it is answered.

    `begins` and `expires` are in seconds since 1970; `count` is how often the client says that it has used it.
    """

    shown: bytes
    answer: bytes
    begins: float
    expires: float
    count: int = 0


class Client(Struct, frozen=True):
    """A client's tokens, and which provider let it in, with what it said of the client if that was a token too."""

    provider: str
    identity: Identity | None = None
    current: Token | None = None
    new: Token | None = None

    @property
    def begins(self) -> float:
        """When it got the newest of them."""
        return max((each.begins for each in (self.current, self.new) if each is not None), default=0.0)


class Accepted(NamedTuple):
    """A token lets a client in: what it is answered, who let it in first, and whether it is time for a new token."""

    answer: bytes
    login: Login
    is_due: bool


class Tokens:
    """The tokens of one host."""

    def __init__(self, host: Host, limits: HostC2S) -> None:
        self._host = host
        self._limits = limits
        self._clients = host.stores.map(TOKENS_STORE, Client)
        # A client's tokens are read and then written: one after the other for each account.
        self._turns = Turns()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The mechanisms that take tokens; none when the host gives none."""
        return MECHANISMS if self._limits.token_lifetime else ()

    async def check(self, username: str, agent: str, hashed: bytes, fast: Fast) -> Accepted:
        """Take a token. Raises `SaslNotAuthorized`, or `SaslCredentialsExpired`."""
        now, key = time.time(), _key(agent)
        async with self._turns.of(username):
            client = await self._clients.get(username, key)
            if client is None or not await self._is_there(username, client):
                raise SaslNotAuthorized
            token = _shown(client, hashed)
            if token is None or (fast.count is not None and fast.count <= token.count):
                raise SaslNotAuthorized
            if token.expires <= now:
                raise SaslCredentialsExpired("The token has expired")
            left = _used(client, token, fast)
            if left != client and not await self._note(username, key, left):
                # Meanwhile somebody has changed the password, or deleted the account.
                raise SaslNotAuthorized
        is_due = not fast.invalidates and token.begins + self._limits.token_renewal <= now
        return Accepted(token.answer, Login(client.provider, client.identity), is_due)

    async def issue(self, username: str, agent: str, login: Login) -> tuple[str, float]:
        """Give a client a new token; return it, and when it expires. An older one is good until this one is used."""
        token, now, key = token_urlsafe(32), time.time(), _key(agent)
        expires = now + self._limits.token_lifetime
        if login.identity is not None:
            expires = min(expires, login.identity.expires)
        made = Token(_digest(ht.of_client(token)), ht.of_server(token), now, expires)
        async with self._turns.of(username):
            clients = await self._clients.all(username)
            await self._make_room(username, {other: each for other, each in clients.items() if other != key})
            current = clients[key].current if key in clients else None
            await self._clients.set(username, key, Client(login.provider, login.identity, current, made))
        return token, expires

    async def _is_there(self, username: str, client: Client) -> bool:
        """Tell whether the account is still where it was: a file or another server may have it no longer.

        Another provider's account of that name may be somebody else's.
        """
        providers = (each for each in self._host.providers if each.name == client.provider)
        return any([await each.exists(username) for each in providers])

    async def _note(self, username: str, key: str, left: Client | None) -> bool:
        """Write what is left of a client's tokens, if they are still there; return whether they are."""
        if left is None:
            return await self._clients.delete(username, key)
        return await self._clients.replace(username, key, left)

    async def _make_room(self, username: str, others: dict[str, Client]) -> None:
        oldest_first = sorted(others, key=lambda key: others[key].begins)
        for key in oldest_first[: max(0, len(others) + 1 - self._limits.max_token_clients)]:
            await self._clients.delete(username, key)


def _shown(client: Client, hashed: bytes) -> Token | None:
    """Return which token a client shows. XEP-0484 section 5.1: "first check against the token in the 'new' slot"."""
    digest = _digest(hashed)
    for token in (client.new, client.current):
        if token is not None and hmac.compare_digest(token.shown, digest):
            return token
    return None


def _used(client: Client, token: Token, fast: Fast) -> Client | None:
    """Return what is left of a client's tokens after it has used one; None for nothing."""
    if fast.invalidates:
        # Who logs out has no use for a newer one, either, that may not even have come.
        return None
    counted = token if fast.count is None else structs.replace(token, count=fast.count)
    return structs.replace(client, current=counted, new=None if token is client.new else client.new)


def _key(agent: str) -> str:
    return hashlib.sha256(agent.encode()).hexdigest()


def _digest(shown: bytes) -> bytes:
    return hashlib.sha256(shown).digest()
