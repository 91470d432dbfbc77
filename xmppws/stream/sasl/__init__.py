"""SASL (RFC 4422) as the server sees it: each mechanism is a small machine that asks for what it needs.

A mechanism is given the client's messages and returns a step: `Challenge`, `Refusal`, `Success`, or a question to the
accounts (`KeysWanted`, `PasswordWanted`, `TokenWanted`, `HashedTokenWanted`, `AccountWanted`), whose answer it is then
given. Whatever goes wrong is raised as a `SaslFailure`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TypeAlias

from xmppws.errors import SaslMalformedRequest
from xmppws.stream.sasl.keys import ScramKeys


@dataclass(frozen=True, slots=True)
class Challenge:
    """Bytes for the client, who will respond."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Bytes that tell the client why it is not let in. It has to respond before the exchange fails."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Success:
    """The client is who it says; `authzid` is whom it wants to act as ("" for itself), `data` goes with the success."""

    username: str
    authzid: str
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class KeysWanted:
    """The mechanism needs an account's SCRAM keys for a hash; answer with `keys()`."""

    username: str
    hash_name: str


@dataclass(frozen=True, slots=True)
class PasswordWanted:
    """The mechanism needs to know whether this is the account's password; answer with `password_checked()`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """The mechanism needs to know whose token this is; answer with `token_checked()`.

    `username` is who the client wants to be, as it said it, or "".
    """

    username: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HashedTokenWanted:
    """The mechanism needs to know whether a token of this account makes this hash; answer with `token_known()`."""

    username: str
    hashed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountWanted:
    """The mechanism needs an account for somebody who has none; answer with `account()`."""


@dataclass(frozen=True, slots=True)
class UpgradeWanted:
    """An account that is logged in gets keys for one more hash (XEP-0480); say when they are kept."""

    username: str
    hash_name: str
    keys: ScramKeys = field(repr=False)


Question: TypeAlias = KeysWanted | PasswordWanted | TokenWanted | HashedTokenWanted | AccountWanted
Step: TypeAlias = Challenge | Refusal | Success | Question


class Mechanism(ABC):
    """One authentication exchange. An answer to what it did not ask is refused."""

    __slots__ = ()

    @abstractmethod
    def respond(self, data: bytes) -> Step:
        """Take the initial response or a later one."""

    def keys(self, keys: ScramKeys) -> Step:
        """Take the answer to `KeysWanted`."""
        raise SaslMalformedRequest("No keys were asked for")

    def password_checked(self, right: bool) -> Step:
        """Take the answer to `PasswordWanted`."""
        raise SaslMalformedRequest("No password was to be checked")

    def token_checked(self, username: str) -> Step:
        """Take the answer to `TokenWanted`: whose token it is, "" if it lets nobody in."""
        raise SaslMalformedRequest("No token was to be checked")

    def token_known(self, answer: bytes) -> Step:
        """Take the answer to `HashedTokenWanted`: what shows the client that the server has the token, b"" if not."""
        raise SaslMalformedRequest("No token was to be looked up")

    def account(self, username: str) -> Step:
        """Take the answer to `AccountWanted`."""
        raise SaslMalformedRequest("No account was asked for")
