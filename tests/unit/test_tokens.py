"""JSON Web Tokens: whom they let in, and every way in which they do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

import jose
from jose import NOW, SECRET, claims, hs256, signer, token
from xmppws.auth import keys, tokens
from xmppws.auth.keys import EDDSA, ES256, RS256, InvalidKey, Key
from xmppws.auth.tokens import Rules, UnknownKey
from xmppws.config import Jwt
from xmppws.core.auth import Identity, InvalidToken

RSA, EC, ED = jose.rsa_key(), jose.ec_key(), jose.ed_key()
OWN = (keys.from_secret(SECRET),)
PEM: dict[str, jose.PrivateKey] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def rules(**options: Any) -> Rules:
    return Rules("example.com", Jwt(**options))


def identify(text: str, of: tuple[Key, ...] = OWN, now: float = NOW, **options: Any) -> Identity:
    return tokens.identify(tokens.opened(text, of), rules(**options), now)


def refusal(text: str, of: tuple[Key, ...] = OWN, now: float = NOW, **options: Any) -> str:
    with pytest.raises(InvalidToken) as raised:
        identify(text, of, now, **options)
    # Nothing that its bearer chose.
    assert not any(len(part) > 8 and part in str(raised.value) for part in text.split("."))
    return str(raised.value)


# --- signatures ---


def test_a_secret_lets_in() -> None:
    payload = claims(device="phone", room="lobby", more=[1])
    assert identify(token(payload, hs256())) == Identity("alice", NOW + 70, "phone", "lobby", payload)


@pytest.mark.parametrize("alg", PEM)
@pytest.mark.parametrize("private", [True, False])
def test_a_key_in_pem_lets_in(alg: str, private: bool) -> None:
    pem = jose.private_pem(PEM[alg]) if private else jose.public_pem(PEM[alg])
    key = keys.from_pem(pem)
    assert identify(token(claims(), signer(PEM[alg]), alg), (key,)).username == "alice"
    assert (key.signs is not None) is private
    assert "PRIVATE" not in repr(key) and SECRET not in repr(OWN)


@pytest.mark.parametrize("alg", PEM)
def test_a_key_of_a_set_lets_in(alg: str) -> None:
    of = keys.from_jwks(jose.jwks(*(jose.jwk(key, kid=name, use="sig", alg=name) for name, key in PEM.items())))
    for header in ({"kid": alg}, {}):
        assert identify(token(claims(), signer(PEM[alg]), alg, **header), of).username == "alice"


def test_ed25519_has_a_new_name_too() -> None:
    assert identify(token(claims(), signer(ED), "Ed25519"), (keys.from_pem(jose.public_pem(ED)),)).username == "alice"


def test_all_keys_without_a_name_are_tried() -> None:
    of = (keys.from_secret("x" * 32), *OWN)
    assert identify(token(claims(), hs256(), kid="any"), of).username == "alice"


@pytest.mark.parametrize("alg", ["none", "None", "", None, 1, ["HS256"], "HS512", "RS256", "hs256", "PS256"])
def test_a_key_is_for_one_algorithm(alg: object) -> None:
    for sign in (hs256(), lambda data: b""):
        with pytest.raises(UnknownKey):
            identify(token(claims(), sign, alg))


@pytest.mark.parametrize("alg", PEM)
def test_a_public_key_is_no_secret(alg: str) -> None:
    key = keys.from_pem(jose.public_pem(PEM[alg]))
    for secret in (
        jose.public_pem(PEM[alg]),
        jose.public_pem(PEM[alg]).strip(),
        json.dumps(jose.jwk(PEM[alg])).encode(),
    ):
        with pytest.raises(UnknownKey):
            identify(token(claims(), hs256(secret)), (key,))
        # What the header calls it changes nothing about how it is checked.
        assert refusal(token(claims(), hs256(secret), alg), (key,)) == "its signature is wrong"


def test_a_key_that_the_token_brings_is_not_used() -> None:
    own = token(claims(), signer(RSA), "RS256", jwk=jose.jwk(RSA), jku="https://example.net/", x5c=["AA"])
    assert refusal(own, (keys.from_pem(jose.public_pem(jose.rsa_key())),)) == "its signature is wrong"


@pytest.mark.parametrize("alg", PEM)
def test_the_wrong_key(alg: str) -> None:
    others: dict[str, jose.PrivateKey] = {"RS256": jose.rsa_key(), "ES256": jose.ec_key(), "EdDSA": jose.ed_key()}
    assert refusal(token(claims(), signer(others[alg]), alg), (keys.from_pem(jose.public_pem(PEM[alg])),)) == (
        "its signature is wrong"
    )


def test_the_wrong_secret() -> None:
    assert refusal(token(claims(), hs256("x" * 32))) == "its signature is wrong"
    assert refusal(token(claims(), lambda data: b"")) == "its signature is wrong"


def test_a_signature_is_for_its_own_claims() -> None:
    header, _, signature = token(claims(), hs256()).split(".")
    payload = token(claims(sub="admin"), hs256()).split(".")[1]
    assert refusal(f"{header}.{payload}.{signature}") == "its signature is wrong"


def test_a_key_has_one_name() -> None:
    of = keys.from_jwks(jose.jwks(jose.jwk(RSA, kid="new")))
    assert identify(token(claims(), signer(RSA), "RS256", kid="new"), of).username == "alice"
    for kid in ("old", "new ", "NEW"):
        with pytest.raises(UnknownKey):
            identify(token(claims(), signer(RSA), "RS256", kid=kid), of)


DEEP = "[" * 9000
NO_TOKENS = [
    "",
    "alice",
    ".",
    "..",
    "a.b.c",
    "a.b.c.d.e",
    "☃.☃.☃",
    f"{jose.base64url(b'[]')}.e30.",
    f"{jose.base64url(DEEP.encode())}.e30.",
    f"{jose.base64url(b'nul')}.e30.",
    token(claims(), hs256(), kid=1),
    token(claims(), hs256(), crit=["exp"], exp=1),
    token(claims(), hs256(), crit=[]),
    token(claims(), hs256(), b64=False, crit=["b64"]),
    token(claims(), hs256()) + "!",
    " " + token(claims(), hs256()),
    token(claims(), hs256()) + ".x",
]


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_is_no_token(text: str) -> None:
    assert refusal(text) == "it is no signed token"


# --- claims ---


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"exp": NaN}', b'{"exp":1e999}', DEEP.encode()])
def test_claims_are_json(payload: bytes) -> None:
    assert refusal(token(payload, hs256())) == "its claims are no JSON"


@pytest.mark.parametrize("payload", [b"[]", b'"x"', b"1", b"null"])
def test_claims_are_an_object(payload: bytes) -> None:
    assert refusal(token(payload, hs256())) == "its claims are no JSON object"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": None}, "it does not say when it expires (exp)"),
        ({"exp": NOW - 10}, "it has expired (exp)"),
        ({"exp": 0}, "it has expired (exp)"),
        ({"exp": -(10**400)}, "it has expired (exp)"),
        ({"exp": -(10**30)}, "it has expired (exp)"),
        ({"exp": True}, "its time exp is no number"),
        ({"exp": str(NOW + 60)}, "its time exp is no number"),
        ({"nbf": NOW + 11}, "it is not valid yet (nbf)"),
        ({"nbf": "now"}, "its time nbf is no number"),
    ],
)
def test_times(changes: dict[str, Any], words: str) -> None:
    assert refusal(token(claims(**changes), hs256())) == words


def test_clocks_may_be_a_little_wrong() -> None:
    assert identify(token(claims(exp=NOW - 9, nbf=NOW + 10), hs256())).expires == NOW + 1
    assert refusal(token(claims(exp=NOW - 9), hs256()), leeway=0) == "it has expired (exp)"
    assert identify(token(claims(exp=10**30), hs256())).expires > NOW * 1000


def test_issuer() -> None:
    ours: dict[str, Any] = {"issuer": "https://example.com"}
    assert identify(token(claims(iss="https://example.com"), hs256()), **ours)
    assert identify(token(claims(iss="anybody"), hs256()))
    for other in ("https://example.org", None, 1, ["https://example.com"]):
        assert refusal(token(claims(iss=other), hs256()), **ours).startswith("its issuer (iss)")


@pytest.mark.parametrize(
    ("audience", "right", "wrong"),
    [
        ("", [None, "example.com", ["a", "example.com"]], ["", "example.org", [], ["a"], 1, {"example.com": 1}]),
        ("chat", ["chat", ["chat", "mail"]], [None, "example.com", "chats", ["mail"]]),
    ],
)
def test_audience(audience: str, right: list[Any], wrong: list[Any]) -> None:
    for aud in right:
        assert identify(token(claims(aud=aud), hs256()), audience=audience)
    for aud in wrong:
        assert refusal(token(claims(aud=aud), hs256()), audience=audience) == "it is for another audience (aud)"


@pytest.mark.parametrize(
    ("user", "username"),
    [("alice", "alice"), ("Alice", "alice"), ("ALICE@Example.COM", "alice"), (17, "17"), ("ünï", "ünï")],
)
def test_usernames_are_prepared(user: object, username: str) -> None:
    assert identify(token(claims(sub=user), hs256())).username == username


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (None, "it names no user"),
        ("", "it names no user"),
        (True, "it names no user"),
        (1.5, "it names no user"),
        (["alice"], "it names no user"),
        ("a b", "its user can be no localpart"),
        ("auth0|a/b", "its user can be no localpart"),
        ("a" * 1024, "its user can be no localpart"),
        ("@example.com", "its user can be no localpart"),
        ("a@b@example.com", "its user can be no localpart"),
        ("alice@example.com/phone", "its user can be no localpart"),
        ("alice@example.org", "its user belongs to another host"),
        ("alice@chat.example.com", "its user belongs to another host"),
    ],
)
def test_what_is_no_username(user: object, words: str) -> None:
    assert refusal(token(claims(sub=user), hs256())).startswith(words)


def test_claims_have_the_names_that_the_host_gives_them() -> None:
    named: dict[str, Any] = {"username_claim": "user_id", "device_claim": "dev", "room_claim": ""}
    found = identify(token(claims(sub="bob", user_id=3, dev="tv", device="phone", room="x"), hs256()), **named)
    assert (found.username, found.device, found.room) == ("3", "tv", "")


@pytest.mark.parametrize("changes", [{"device": 1}, {"device": "d" * 257}, {"room": ["x"]}, {"room": "r" * 1024}])
def test_device_and_room_are_texts(changes: dict[str, Any]) -> None:
    assert refusal(token(claims(**changes), hs256())).startswith("its claim ")


def test_a_device_is_a_resource() -> None:
    assert refusal(token(claims(device="\u200b"), hs256())).startswith("its device")


# --- keys ---


@pytest.mark.parametrize("data", [b"", b"secret", b"-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_pem(data: bytes) -> None:
    with pytest.raises(InvalidKey, match="in PEM"):
        keys.from_pem(data)


def test_keys_that_are_too_weak_or_unknown() -> None:
    for key in (jose.rsa_key(1024), jose.other_curve_key()):
        for pem in (jose.private_pem(key), jose.public_pem(key)):
            with pytest.raises(InvalidKey, match="must be of RSA"):
                keys.from_pem(pem)


def test_a_private_key_with_a_password() -> None:
    with pytest.raises(InvalidKey, match="must have no password"):
        keys.from_pem(jose.private_pem(EC, b"x"))


def test_a_set_keeps_what_can_be_used() -> None:
    useless: list[Any] = [
        "x",
        {},
        {"kty": "oct", "k": jose.base64url(SECRET.encode())},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        jose.jwk(RSA, use="enc"),
        jose.jwk(RSA, key_ops=["encrypt"]),
        jose.jwk(RSA, key_ops=1),
        jose.jwk(RSA, alg="RS512"),
        jose.jwk(RSA, alg="HS256"),
        jose.jwk(RSA, kid=1),
        jose.jwk(jose.rsa_key(1024)),
        jose.jwk(jose.other_curve_key()),
        {**jose.jwk(EC), "x": "!"},
    ]
    found = keys.from_jwks(jose.jwks(*useless, jose.jwk(RSA, d="AA"), jose.jwk(EC, kid="e"), jose.jwk(ED)))
    assert [(key.names, key.kid, key.signs) for key in found] == [
        (RS256, "", None),
        (ES256, "e", None),
        (EDDSA, "", None),
    ]
    with pytest.raises(InvalidKey, match="no key for"):
        keys.from_jwks(jose.jwks(*useless))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"keys":1}', b"<html>", b'{"keys":' + DEEP.encode()])
def test_what_is_no_set(data: bytes) -> None:
    with pytest.raises(InvalidKey, match="is no JWK set"):
        keys.from_jwks(data)


def test_a_set_is_not_endless() -> None:
    assert len(keys.from_jwks(jose.jwks(*[jose.jwk(ED)] * 100))) == keys.MAX_KEYS


@pytest.mark.parametrize("alg", ["HS256", *PEM])
def test_what_is_made_lets_in(alg: str) -> None:
    key = keys.from_pem(jose.private_pem(PEM[alg])) if alg in PEM else OWN[0]
    assert identify(tokens.mint(key, claims()), (key,)).username == "alice"


def test_a_weak_secret_that_is_allowed_works_without_a_warning() -> None:
    key = keys.from_secret("secret")
    assert identify(tokens.mint(key, claims()), (key,)).username == "alice"
