"""Hashes of passwords as other software keeps them, as far as passlib can check them."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, Final

from xmppws.core.auth import InvalidPassword

# Kinds that tell themselves apart. Bare hexadecimal digests and the DES of old do not: any typing error is one.
_KINDS: Final = (
    *("sha512_crypt", "sha256_crypt", "sha1_crypt", "md5_crypt", "apr_md5_crypt", "bcrypt", "argon2", "scrypt"),
    *("pbkdf2_sha512", "pbkdf2_sha256", "pbkdf2_sha1", "phpass"),
    *("ldap_salted_sha512", "ldap_salted_sha256", "ldap_salted_sha1", "ldap_salted_md5", "ldap_sha1", "ldap_md5"),
    *("django_pbkdf2_sha256", "django_pbkdf2_sha1", "django_salted_sha1"),
)
# passlib takes these at any length.
_LENGTHS: Final = {"phpass": 34, "ldap_sha1": 33, "ldap_md5": 29}
# How LDAP marks hashes in the forms of crypt(3).
_LDAP_CRYPT: Final = "{CRYPT}"


def checked(text: str) -> str:
    """Return a hash as it is kept; raise `InvalidPassword`, with nothing of the hash, if it can never be checked."""
    hashed = text.removeprefix(_LDAP_CRYPT)
    handler = _context().identify(hashed, resolve=True)
    if handler is None:
        raise InvalidPassword(f"the hash is of no kind that can be checked: {', '.join(_KINDS)}")
    if not _has_backend(handler):
        raise InvalidPassword(f"a hash of the kind {handler.name} needs a library that is not installed")
    if not _is_whole(handler, hashed):
        raise InvalidPassword(f"the hash looks like {handler.name}, but is damaged")
    return hashed


def matches(hashed: str, passwords: Collection[str]) -> bool:
    """Tell whether the hash is that of one of these passwords; slow by design."""
    return any(_verify(hashed, password) for password in passwords)


def _verify(hashed: str, password: str) -> bool:
    try:
        return bool(_context().verify(password, hashed))
    except ValueError:
        # A password that this kind of hash cannot have: too long, or with a NUL.
        return False


def _has_backend(handler: Any) -> bool:
    return not hasattr(handler, "has_backend") or bool(handler.has_backend())


def _is_whole(handler: Any, hashed: str) -> bool:
    try:
        has_end = handler.from_string(hashed).checksum is not None
    except (ValueError, TypeError):
        return False
    return has_end and len(hashed) == _LENGTHS.get(handler.name, len(hashed))


@cache
def _context() -> Any:
    # Loading all of passlib takes a quarter of a second, which only those wait for who have such hashes.
    from passlib.context import CryptContext  # type: ignore[import-untyped]

    return CryptContext(schemes=_KINDS)
