"""Who may log in, as ports: a host's providers each know some users and how these prove who they are.

A provider is a `Provider`, and of the other protocols those that it can be. User names are prepared localparts (RFC
7622 section 3.3) throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from xmppws.stream.sasl.keys import ScramKeys

TOKENS_STORE: Final = "fast"
"""A map of what lets the clients of an account in without its password: who changes the password clears it."""


class InvalidPassword(ValueError):
    """A text cannot be a password, or a hash of one; the message names the rule, never the text."""


class InvalidToken(ValueError):
    """A token lets nobody in; the message says why, and holds nothing of the token."""


class ProviderError(Exception):
    """A provider cannot begin its work; the message is for the sysadmin."""


class Unavailable(Exception):
    """A provider cannot tell at the moment who somebody is."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a token says of who shows it, once it is verified.

    `expires` is when it lets in no longer, in seconds since 1970. `device` and `room` are "" where it names none.
    `claims` is all that it says (RFC 7519 section 4).
    """

    username: str
    expires: float
    device: str = ""
    room: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Provider(Protocol):
    """Knows some users of one host. `name` is what `authentication` calls it.

    `mechanisms` are the SASL mechanisms that all of them can use now. Those that take a password are offered when every
    provider with passwords has them, for before the log-in nobody knows who somebody is; any other when one has it.
    """

    @property
    def name(self) -> str:
        """A name such as "internal", for the audit log."""

    @property
    def mechanisms(self) -> frozenset[str]:
        """Names such as "SCRAM-SHA-256", "PLAIN" and "ANONYMOUS"."""

    async def refresh(self) -> None:
        """Read again what others may have changed; called when the server has started, and on reload.

        Raises `ProviderError` the first time only.
        """

    async def exists(self, username: str) -> bool:
        """Return whether there is such an account."""


@runtime_checkable
class Passwords(Provider, Protocol):
    """Checks passwords: for PLAIN."""

    async def verify_password(self, username: str, password: str) -> bool:
        """Check a password as the client sent it, in the same time whether the user exists or not."""


@runtime_checkable
class Keys(Passwords, Protocol):
    """Has what SCRAM needs."""

    async def scram_keys(self, username: str, hash_name: str) -> ScramKeys | None:
        """Return the user's keys for a hash ("sha1", "sha256", "sha512"); None for an unknown user."""

    async def fake_keys(self, username: str, hash_name: str) -> ScramKeys:
        """Return keys that no password fits, always the same for one name, shaped as real ones.

        RFC 5802 section 9 leaves room to tell names that exist from names that do not; this closes it.
        """

    async def lacks_keys(self, username: str, hash_name: str) -> bool:
        """Tell, after an attempt with SCRAM failed, whether the account has no keys for that hash."""


@runtime_checkable
class Upgrades(Keys, Protocol):
    """Keeps keys, and may lack those of some hashes for some accounts."""

    @property
    def upgrades(self) -> frozenset[str]:
        """Names such as "SCRAM-SHA-256": the mechanisms that some accounts could use if their keys were known."""

    async def lacking(self, username: str) -> frozenset[str]:
        """Return those that this account could use then; none for an unknown user, after the same time."""

    async def add_keys(self, username: str, hash_name: str, keys: ScramKeys, proven: ScramKeys) -> None:
        """Keep keys of an account for a hash, unless it has such keys already.

        They are of the password to which the keys `proven` belong: if the account has these no longer, nothing is kept.
        """


@runtime_checkable
class Tokens(Provider, Protocol):
    """Lets in whoever shows a token: by OAUTHBEARER, or as the password of PLAIN."""

    async def verify_token(self, token: str) -> Identity:
        """Check a token, and note that its user has been here.

        Raises `InvalidToken`, or `Unavailable` when it cannot be checked now.
        """


@runtime_checkable
class Background(Protocol):
    """Does something of its own while the server runs."""

    def start(self) -> None:
        """Begin; `refresh` was called before."""

    async def stop(self) -> None:
        """End."""


@runtime_checkable
class Anonymous(Provider, Protocol):
    """Gives accounts to those who have none, for as long as they stay (RFC 4505, XEP-0175)."""

    async def admit(self, username: str) -> None:
        """Let an account be, under a name that nobody else has."""

    def new_username(self) -> str:
        """Make a name that nobody can guess."""

    def leave(self, username: str) -> None:
        """Let the account exist no longer, for its last session is over."""

    async def forget(self, username: str) -> None:
        """Remove all its data, when nobody writes any more of it."""


@runtime_checkable
class Accounts(Protocol):
    """Keeps the accounts of one host: what a provider implements beside `Provider` when it can.

    Passwords come as people type them; one that cannot be prepared raises `InvalidPassword`.
    """

    async def create(self, username: str, password: str) -> None:
        """Create an account; raise `AlreadyExists` if it is there."""

    async def create_many(self, passwords: Mapping[str, str]) -> None:
        """Create accounts from passwords by username, all or none; raise `AlreadyExists`."""

    async def create_hashed(self, hashes: Mapping[str, str]) -> None:
        """Create accounts of whose passwords only hashes or keys are known, by username, all or none.

        Raises `AlreadyExists`, and `InvalidPassword` for what can never be checked.
        """

    async def set_password(self, username: str, password: str) -> bool:
        """Set the password; return whether there is such an account."""

    async def delete(self, username: str) -> bool:
        """Delete an account and all its data; return whether it was there."""

    async def list(self) -> list[str]:
        """Return all usernames, sorted."""
