"""SCRAM keys as directories and other servers keep them: RFC 5803's `SCRAM-SHA-1$4096:SALT$STOREDKEY:SERVERKEY`."""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from typing import Final

from xmppws.core.auth import InvalidPassword
from xmppws.stream.sasl.keys import ScramKeys
from xmppws.stream.sasl.scram import HASHES

PREFIX: Final = "SCRAM-"
"""With which each of them begins."""

# RFC 7677 section 4 wants 4096 of servers, and some clients insist. Above, a log-in with PLAIN takes a second.
_ITERATIONS: Final = range(4096, 1_000_001)
# They go to whoever asks, in every first message of the exchange.
_SALT_LENGTHS: Final = range(1, 129)
_SYNTAX: Final = re.compile(
    r"(?P<mechanism>[^$]*)\$(?P<iterations>[0-9]+):(?P<salt>[^$:]*)\$(?P<StoredKey>[^$:]*):(?P<ServerKey>[^$:]*)"
)


def read(text: str) -> tuple[str, ScramKeys]:
    """Return keys, and the name of their hash; raise `InvalidPassword`, with nothing of them, when they are damaged."""
    match = _SYNTAX.fullmatch(text)
    if match is None:
        raise InvalidPassword("SCRAM keys are written MECHANISM$ITERATIONS:SALT$STOREDKEY:SERVERKEY (RFC 5803)")
    hash_name = HASHES.get(match["mechanism"])
    if hash_name is None:
        raise InvalidPassword(f"the SCRAM keys must be for one of {', '.join(HASHES)}")
    salt = _base64(match["salt"], "salt")
    if len(salt) not in _SALT_LENGTHS:
        raise InvalidPassword(f"the salt must have 1 to {_SALT_LENGTHS[-1]} bytes")
    iterations = _iterations(match["iterations"])
    stored_key, server_key = (_key(match[name], name, hash_name) for name in ("StoredKey", "ServerKey"))
    return hash_name, ScramKeys(salt, iterations, stored_key, server_key)


def _iterations(text: str) -> int:
    # Python refuses to read numbers of thousands of digits.
    count = int(text) if len(text) <= 10 else 0
    if count not in _ITERATIONS:
        raise InvalidPassword(f"the iteration count must be from {_ITERATIONS[0]} to {_ITERATIONS[-1]}")
    return count


def _key(text: str, name: str, hash_name: str) -> bytes:
    key, expected = _base64(text, name), hashlib.new(hash_name).digest_size
    if len(key) != expected:
        raise InvalidPassword(f"the {name} has {len(key)} bytes, and must have {expected} for this mechanism")
    return key


def _base64(text: str, name: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPassword(f"the {name} is not base64") from None
