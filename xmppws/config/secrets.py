"""Secrets that sign nothing worth trusting: short ones, and those that everybody can read somewhere."""

from __future__ import annotations

import re
from typing import Final

# RFC 7518 section 3.2: "A key of the same size as the hash output (for instance, 256 bits for "HS256") or larger MUST
# be used".
MIN_BYTES: Final = 32
_MIN_CHARACTERS: Final = 8

# Our own examples, those of RFC 7515 and of sites that explain tokens; written as `_squeezed` leaves them.
_KNOWN: Final = frozenset(
    {
        "localdevelopmentonlyeverybodyknowsthissecret",
        "ay1svcrwdgsiqsjhslkjbtsdlshj1svixhvclxyrlu",
        "your256bitsecret",
        "astringsecretatleast256bitslong",
        "yoursupersecretjwtkeychangethisinproduction",
    }
)
_PLACEHOLDER: Final = re.compile(r"change_?me|change_?this|your_?(?:jwt_?)?secret|placeholder|_example_|_replace_")
_APART: Final = re.compile(r"[^a-z0-9]+")
_HELP: Final = "`openssl rand -base64 48` makes a good one; for developing on one machine, jwt.allow_weak_secret = true"


def weakness(secret: str) -> str:
    """Return the rule that a secret for HS256 breaks, or ""; the secret does not stand in it."""
    if len(secret.encode()) < MIN_BYTES:
        return f"must have {MIN_BYTES} bytes or more: {_HELP}"
    words = _APART.sub("_", secret.lower())
    if words.replace("_", "") in _KNOWN or _PLACEHOLDER.search(f"_{words}_"):
        return f"must not be an example from documentation: {_HELP}"
    if len(set(secret)) < _MIN_CHARACTERS:
        return f"must have {_MIN_CHARACTERS} different characters or more: {_HELP}"
    return ""
