"""Accounts of this server's own, kept as SCRAM keys: the password itself is never stored."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from passlib.utils import saslprep  # type: ignore[import-untyped]

from xmppws.core.auth import InvalidPassword
from xmppws.core.stores import Stores
from xmppws.stream.sasl.keys import ScramKeys, derive

# What accounts get keys for, and which of them a password is checked with.
HASHES = ("sha1", "sha256", "sha512")
_CHECKED = "sha256"
# RFC 7677 section 4 asks for 4096 at least; the cost falls on log-ins with PLAIN, and on the clients.
ITERATIONS = 10_000
SALT_LENGTH = 16

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Account:
    """What is kept of an account: its keys by hash name."""

    keys: dict[str, ScramKeys]


class InternalProvider:
    """Keeps the accounts of one host in the store "accounts", by localpart.

    Keys are derived in `executor`, a small thread pool that hosts share, so that a flood of log-ins fills only that.
    """

    mechanisms = frozenset({"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"})

    def __init__(self, stores: Stores, executor: Executor) -> None:
        self._stores = stores
        self._accounts = stores.keyvalue("accounts", Account)
        self._secrets = stores.keyvalue("secrets", bytes)
        self._executor = executor
        self._fake_secret = b""

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

    async def verify_password(self, username: str, password: str) -> bool:
        """Check a password, in the same time whether the user exists or not."""
        try:
            prepared, is_valid = prepare_password(password), True
        except InvalidPassword:
            prepared, is_valid = "", False
        real = await self.scram_keys(username, _CHECKED)
        keys = real or await self.fake_keys(username, _CHECKED)
        derived = await self._run(derive, prepared, keys.salt, keys.iterations, _CHECKED)
        return hmac.compare_digest(derived.stored_key, keys.stored_key) and is_valid and real is not None

    async def exists(self, username: str) -> bool:
        """Return whether there is such an account."""
        return await self._accounts.get(username) is not None

    async def create(self, username: str, password: str) -> None:
        """Create an account; raise `AlreadyExists` or `InvalidPassword`."""
        await self.create_many({username: password})

    async def create_many(self, passwords: Mapping[str, str]) -> None:
        """Create accounts from passwords by username, all or none; raise `AlreadyExists` or `InvalidPassword`."""
        prepared = {username: _prepare_for(username, password) for username, password in passwords.items()}
        accounts = await asyncio.gather(*[self._run(_account, password) for password in prepared.values()])
        await self._accounts.add_many(dict(zip(prepared, accounts, strict=True)))

    async def set_password(self, username: str, password: str) -> bool:
        """Set the password; return whether there is such an account. Raise `InvalidPassword`."""
        account = await self._run(_account, _prepare_for(username, password))
        exists = await self.exists(username)
        if exists:
            await self._accounts.set(username, account)
        return exists

    async def delete(self, username: str) -> bool:
        """Delete an account and all its data; return whether it was there."""
        existed = await self._accounts.delete(username)
        await self._stores.purge(username)
        return existed

    async def list(self) -> list[str]:
        """Return all usernames, sorted."""
        return await self._accounts.owners()

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
