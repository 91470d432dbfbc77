"""The provider of those who show tokens: its keys, where it fetches them, and whose account exists."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import jose
from issuer import issuing
from jose import NOW, SECRET, claims, hs256, signer, token
from xmppws.auth import jwks
from xmppws.auth.jwks import JwkSet
from xmppws.auth.jwt import JwtProvider, own_keys, signing_key
from xmppws.auth.tokens import UnknownKey
from xmppws.config import Jwt
from xmppws.core.auth import Background, InvalidToken, ProviderError, Tokens, Unavailable
from xmppws.storage.memory import MemoryStorage

OLD, NEW = jose.ec_key(), jose.ed_key()
OLD_TOKEN = token(claims(), signer(OLD), "ES256", kid="old")
NEW_TOKEN = token(claims(), signer(NEW), "EdDSA", kid="new")
OLD_SET = jose.jwks(jose.jwk(OLD, kid="old"))
NEW_SET = jose.jwks(jose.jwk(NEW, kid="new"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def provider(clock: Clock | None = None, **options: Any) -> JwtProvider:
    made = JwtProvider("example.com", Jwt(**options), MemoryStorage().for_host("example.com"), lambda: NOW)
    if clock is not None and made._jwks is not None:
        made._jwks._clock = clock
    assert isinstance(made, Tokens) and isinstance(made, Background)
    return made


async def test_an_account_exists_from_the_first_token_on() -> None:
    made = provider(secret=SECRET)
    await made.refresh()
    with pytest.raises(InvalidToken):
        await made.verify_token(token(claims(), hs256("x" * 32)))
    assert not await made.exists("alice")
    for _ in range(2):
        assert (await made.verify_token(token(claims(sub="Alice"), hs256()))).username == "alice"
        assert await made.exists("alice") and not await made.exists("bob")


async def test_a_key_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(jose.public_pem(OLD))
    made = provider(key=str(file))
    await made.refresh()
    assert await made.verify_token(OLD_TOKEN)
    file.unlink()
    await made.refresh()
    assert [record.getMessage() for record in caplog.records] == [
        f"jwt.key: {file} cannot be read: No such file or directory; the key from before stays"
    ]
    assert await made.verify_token(OLD_TOKEN)
    file.write_bytes(jose.public_pem(NEW))
    await made.refresh()
    assert await made.verify_token(NEW_TOKEN)
    with pytest.raises(UnknownKey):
        await made.verify_token(OLD_TOKEN)


async def test_a_key_that_cannot_be_read_at_first(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="cannot be read: No such file"):
        await provider(key=str(tmp_path / "key.pem")).refresh()
    (tmp_path / "key.pem").write_text("key")
    with pytest.raises(ProviderError, match=r"key\.pem must hold a public or a private key in PEM"):
        await provider(key=str(tmp_path / "key.pem")).refresh()


def test_what_makes_tokens(tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(jose.private_pem(OLD))
    public.write_bytes(jose.public_pem(OLD))
    assert signing_key(Jwt(secret=SECRET)).names == ("HS256",)
    assert signing_key(Jwt(key=str(private))).names == ("ES256",)
    assert len(own_keys(Jwt(secret=SECRET, key=str(public)))) == 2
    for options in (Jwt(key=str(public)), Jwt(jwks_url="https://example.com/")):
        with pytest.raises(ProviderError, match="a public key verifies tokens and makes none"):
            signing_key(options)


# --- JWK sets ---


async def test_keys_change(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    async with issuing(OLD_SET) as issuer:
        made = provider(clock, jwks_url=issuer.url)
        await made.refresh()
        assert await made.verify_token(OLD_TOKEN)
        issuer.body = NEW_SET
        # Just fetched, so not again for whoever comes with any name of a key.
        with pytest.raises(UnknownKey):
            await made.verify_token(NEW_TOKEN)
        assert issuer.fetches == 1
        clock.now += jwks.COOL_DOWN
        found = await asyncio.gather(*[made.verify_token(NEW_TOKEN) for _ in range(5)])
        assert len(found) == 5 and issuer.fetches == 2
        with pytest.raises(UnknownKey):
            await made.verify_token(OLD_TOKEN)
        await made.stop()
    assert issuer.fetches == 2 and caplog.records == []


async def test_what_cannot_be_fetched_leaves_the_keys_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "xmppws")
    async with issuing(OLD_SET) as issuer:
        made = provider(jwks_url=issuer.url)
        await made.refresh()
        issuer.status = 500
        await made.refresh()
        issuer.status, issuer.body = 200, b"<html>"
        await made.refresh()
        assert await made.verify_token(OLD_TOKEN)
        issuer.body = NEW_SET
        await made.refresh()
        assert await made.verify_token(NEW_TOKEN)
        shown = issuer.url.partition("?")[0]
    await made.refresh()
    assert await made.verify_token(NEW_TOKEN)
    assert [record.getMessage() for record in caplog.records] == [
        f"the JWK set {shown} stays as it was: it is answered with 500 instead of 200",
        f"the JWK set {shown} is here again",
        f"the JWK set {shown} stays as it was: it cannot be reached: Connection refused",
    ]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (302, OLD_SET, "is answered with 302"),
        (200, b"x" * (jwks.MAX_SIZE + 1), f"is larger than {jwks.MAX_SIZE} bytes"),
        (200, b"{}", "is no JWK set"),
    ],
)
async def test_what_is_no_set(status: int, body: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    async with issuing(body) as issuer:
        issuer.status, issuer.headers = status, {"Location": issuer.url}
        assert not await JwkSet(issuer.url, 60, clock=Clock()).fetch()
    (record,) = caplog.records
    assert words in record.getMessage() and "private" not in caplog.text


async def test_what_is_packed_is_not_unpacked() -> None:
    async with issuing(OLD_SET) as issuer:
        issuer.headers = {"Content-Encoding": "identity"}
        assert await JwkSet(issuer.url, 60, clock=Clock()).fetch()
        issuer.headers = {"Content-Encoding": "gzip"}
        # A client that unpacks would fail before it sees the bytes.
        assert await jwks._get(issuer.url) == OLD_SET


async def test_what_takes_too_long(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT", 0.05)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        assert not await JwkSet(f"http://127.0.0.1:{port}/", 60, clock=Clock()).fetch()
    assert "does not come within" in caplog.text


async def test_nobody_can_tell_before_there_are_keys() -> None:
    async with issuing() as issuer:
        made = provider(Clock(), secret=SECRET, jwks_url=issuer.url)
        await made.refresh()
        with pytest.raises(Unavailable):
            await made.verify_token(OLD_TOKEN)
        # What needs no set goes on.
        assert await made.verify_token(token(claims(), hs256()))


async def test_keys_are_fetched_from_time_to_time() -> None:
    async with issuing(OLD_SET) as issuer:
        made = provider(jwks_url=issuer.url, jwks_refresh=0.01)
        await made.refresh()
        issuer.body = NEW_SET
        made.start()
        await issuer.fetched(3)
        await made.stop()
        assert await made.verify_token(NEW_TOKEN)
