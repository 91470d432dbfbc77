"""What is kept of an account: its keys, and what stands in for them until its password is here for a moment."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from xmppws.auth import hashes, stored_keys
from xmppws.stream.sasl.keys import ITERATIONS, SALT_LENGTH, ScramKeys, derive
from xmppws.stream.sasl.scram import HASHES

HASH_NAMES: Final = frozenset(HASHES.values())
"""The hashes that every account should have keys for."""


@dataclass(frozen=True, slots=True)
class Account:
    """The keys of an account by hash name; `hashed` is other software's hash of its password, when there are none."""

    keys: dict[str, ScramKeys]
    hashed: str = ""

    @property
    def lacking(self) -> frozenset[str]:
        """The hashes for which it has no keys."""
        return HASH_NAMES - self.keys.keys()


def new_keys(prepared: str, hash_names: Iterable[str] = HASH_NAMES) -> dict[str, ScramKeys]:
    """Derive keys of a prepared password; slow by design."""
    # A salt of its own for each hash, as fake keys have: else one salt under two mechanisms would tell who exists.
    return {name: derive(prepared, secrets.token_bytes(SALT_LENGTH), ITERATIONS, name) for name in hash_names}


def brought_in(text: str) -> Account:
    """Return an account made of what other software keeps of a password: SCRAM keys for one hash (RFC 5803), or a hash.

    Raises `InvalidPassword`, with nothing of the text, for what can never be checked.
    """
    if not text.startswith(stored_keys.PREFIX):
        return Account({}, hashes.checked(text))
    hash_name, keys = stored_keys.read(text)
    return Account({hash_name: keys})
