"""A host's providers as log-in needs them: who checks a password, who has keys, who admits anonymous users."""

from __future__ import annotations

from typing import Final

from xmppws.core.auth import Anonymous, Keys, Passwords, Provider
from xmppws.stream.sasl import anonymous
from xmppws.stream.sasl.keys import ScramKeys
from xmppws.stream.sasl.scram import HASHES

_WITH_PASSWORD: Final = (*HASHES, "PLAIN")
_OTHERS: Final = (anonymous.NAME,)


class Providers:
    """The providers of one host, each kind in the order in which they are asked."""

    def __init__(self, providers: tuple[Provider, ...]) -> None:
        self._all = providers
        self._passwords = tuple(each for each in providers if isinstance(each, Passwords))
        self._keys = tuple(each for each in providers if isinstance(each, Keys))
        self.anonymous = next((each for each in providers if isinstance(each, Anonymous)), None)

    def mechanisms(self) -> tuple[frozenset[str], ...]:
        """Return the mechanisms of each: as long as these are the same, so is what the host offers."""
        return tuple([each.mechanisms for each in self._all])

    def offered(self) -> tuple[str, ...]:
        """Return the mechanisms that the host offers, strongest first, as `core.auth.Provider` says."""
        with_password = [each.mechanisms for each in self._passwords]
        for_all = frozenset.intersection(*with_password) if with_password else frozenset()
        for_some = frozenset[str]().union(*self.mechanisms())
        return tuple(
            [name for name in _WITH_PASSWORD if name in for_all] + [name for name in _OTHERS if name in for_some]
        )

    async def scram_keys(self, username: str, hash_name: str) -> ScramKeys:
        """Return the user's keys, or fake ones that look the same. SCRAM was offered, so somebody has keys."""
        for provider in self._keys:
            keys = await provider.scram_keys(username, hash_name)
            if keys is not None:
                return keys
        return await self._keys[0].fake_keys(username, hash_name)

    async def needs_plain(self, username: str) -> bool:
        """Tell whether the account has no keys before it has logged in with PLAIN."""
        for provider in self._keys:
            if await provider.needs_plain(username):
                return True
        return False

    async def verify_password(self, username: str, password: str) -> bool:
        """Check a password with each provider until one knows it."""
        for provider in self._passwords:
            if await provider.verify_password(username, password):
                return True
        return False
