"""Keys that sign tokens and verify them (RFC 7518): each is for one algorithm, which no token can change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

HS256: Final = ("HS256",)
RS256: Final = ("RS256",)
ES256: Final = ("ES256",)
# RFC 9864 section 2.2 gives the algorithm a name of its own; RFC 8037 section 3.1 calls it as most tokens do.
EDDSA: Final = ("EdDSA", "Ed25519")

MAX_KEYS: Final = 32
"""Of a JWK set: a token that does not say which key it is for is tried with all of them."""

# RFC 7518 section 3.3: "A key of size 2048 bits or larger MUST be used"; larger ones than that cost too much time.
_RSA_BITS: Final = range(2048, 8193)
_FROM_JWK: Final[Mapping[str, Callable[[dict[str, Any]], Any]]] = MappingProxyType(
    {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
)
# What is public of them (RFC 7518 section 6, RFC 8037 section 2).
_PUBLIC: Final = ("kty", "n", "e", "crv", "x", "y")
_KINDS: Final = "must be of RSA with 2048 to 8192 bits, of P-256 or of Ed25519"

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


class InvalidKey(ValueError):
    """What should be a key is none that can be used; the message is the rule it breaks."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key. `names` are those of its algorithm, the usual one first; `signs` is None where it can only verify.

    `kid` is its name in a JWK set (RFC 7517 section 4.5), "" if it has none.
    """

    names: tuple[str, ...]
    verifies: PublicKey | bytes = field(repr=False)
    signs: PrivateKey | bytes | None = field(default=None, repr=False)
    kid: str = ""


def from_secret(secret: str) -> Key:
    """Return the key that a secret is, for HS256."""
    return Key(HS256, secret.encode(), secret.encode())


def from_pem(data: bytes) -> Key:
    """Read a private or a public key in PEM; raise `InvalidKey`."""
    if b"PRIVATE KEY" not in data:
        public = _loaded(load_pem_public_key, data)
        return Key(_names(public), public)
    private = _loaded(lambda pem: load_pem_private_key(pem, None), data)
    if not isinstance(private, PrivateKey):
        raise InvalidKey(_KINDS)
    public = private.public_key()
    return Key(_names(public), public, private)


def from_jwks(data: bytes) -> tuple[Key, ...]:
    """Read the public keys of a JWK set (RFC 7517 section 5), but for those that sign nothing we know.

    Raises `InvalidKey` when none is left.
    """
    try:
        entries = msgspec.json.decode(data)["keys"]
        keys = tuple(_usable(entries))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidKey("is no JWK set") from None
    if not keys:
        raise InvalidKey("has no key for RS256, ES256 or EdDSA")
    return keys[:MAX_KEYS]


def _loaded(load: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return load(data)
    except TypeError:
        raise InvalidKey("must have no password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKey("must hold a public or a private key in PEM, and no certificate") from None


def _names(key: object) -> tuple[str, ...]:
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS:
        return RS256
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return ES256
    if isinstance(key, Ed25519PublicKey):
        return EDDSA
    raise InvalidKey(_KINDS)


def _usable(entries: list[Any]) -> Iterator[Key]:
    for entry in entries:
        try:
            yield _from_jwk(entry)
        except (PyJWTError, ValueError, TypeError, KeyError):
            # RFC 7517 section 5: what "is not understood" or has "values out of the supported ranges" is ignored.
            continue


def _from_jwk(entry: dict[str, Any]) -> Key:
    # A secret has no business in a place that everybody can fetch: RFC 8725 section 3.2.
    public = _FROM_JWK[entry["kty"]]({name: entry[name] for name in _PUBLIC if name in entry})
    key = Key(_names(public), public, kid=entry.get("kid", ""))
    is_ours = entry.get("alg", key.names[0]) in key.names and isinstance(key.kid, str)
    if not is_ours or entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        raise InvalidKey("is for something else")
    return key
