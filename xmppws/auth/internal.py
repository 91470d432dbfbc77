"""Accounts of this server's own, kept as SCRAM keys: the password itself is never stored.

Accounts that were brought in from other software may lack keys: all of them, or those for some hashes. They get them at
their first log-in with PLAIN, when the password is here for a moment, or from their client after a log-in with SCRAM
(XEP-0480). Until the last of them has them, the host offers only what all accounts can use.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from passlib.utils import saslprep  # type: ignore[import-untyped]

from xmppws.auth.account import Account, brought_in, new_keys
from xmppws.auth.hashes import matches
from xmppws.auth.survey import Shape, Survey
from xmppws.core.audit import audit
from xmppws.core.auth import TOKENS_STORE, InvalidPassword
from xmppws.core.stores import AlreadyExists, Stores
from xmppws.stream.sasl.keys import ScramKeys, derive
from xmppws.stream.sasl.scram import HASHES

# With which keys a password is checked, the first of those that are there: not the slowest, nor the weakest.
_CHECKED: Final = ("sha256", "sha512", "sha1")

log = logging.getLogger("xmppws.auth")

R = TypeVar("R")


class InternalProvider:
    """Keeps the accounts of one host, by localpart, in the store "accounts".

    Keys are derived in `executor`, a small thread pool that hosts share, so that a flood of log-ins fills only that.
    """

    name = "internal"

    def __init__(self, domain: str, stores: Stores, executor: Executor) -> None:
        self._domain = domain
        self._stores = stores
        self._accounts = stores.keyvalue("accounts", Account)
        self._secrets = stores.keyvalue("secrets", bytes)
        self._executor = executor
        self._fake_secret = b""
        self._survey = Survey(self._accounts)

    @property
    def mechanisms(self) -> frozenset[str]:
        """PLAIN, and those of SCRAM for which no account lacks keys."""
        return self._survey.mechanisms | {"PLAIN"}

    @property
    def upgrades(self) -> frozenset[str]:
        """The others of SCRAM."""
        return frozenset(HASHES) - self._survey.mechanisms

    async def refresh(self) -> None:
        """Look through the accounts, which the command line may have added or changed."""
        await self._survey.look()
        facts = {"host": self._domain}
        if without_keys := self._survey.without_keys:
            told = "host=%s: %d accounts have a hash of their password only: PLAIN alone is offered until they log in"
            log.info(told, self._domain, without_keys, extra=facts)
        elif lacking := self._survey.lacking:
            told = "host=%s: %d accounts lack keys: until they have logged in with PLAIN, or given them, %s not offered"
            names = [name for name, hash_name in HASHES.items() if lacking[hash_name]]
            listed = f"{', '.join(names)} {'are' if len(names) > 1 else 'is'}"
            log.info(told, self._domain, max(lacking.values()), listed, extra=facts)

    async def scram_keys(self, username: str, hash_name: str) -> ScramKeys | None:
        """Return the user's keys for a hash; None for an unknown user."""
        account = await self._accounts.get(username)
        return account.keys.get(hash_name) if account else None

    async def fake_keys(self, username: str, hash_name: str) -> ScramKeys:
        """Return keys that no password fits, always the same for one name, shaped as those of some account.

        Of keys that were made elsewhere, the form of the salt and the iterations show that. So as many names without an
        account as with one seem to have such keys.
        """
        secret = self._fake_secret or await self._read_secret()
        make = partial(_fake, secret, username)
        place = int.from_bytes(make("place", "sha256")[:4], "big") / 2**32
        shape = self._survey.shape(hash_name, place)
        salt = _salt(make(f"salt {shape}", hash_name), shape)
        return ScramKeys(salt, shape.iterations, make("stored key", hash_name), make("server key", hash_name))

    async def lacks_keys(self, username: str, hash_name: str) -> bool:
        """Tell whether the account has no keys for a hash; if nobody knew, its mechanism is offered no longer."""
        account = await self._accounts.get(username)
        if account is None or hash_name in account.keys:
            return False
        if not self._survey.lacking[hash_name]:
            await self.refresh()
        return True

    async def lacking(self, username: str) -> frozenset[str]:
        """Return the mechanisms for which the account has no keys; none for an unknown user."""
        account = await self._accounts.get(username)
        lacking = account.lacking if account else ()
        return frozenset(name for name, hash_name in HASHES.items() if hash_name in lacking)

    async def add_keys(self, username: str, hash_name: str, keys: ScramKeys, proven: ScramKeys) -> None:
        """Keep keys for a hash that an account lacks, if it still has the keys `proven`."""

        def added(now: Account) -> Account | None:
            # Meanwhile somebody may have changed the password, deleted the account, or logged in as well.
            if hash_name in now.keys or proven not in now.keys.values():
                return None
            return Account({**now.keys, hash_name: keys})

        if await self._accounts.update(username, added) is not None:
            await self._note_completed(username, (hash_name,))

    async def verify_password(self, username: str, password: str) -> bool:
        """Check a password, in the same time whether the user exists or not.

        The exceptions are accounts that were brought in: checking takes the time that their hash or keys take.
        """
        try:
            prepared, is_valid = prepare_password(password), True
        except InvalidPassword:
            prepared, is_valid = "", False
        account = await self._accounts.get(username)
        if account is not None and not account.keys:
            return await self._verify_hash(username, account, password, prepared)
        name = next(name for name in _CHECKED if account is None or name in account.keys)
        keys = await self.fake_keys(username, name) if account is None else account.keys[name]
        derived = await self._run(derive, prepared, keys.salt, keys.iterations, name)
        if not hmac.compare_digest(derived.stored_key, keys.stored_key) or not is_valid or account is None:
            return False
        if account.lacking:
            await self._complete(username, account, prepared)
        return True

    async def exists(self, username: str) -> bool:
        """Return whether there is such an account."""
        return await self._accounts.get(username) is not None

    async def create(self, username: str, password: str) -> None:
        """Create an account; raise `AlreadyExists` or `InvalidPassword`."""
        await self.create_many({username: password})

    async def create_many(self, passwords: Mapping[str, str]) -> None:
        """Create accounts from passwords by username, all or none; raise `AlreadyExists` or `InvalidPassword`."""
        prepared = {username: _prepare_for(username, password) for username, password in passwords.items()}
        if there := [username for username in passwords if await self.exists(username)]:
            raise AlreadyExists(there)
        keys = await asyncio.gather(*[self._run(new_keys, password) for password in prepared.values()])
        await self._accounts.add_many({username: Account(each) for username, each in zip(prepared, keys, strict=True)})

    async def create_hashed(self, hashes: Mapping[str, str]) -> None:
        """Create accounts from hashes of passwords, or SCRAM keys for one hash, by username, all or none.

        Raises `AlreadyExists`, or `InvalidPassword` for what cannot be checked.
        """
        await self._accounts.add_many({username: brought_in(text) for username, text in hashes.items()})
        await self.refresh()

    async def set_password(self, username: str, password: str) -> bool:
        """Set the password; return whether there is such an account. Raise `InvalidPassword`."""
        account = Account(await self._run(new_keys, _prepare_for(username, password)))
        old = await self._accounts.update(username, lambda _: account)
        if old is None:
            return False
        await self._stores.map(TOKENS_STORE, dict).clear(username)
        await self._survey.completed(old.lacking)
        return True

    async def delete(self, username: str) -> bool:
        """Delete an account and all its data; return whether it was there."""
        account = await self._accounts.get(username)
        deleted = await self._accounts.delete(username)
        await self._stores.purge(username)
        if deleted and account is not None:
            await self._survey.completed(account.lacking)
        return deleted

    async def list(self) -> list[str]:
        """Return all usernames, sorted."""
        return await self._accounts.owners()

    async def _verify_hash(self, username: str, account: Account, password: str, prepared: str) -> bool:
        # Whether the other software prepared passwords before it hashed them, nobody knows.
        if not await self._run(matches, account.hashed, {password, prepared or password}):
            return False
        if not prepared:
            log.warning(
                "host=%s user=%s: the password is right, but SCRAM cannot have it: it needs another one",
                *(self._domain, username),
                extra={"host": self._domain, "user": username},
            )
            return False
        await self._complete(username, account, prepared)
        return True

    async def _complete(self, username: str, account: Account, prepared: str) -> None:
        """Make the keys that an account lacks, from the password that it has just been shown to have."""
        lacking = account.lacking
        complete = Account(account.keys | await self._run(new_keys, prepared, lacking))
        # Meanwhile somebody may have changed the password, deleted the account, or logged in as well.
        if await self._accounts.update(username, lambda now: complete if now == account else None) is not None:
            await self._note_completed(username, lacking)

    async def _note_completed(self, username: str, hash_names: Iterable[str]) -> None:
        facts = {"host": self._domain, "user": username}
        names = ", ".join(name for name, hash_name in HASHES.items() if hash_name in hash_names)
        log.info("host=%s user=%s: the account has keys for %s now", *facts.values(), names, extra=facts)
        audit("password-upgraded", **facts)
        await self._survey.completed(hash_names)

    async def _read_secret(self) -> bytes:
        secret = await self._secrets.get("")
        if secret is None:
            # Another process may be as far as we are; the first one's secret counts.
            await self._secrets.add("", secrets.token_bytes(32))
            secret = await self._secrets.get("")
            assert secret is not None
        # It never changes, and reading it for unknown users alone would take time that tells who exists.
        self._fake_secret = secret
        return secret

    async def _run(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)


def prepare_password(password: str) -> str:
    """Prepare a password with SASLprep (RFC 4013), as SCRAM's clients do; raise `InvalidPassword`."""
    try:
        prepared = saslprep(password, "a password")
    except ValueError as error:
        raise InvalidPassword(str(error)) from None
    if not prepared:
        raise InvalidPassword("a password must have at least one character that can be seen")
    return str(prepared)


def _prepare_for(username: str, password: str) -> str:
    try:
        return prepare_password(password)
    except InvalidPassword as error:
        raise InvalidPassword(f"the password for {username!a} is refused: {error}") from None


def _fake(secret: bytes, username: str, part: str, hash_name: str) -> bytes:
    return hmac.digest(secret, f"{part}\0{hash_name}\0{username}".encode(), hash_name)


def _salt(seed: bytes, shape: Shape) -> bytes:
    salt = hashlib.shake_256(seed).digest(shape.salt_length)
    return str(UUID(bytes=salt[:16], version=4)).encode() if shape.is_uuid else salt
