"""Who may log in, as a port: one provider per host checks credentials, and some also keep the accounts.

User names are prepared localparts (RFC 7622 section 3.3) throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from xmppws.stream.sasl.keys import ScramKeys


class InvalidPassword(ValueError):
    """A text cannot be a password; the message names the rule, never the password."""


class Provider(Protocol):
    """Checks the credentials of one host's users.

    `mechanisms` are the SASL mechanisms that every account of the host can use: no other is offered.
    """

    @property
    def mechanisms(self) -> frozenset[str]:
        """Names such as "SCRAM-SHA-256" and "PLAIN"."""

    async def scram_keys(self, username: str, hash_name: str) -> ScramKeys | None:
        """Return the user's keys for a hash ("sha1", "sha256", "sha512"); None for an unknown user."""

    async def fake_keys(self, username: str, hash_name: str) -> ScramKeys:
        """Return keys that no password fits, always the same for one name, shaped as real ones.

        RFC 5802 section 9 leaves room to tell names that exist from names that do not; this closes it.
        """

    async def verify_password(self, username: str, password: str) -> bool:
        """Check a password as the client sent it, in the same time whether the user exists or not."""

    async def exists(self, username: str) -> bool:
        """Return whether there is such an account."""


@runtime_checkable
class Accounts(Protocol):
    """Keeps the accounts of one host: what a provider implements beside `Provider` when it can.

    Passwords come as people type them; one that cannot be prepared raises `InvalidPassword`.
    """

    async def create(self, username: str, password: str) -> None:
        """Create an account; raise `AlreadyExists` if it is there."""

    async def create_many(self, passwords: Mapping[str, str]) -> None:
        """Create accounts from passwords by username, all or none; raise `AlreadyExists`."""

    async def set_password(self, username: str, password: str) -> bool:
        """Set the password; return whether there is such an account."""

    async def delete(self, username: str) -> bool:
        """Delete an account and all its data; return whether it was there."""

    async def list(self) -> list[str]:
        """Return all usernames, sorted."""
