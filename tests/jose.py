"""Tokens and keys for tests, right and wrong ones, without the server's code and its library for tokens."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET: Final = "a-secret-of-tests-alone, 48 bytes long 0123456789"
NOW: Final = 1_800_000_000.0

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Sign = Callable[[bytes], bytes]


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return claims that are right at `NOW`; a change to None leaves one out."""
    all_ = {"sub": "alice", "exp": NOW + 60, **changes}
    return {name: value for name, value in all_.items() if value is not None}


def token(payload: dict[str, Any] | bytes, sign: Sign, alg: object = "HS256", **header: Any) -> str:
    """Write a token whose header says what it likes."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{base64url(json.dumps({'alg': alg, **header}).encode())}.{base64url(body)}"
    return f"{signed}.{base64url(sign(signed.encode()))}"


def hs256(secret: str | bytes = SECRET) -> Sign:
    key = secret.encode() if isinstance(secret, str) else secret
    return lambda data: hmac.digest(key, data, "sha256")


def signer(key: PrivateKey) -> Sign:
    """Return what signs with a key: RS256, ES256 or EdDSA."""

    def sign(data: bytes) -> bytes:
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, padding.PKCS1v15(), SHA256())
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(data)
        size = (key.key_size + 7) // 8
        return b"".join(
            number.to_bytes(size, "big") for number in decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
        )

    return sign


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def other_curve_key() -> ec.EllipticCurvePrivateKey:
    """Return a key for ES384."""
    return ec.generate_private_key(ec.SECP384R1())


def private_pem(key: PrivateKey, password: bytes = b"") -> bytes:
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """Write a public key as a JWK (RFC 7518 section 6, RFC 8037 section 2)."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        shown = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    elif isinstance(public, ed25519.Ed25519PublicKey):
        shown = {"kty": "OKP", "crv": "Ed25519", "x": base64url(public.public_bytes_raw())}
    else:
        point = public.public_numbers()
        size = (public.key_size + 7) // 8
        shown = {"kty": "EC", "crv": f"P-{public.key_size}", "x": _number(point.x, size), "y": _number(point.y, size)}
    return {**shown, **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def _number(number: int, size: int = 0) -> str:
    return base64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))
