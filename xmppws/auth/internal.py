"""Accounts of this server's own, kept as SCRAM keys: the password itself is never stored.

Accounts that were brought in with a hash of other software's making have no keys yet. They get them at their first
log-in with PLAIN, when the password is here for a moment; until the last of them has, the host offers PLAIN alone.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from passlib.utils import saslprep  # type: ignore[import-untyped]

from xmppws.auth import hashes as password_hashes
from xmppws.core.audit import audit
from xmppws.core.auth import TOKENS_STORE, InvalidPassword
from xmppws.core.stores import AlreadyExists, Stores
from xmppws.stream.sasl.keys import ITERATIONS, ScramKeys, derive

# What accounts get keys for, and which of them a password is checked with.
HASHES = ("sha1", "sha256", "sha512")
_CHECKED = "sha256"
SALT_LENGTH = 16

log = logging.getLogger("xmppws.auth")

R = TypeVar("R")

_PLAIN = frozenset({"PLAIN"})
_ALL = frozenset({"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"}) | _PLAIN


@dataclass(frozen=True, slots=True)
class Account:
    """What is kept of an account: its keys by hash name."""

    keys: dict[str, ScramKeys]


class InternalProvider:
    """Keeps the accounts of one host, by localpart: keys in the store "accounts", hashes without keys in "hashes".

    Keys are derived in `executor`, a small thread pool that hosts share, so that a flood of log-ins fills only that.
    """

    name = "internal"

    def __init__(self, domain: str, stores: Stores, executor: Executor) -> None:
        self._domain = domain
        self._stores = stores
        self._accounts = stores.keyvalue("accounts", Account)
        self._hashes = stores.keyvalue("hashes", str)
        self._secrets = stores.keyvalue("secrets", bytes)
        self._executor = executor
        self._fake_secret = b""
        # How many accounts have no keys yet, as of the last look.
        self._without_keys = 0

    @property
    def mechanisms(self) -> frozenset[str]:
        """PLAIN alone while there are accounts without keys."""
        return _PLAIN if self._without_keys else _ALL

    async def refresh(self) -> None:
        """Count the accounts without keys, which the command line may have added or removed."""
        waiting = set(await self._hashes.owners())
        # A crash between both writes of an upgrade leaves a hash to an account with keys.
        upgraded = waiting.intersection(await self._accounts.owners()) if waiting else set()
        for username in upgraded:
            await self._hashes.delete(username)
        self._without_keys = len(waiting) - len(upgraded)
        if self._without_keys:
            told = "host=%s: %d accounts have a hash of their password only: PLAIN alone is offered until they log in"
            log.info(told, self._domain, self._without_keys, extra={"host": self._domain})

    async def scram_keys(self, username: str, hash_name: str) -> ScramKeys | None:
        """Return the user's keys for a hash; None for an unknown user."""
        account = await self._accounts.get(username)
        return account.keys.get(hash_name) if account else None

    async def fake_keys(self, username: str, hash_name: str) -> ScramKeys:
        """Return keys that no password fits, always the same for one name, shaped as real ones."""
        secret = self._fake_secret or await self._read_secret()
        salt, stored_key, server_key = (
            hmac.digest(secret, f"{part}\0{hash_name}\0{username}".encode(), hash_name)
            for part in ("salt", "stored key", "server key")
        )
        return ScramKeys(salt[:SALT_LENGTH], ITERATIONS, stored_key, server_key)

    async def needs_plain(self, username: str) -> bool:
        """Tell whether the account has no keys yet; if nobody knew of such accounts, PLAIN alone is offered now."""
        if await self._hashes.get(username) is None:
            return False
        if not self._without_keys:
            await self.refresh()
        return True

    async def verify_password(self, username: str, password: str) -> bool:
        """Check a password, in the same time whether the user exists or not.

        The exception is an account without keys: its hash takes the time that such a hash takes.
        """
        try:
            prepared, is_valid = prepare_password(password), True
        except InvalidPassword:
            prepared, is_valid = "", False
        real = await self.scram_keys(username, _CHECKED)
        # Looked up for everybody: looking for unknown users alone would take time that tells who exists.
        hashed = await self._hashes.get(username)
        if real is None and hashed is not None:
            return await self._verify_hash(username, hashed, password, prepared)
        keys = real or await self.fake_keys(username, _CHECKED)
        derived = await self._run(derive, prepared, keys.salt, keys.iterations, _CHECKED)
        return hmac.compare_digest(derived.stored_key, keys.stored_key) and is_valid and real is not None

    async def exists(self, username: str) -> bool:
        """Return whether there is such an account."""
        return await self._accounts.get(username) is not None or await self._hashes.get(username) is not None

    async def create(self, username: str, password: str) -> None:
        """Create an account; raise `AlreadyExists` or `InvalidPassword`."""
        await self.create_many({username: password})

    async def create_many(self, passwords: Mapping[str, str]) -> None:
        """Create accounts from passwords by username, all or none; raise `AlreadyExists` or `InvalidPassword`."""
        prepared = {username: _prepare_for(username, password) for username, password in passwords.items()}
        if there := [username for username in passwords if await self.exists(username)]:
            raise AlreadyExists(there)
        accounts = await asyncio.gather(*[self._run(_account, password) for password in prepared.values()])
        await self._accounts.add_many(dict(zip(prepared, accounts, strict=True)))

    async def create_hashed(self, hashes: Mapping[str, str]) -> None:
        """Create accounts from hashes of passwords by username, all or none.

        Raises `AlreadyExists`, or `InvalidPassword` for what cannot be checked.
        """
        checked = {username: password_hashes.checked(hashed) for username, hashed in hashes.items()}
        if there := checked.keys() & set(await self.list()):
            raise AlreadyExists(there)
        await self._hashes.add_many(checked)
        await self.refresh()

    async def set_password(self, username: str, password: str) -> bool:
        """Set the password; return whether there is such an account. Raise `InvalidPassword`."""
        account = await self._run(_account, _prepare_for(username, password))
        exists = await self.exists(username)
        if exists:
            await self._accounts.set(username, account)
            await self._drop_hash(username)
            await self._stores.map(TOKENS_STORE, dict).clear(username)
        return exists

    async def delete(self, username: str) -> bool:
        """Delete an account and all its data; return whether it was there."""
        had_keys = await self._accounts.delete(username)
        had_hash = await self._drop_hash(username)
        await self._stores.purge(username)
        return had_keys or had_hash

    async def list(self) -> list[str]:
        """Return all usernames, sorted."""
        return sorted({*await self._accounts.owners(), *await self._hashes.owners()})

    async def _verify_hash(self, username: str, hashed: str, password: str, prepared: str) -> bool:
        # Whether the other software prepared passwords before it hashed them, nobody knows.
        if not await self._run(password_hashes.matches, hashed, {password, prepared or password}):
            return False
        if not prepared:
            log.warning(
                "host=%s user=%s: the password is right, but SCRAM cannot have it: it needs another one",
                *(self._domain, username),
                extra={"host": self._domain, "user": username},
            )
            return False
        account = await self._run(_account, prepared)
        # Meanwhile somebody may have changed the password, deleted the account, or logged in as well.
        if await self._hashes.get(username) == hashed and await self._accounts.add(username, account):
            await self._drop_hash(username)
            facts = {"host": self._domain, "user": username}
            log.info(
                "host=%s user=%s: the hash of the password was replaced with SCRAM keys", *facts.values(), extra=facts
            )
            audit("password-upgraded", **facts)
        return True

    async def _drop_hash(self, username: str) -> bool:
        dropped = await self._hashes.delete(username)
        if dropped:
            self._without_keys -= 1
            if self._without_keys <= 0:
                await self.refresh()
        return dropped

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


def _account(prepared: str) -> Account:
    # A salt of its own for each hash, as fake keys have: else one salt under two mechanisms would tell who exists.
    return Account({name: derive(prepared, secrets.token_bytes(SALT_LENGTH), ITERATIONS, name) for name in HASHES})
