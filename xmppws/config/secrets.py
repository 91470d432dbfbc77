"""Secrets that sign nothing worth trusting: short ones, and those that everybody can read somewhere."""

from __future__ import annotations

import re
from typing import Final

# RFC 7518 section 3.2: "A key of the same size as the hash output (for instance, 256 bits for "HS256") or larger MUST
# be used".
MIN_BYTES: Final = 32
_MIN_CHARACTERS: Final = 8

# In conf/local.toml, in RFC 7515 appendix A.1, and on sites that explain tokens: small letters and digits of them.
_KNOWN: Final = frozenset(
    {
        "localdevelopmentonlyeverybodyknowsthissecret",
        "aym1sysppbydfgzld3umj1qzkobwvmkoqqestjqlrt1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow",
        "astringsecretatleast256bitslong",
    }
)
_PLACEHOLDER: Final = re.compile(r"change_?me|change_?this|your_[a-z0-9_]*secret|placeholder|_example_|_replace_")
# RFC 8725 section 2.1: with a public key as the secret, everybody can sign.
_OTHER_KEY: Final = re.compile(r'-----BEGIN |^(?:ssh|ecdsa)-|"kty"')
_APART: Final = re.compile(r"[^a-z0-9]+")
_HELP: Final = "`openssl rand -base64 48` makes a good one; for developing on one machine, jwt.allow_weak_secret = true"


def fault(secret: str, *, weak_allowed: bool) -> str:
    """Return the rule that a secret for HS256 breaks, or ""; the secret does not stand in it."""
    if _OTHER_KEY.search(secret):
        return "must be a text that only both sides know, and no key of another kind: jwt.key takes those, in PEM"
    return "" if weak_allowed else _weakness(secret)


def _weakness(secret: str) -> str:
    if len(secret.encode()) < MIN_BYTES:
        return f"must have {MIN_BYTES} bytes or more: {_HELP}"
    words = _APART.sub("_", secret.lower())
    if words.replace("_", "") in _KNOWN or _PLACEHOLDER.search(f"_{words}_"):
        return f"must not be an example from documentation: {_HELP}"
    if len(set(secret)) < _MIN_CHARACTERS:
        return f"must have {_MIN_CHARACTERS} different characters or more: {_HELP}"
    return ""
