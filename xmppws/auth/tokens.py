"""JSON Web Tokens (RFC 7519, with RFC 8725): opened with the right key, read as who shows them, and made.

What is wrong with one is told in fixed sentences, never with its own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from jwt.algorithms import HMACAlgorithm, get_default_algorithms
from jwt.api_jws import PyJWS
from jwt.exceptions import InvalidSignatureError, PyJWTError

from xmppws.auth.keys import EDDSA, ES256, HS256, RS256, Key
from xmppws.config import Jwt
from xmppws.core.auth import Identity, InvalidToken
from xmppws.jid import InvalidJid, Jid, prepare_resource

MAX_DEVICE: Final = 256
"""Characters of a device's name, so that a random part fits behind it."""
_MAX_ROOM: Final = 1023
# Seconds since 1970: later than anybody will be here, and exact as a float.
_FOREVER: Final = 2**53


class UnknownKey(InvalidToken):
    """A token is of a key that is not there, or not yet."""


class _Hs256(HMACAlgorithm):
    """HS256 with the secrets that the configuration allows, without a warning of the library's."""

    def check_key_length(self, key: bytes) -> None:
        """Leave it to `config.secrets`."""


def _signatures() -> PyJWS:
    known = get_default_algorithms()
    signatures = PyJWS(algorithms=())
    signatures.register_algorithm(HS256[0], _Hs256(HMACAlgorithm.SHA256))
    for names in (RS256, ES256, EDDSA):
        for name in names:
            signatures.register_algorithm(name, known[names[0]])
    return signatures


_SIGNATURES: Final = _signatures()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a host demands of the claims, and where it finds what it wants to know."""

    domain: str
    options: Jwt

    @property
    def audience(self) -> str:
        """Whom a token has to be for, where it says so."""
        return self.options.audience or self.domain


def opened(token: str, keys: Sequence[Key]) -> bytes:
    """Return the payload of a token that one of the keys has signed; raise `InvalidToken`."""
    for key in _candidates(token, keys):
        try:
            payload: bytes = _SIGNATURES.decode_complete(token, key.verifies, algorithms=key.names)["payload"]
            return payload
        except InvalidSignatureError:
            continue
        except PyJWTError:
            raise InvalidToken("it is no signed token") from None
    raise InvalidToken("its signature is wrong")


def identify(payload: bytes, rules: Rules, now: float) -> Identity:
    """Check the claims at a time, in seconds since 1970, and return whose they are; raise `InvalidToken`."""
    try:
        claims = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidToken("its claims are no JSON") from None
    if not isinstance(claims, dict):
        raise InvalidToken("its claims are no JSON object")
    expires = _check_times(claims, rules.options.leeway, now)
    if rules.options.issuer and claims.get("iss") != rules.options.issuer:
        raise InvalidToken("its issuer (iss) is another one than jwt.issuer")
    _check_audience(claims, rules)
    return Identity(
        _username(claims, rules), expires, _device(claims, rules.options), _room(claims, rules.options), claims
    )


def mint(key: Key, claims: Mapping[str, Any]) -> str:
    """Make a token with a key that can sign."""
    assert key.signs is not None
    return _SIGNATURES.encode(msgspec.json.encode(claims), key.signs, algorithm=key.names[0])


def _candidates(token: str, keys: Sequence[Key]) -> list[Key]:
    try:
        header = _SIGNATURES.get_unverified_header(token)
    except (PyJWTError, UnicodeError):
        raise InvalidToken("it is no signed token") from None
    # Only compared: which algorithm a key is for, the key says.
    found = [key for key in keys if header.get("alg") in key.names]
    kid = header.get("kid", "")
    found = [key for key in found if not kid or not key.kid or key.kid == kid]
    if not found:
        raise UnknownKey("no key here has its algorithm (alg) and its name (kid)")
    return found


def _check_times(claims: dict[str, Any], leeway: float, now: float) -> float:
    """Return until when the token is good."""
    expires, begins = _time(claims, "exp"), _time(claims, "nbf")
    if expires is None:
        raise InvalidToken("it does not say when it expires (exp)")
    if expires + leeway <= now:
        raise InvalidToken("it has expired (exp)")
    if begins is not None and begins - leeway > now:
        raise InvalidToken("it is not valid yet (nbf)")
    return expires + leeway


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # True is an int as well.
    if type(value) not in (int, float):
        raise InvalidToken(f"its time {name} is no number")
    return float(max(min(value, _FOREVER), 0))


def _check_audience(claims: dict[str, Any], rules: Rules) -> None:
    audience = claims.get("aud")
    if audience is None and not rules.options.audience:
        return
    # RFC 7519 section 4.1.3: whoever is not in it must refuse the token.
    if rules.audience not in (audience if isinstance(audience, list) else [audience]):
        raise InvalidToken("it is for another audience (aud)")


def _username(claims: dict[str, Any], rules: Rules) -> str:
    name = rules.options.username_claim
    value = claims.get(name)
    # Users of databases have numbers.
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not text:
        raise InvalidToken(f"it names no user: the claim jwt.username_claim, {name!a}, is no text")
    try:
        jid = Jid.parse(text) if "@" in text else Jid.make(text, rules.domain)
    except InvalidJid:
        raise InvalidToken("its user can be no localpart of an address") from None
    if not jid.local or not jid.is_bare:
        raise InvalidToken("its user can be no localpart of an address")
    if jid.domain != rules.domain:
        raise InvalidToken("its user belongs to another host")
    return jid.local


def _device(claims: dict[str, Any], options: Jwt) -> str:
    text = _text(claims, options.device_claim, MAX_DEVICE)
    try:
        return prepare_resource(text) if text else ""
    except InvalidJid:
        raise InvalidToken("its device (jwt.device_claim) can be no resource") from None


def _room(claims: dict[str, Any], options: Jwt) -> str:
    return _text(claims, options.room_claim, _MAX_ROOM)


def _text(claims: dict[str, Any], name: str, limit: int) -> str:
    value = claims.get(name, "") if name else ""
    if not isinstance(value, str) or len(value) > limit:
        raise InvalidToken(f"its claim {name!a} is no text of {limit} characters at most")
    return value
