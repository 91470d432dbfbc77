"""Users who show a JSON Web Token that somebody we know has signed, such as the REST service of the same site.

They need no account. One exists from the first time that a valid token of theirs was shown: before, nobody can leave
messages for them or ask to see their presence, so that made-up names fill no storage.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from xmppws.auth import keys, tokens
from xmppws.auth.jwks import JwkSet
from xmppws.auth.keys import InvalidKey, Key
from xmppws.config import Jwt
from xmppws.core.auth import Identity, ProviderError, Unavailable
from xmppws.core.stores import Stores

log = logging.getLogger("xmppws.auth")


class JwtProvider:
    """Knows those who have shown a token; the store "token users" holds since when, in seconds since 1970.

    `clock` gives seconds since 1970.
    """

    name = "jwt"
    mechanisms = frozenset({"OAUTHBEARER", "PLAIN"})

    def __init__(self, domain: str, options: Jwt, stores: Stores, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._rules = tokens.Rules(domain, options)
        self._users = stores.keyvalue("token users", float)
        self._clock = clock
        self._own: tuple[Key, ...] = ()
        url = options.jwks_url
        self._jwks = JwkSet(url, options.jwks_refresh, clock=time.monotonic) if url else None

    async def refresh(self) -> None:
        """Read the key's file again, and fetch the JWK set. Raises `ProviderError` the first time only."""
        try:
            self._own = own_keys(self._options)
        except ProviderError as error:
            if not self._own:
                raise
            log.error("%s; the key from before stays", error)
        if self._jwks is not None:
            await self._jwks.fetch()

    def start(self) -> None:
        """Keep the JWK set fresh."""
        if self._jwks is not None:
            self._jwks.start()

    async def stop(self) -> None:
        """Let go of it."""
        if self._jwks is not None:
            await self._jwks.stop()

    async def exists(self, username: str) -> bool:
        """Return whether such a user has ever shown a token."""
        return await self._users.get(username) is not None

    async def verify_token(self, token: str) -> Identity:
        """Check a token, and note that its user has been here. Raises `InvalidToken` or `Unavailable`."""
        payload = await self._open(token)
        identity = tokens.identify(payload, self._rules, self._clock())
        if not await self.exists(identity.username):
            await self._users.add(identity.username, self._clock())
        return identity

    async def _open(self, token: str) -> bytes:
        try:
            return tokens.opened(token, self._keys())
        except tokens.UnknownKey:
            if self._jwks is None:
                raise
            await self._jwks.look_again()
            if not self._jwks.keys:
                raise Unavailable("the JWK set was never fetched") from None
            return tokens.opened(token, self._keys())

    def _keys(self) -> tuple[Key, ...]:
        return self._own if self._jwks is None else (*self._own, *self._jwks.keys)


def own_keys(options: Jwt) -> tuple[Key, ...]:
    """Return the keys that the configuration holds or names the file of. Raises `ProviderError`."""
    own = [keys.from_secret(options.secret)] if options.secret else []
    if options.key:
        try:
            own.append(keys.from_pem(Path(options.key).read_bytes()))
        except OSError as error:
            raise ProviderError(f"jwt.key: {options.key} cannot be read: {error.strerror}") from None
        except InvalidKey as error:
            raise ProviderError(f"jwt.key: {options.key} {error}") from None
    return tuple(own)


def signing_key(options: Jwt) -> Key:
    """Return the key that makes tokens. Raises `ProviderError` where there are only public ones."""
    for key in own_keys(options):
        if key.signs is not None:
            return key
    told = "needs jwt.secret, or a private key in jwt.key: a public key verifies tokens and makes none"
    raise ProviderError(f"making tokens {told}")
