"""The keys a server keeps for SCRAM instead of a password (RFC 5802 section 3, RFC 7677)."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

ITERATIONS: Final = 10_000
"""Of new keys: RFC 7677 section 4 asks for 4096 at least; the cost falls on log-ins with PLAIN, and on the clients."""
SALT_LENGTH: Final = 16
"""Bytes in the salt of new keys."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server must know of one password for one hash function."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def derive(password: str, salt: bytes, iterations: int, hash_name: str) -> ScramKeys:
    """Derive the keys of a prepared password; `hash_name` is hashlib's, such as "sha256".

    This is the slow part by design: milliseconds, without holding the interpreter.
    """
    # RFC 5802 section 2.2: "Hi() is, essentially, PBKDF2 [RFC2898] with HMAC() as the pseudorandom function (PRF)"
    salted_password = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
    return of_salted(salted_password, salt, iterations, hash_name)


def of_salted(salted_password: bytes, salt: bytes, iterations: int, hash_name: str) -> ScramKeys:
    """Derive the keys from RFC 5802's SaltedPassword."""
    client_key = hmac.digest(salted_password, b"Client Key", hash_name)
    stored_key = hashlib.new(hash_name, client_key).digest()
    return ScramKeys(salt, iterations, stored_key, hmac.digest(salted_password, b"Server Key", hash_name))
