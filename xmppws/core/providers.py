"""A host's providers as log-in needs them: who checks a password or a token, has keys, admits anonymous users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from xmppws.core.auth import Anonymous, Identity, InvalidToken, Keys, Passwords, Provider, Tokens, Unavailable, Upgrades
from xmppws.stream.sasl import anonymous, oauthbearer
from xmppws.stream.sasl.keys import ScramKeys
from xmppws.stream.sasl.scram import HASHES

P = TypeVar("P", bound=Provider)

_WITH_PASSWORD: Final = (*HASHES, "PLAIN")
_OTHERS: Final = (oauthbearer.NAME, anonymous.NAME)


@dataclass(frozen=True, slots=True)
class Login:
    """Which provider lets somebody in, by name; and what a token says of them, or the keys that they prove to have."""

    provider: str
    identity: Identity | None = None
    keys: ScramKeys | None = field(default=None, repr=False)


class Refused(Exception):
    """Nobody lets somebody in; the message is what is wrong with the token, "" where none was wanted."""


class Providers:
    """The providers of one host, each kind in the order in which they are asked."""

    def __init__(self, providers: tuple[Provider, ...]) -> None:
        self._all = providers
        self._checking = tuple(each for each in providers if isinstance(each, Passwords | Tokens))
        self._tokens = tuple(each for each in providers if isinstance(each, Tokens))
        self._keys = tuple(each for each in providers if isinstance(each, Keys))
        self._upgrades = tuple(each for each in providers if isinstance(each, Upgrades))
        self.anonymous = next((each for each in providers if isinstance(each, Anonymous)), None)

    def mechanisms(self) -> tuple[frozenset[str], ...]:
        """Return the mechanisms of each: as long as these are the same, so is what the host offers."""
        return tuple([each.mechanisms for each in self._all])

    def offered(self) -> tuple[str, ...]:
        """Return the mechanisms that the host offers, strongest first, as `core.auth.Provider` says."""
        with_password = [each.mechanisms for each in self._checking]
        for_all = frozenset.intersection(*with_password) if with_password else frozenset()
        for_some = frozenset[str]().union(*self.mechanisms())
        return tuple(
            [name for name in _WITH_PASSWORD if name in for_all] + [name for name in _OTHERS if name in for_some]
        )

    def upgrades(self) -> tuple[str, ...]:
        """Return the mechanisms for which some accounts lack keys that their clients could give.

        Clients prove by another of SCRAM that they know the password; who uses PLAIN shows it, and need not give keys.
        """
        if HASHES.keys().isdisjoint(self.offered()):
            return ()
        lacking = frozenset[str]().union(*(each.upgrades for each in self._upgrades))
        return tuple(name for name in HASHES if name in lacking)

    async def lacking(self, username: str) -> frozenset[str]:
        """Return those for which this account lacks them; none for an unknown user."""
        return frozenset[str]().union(*[await each.lacking(username) for each in self._upgrades])

    async def add_keys(self, login: Login, username: str, hash_name: str, keys: ScramKeys) -> None:
        """Keep keys that a client has given, after it proved to have others, where it is known by these."""
        for provider in self._upgrades:
            if provider.name == login.provider and login.keys is not None:
                await provider.add_keys(username, hash_name, keys, login.keys)

    async def scram_keys(self, username: str, hash_name: str) -> tuple[ScramKeys, Login | None]:
        """Return the user's keys and who has them, or fake ones that look the same.

        SCRAM was offered, so somebody has keys.
        """
        for provider in self._keys:
            keys = await provider.scram_keys(username, hash_name)
            if keys is not None:
                return keys, Login(provider.name, keys=keys)
        return await self._keys[0].fake_keys(username, hash_name), None

    async def lacks_keys(self, username: str, hash_name: str) -> bool:
        """Tell whether there is such an account, without keys for that hash."""
        for provider in self._keys:
            if await provider.lacks_keys(username, hash_name):
                return True
        return False

    async def verify_password(self, username: str, password: str) -> Login:
        """Ask each provider until one lets the user in with this password, which may be a token.

        Raises `Refused` or `Unavailable`.
        """
        return await _first(self._checking, partial(_by_password, username, password))

    async def verify_token(self, token: str) -> Login:
        """Ask each provider until one lets in who shows this token. Raises `Refused` or `Unavailable`."""
        return await _first(self._tokens, partial(_by_token, token))


async def _first(providers: Iterable[P], ask: Callable[[P], Awaitable[Login | None]]) -> Login:
    why = ""
    unavailable = None
    for provider in providers:
        try:
            login = await ask(provider)
        except InvalidToken as error:
            why = str(error)
        except Unavailable as error:
            # The next one may know who it is.
            unavailable = error
        else:
            if login is not None:
                return login
    raise unavailable or Refused(why)


async def _by_password(username: str, password: str, provider: Passwords | Tokens) -> Login | None:
    if isinstance(provider, Passwords):
        return Login(provider.name) if await provider.verify_password(username, password) else None
    login = await _by_token(password, provider)
    if login.identity is None or login.identity.username != username:
        raise InvalidToken("it is for another user")
    return login


async def _by_token(token: str, provider: Tokens) -> Login:
    return Login(provider.name, await provider.verify_token(token))
