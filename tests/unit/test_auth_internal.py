import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import packages_distributions

import pytest

from xmppws.auth.account import HASH_NAMES
from xmppws.auth.internal import InternalProvider, prepare_password
from xmppws.core.auth import Accounts, InvalidPassword
from xmppws.core.stores import AlreadyExists, Stores
from xmppws.storage.memory import MemoryStorage
from xmppws.stream.sasl.keys import derive


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def stores() -> Stores:
    return MemoryStorage().for_host("example.com")


@pytest.fixture
def provider(stores: Stores, executor: ThreadPoolExecutor) -> InternalProvider:
    return InternalProvider("example.com", stores, executor)


@pytest.mark.parametrize(
    ("hash_name", "salt", "auth_message", "proof", "signature"),
    [
        (  # RFC 5802 section 5
            "sha1",
            "QSXCR+Q6sek8bf92",
            "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (  # RFC 7677 section 3
            "sha256",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_derived_keys_fit_the_exchange_of_the_rfc(
    hash_name: str, salt: str, auth_message: str, proof: str, signature: str
) -> None:
    keys = derive("pencil", base64.b64decode(salt), 4096, hash_name)
    client_signature = hmac.digest(keys.stored_key, auth_message.encode(), hash_name)
    client_key = bytes(a ^ b for a, b in zip(client_signature, base64.b64decode(proof), strict=True))
    assert hashlib.new(hash_name, client_key).digest() == keys.stored_key
    assert hmac.digest(keys.server_key, auth_message.encode(), hash_name) == base64.b64decode(signature)


async def test_account_lives_from_create_to_delete(provider: InternalProvider) -> None:
    assert isinstance(provider, Accounts)
    await provider.create("alice", "secret")
    assert await provider.exists("alice") and not await provider.exists("bob")
    assert await provider.verify_password("alice", "secret")
    assert not await provider.verify_password("alice", "Secret")
    assert await provider.set_password("alice", "other") is True
    assert await provider.verify_password("alice", "other")
    assert not await provider.verify_password("alice", "secret")
    assert await provider.list() == ["alice"]
    assert await provider.delete("alice") is True
    assert await provider.delete("alice") is False
    assert not await provider.verify_password("alice", "other")


async def test_set_password_creates_nobody(provider: InternalProvider) -> None:
    assert await provider.set_password("alice", "secret") is False
    assert await provider.list() == []


async def test_create_many_is_all_or_nothing(provider: InternalProvider) -> None:
    await provider.create_many({"alice": "a", "bob": "b"})
    with pytest.raises(AlreadyExists, match="alice"):
        await provider.create_many({"alice": "x", "carol": "c"})
    with pytest.raises(InvalidPassword, match="the password for 'dave' is refused: control characters"):
        await provider.create_many({"carol": "c", "dave": "d\x07"})
    assert await provider.list() == ["alice", "bob"]
    assert await provider.verify_password("alice", "a")


async def test_keys_serve_every_mechanism_on_offer(provider: InternalProvider) -> None:
    await provider.create("alice", "secret")
    names = {f"SCRAM-{name.upper().replace('SHA', 'SHA-')}" for name in HASH_NAMES}
    assert provider.mechanisms == names | {"PLAIN"}
    for name in HASH_NAMES:
        keys = await provider.scram_keys("alice", name)
        assert keys is not None
        assert keys == derive("secret", keys.salt, keys.iterations, name)


async def test_same_password_has_other_keys_for_another_user(provider: InternalProvider) -> None:
    await provider.create_many({"alice": "secret", "bob": "secret"})
    alice, bob = await provider.scram_keys("alice", "sha256"), await provider.scram_keys("bob", "sha256")
    assert alice and bob and alice.salt != bob.salt and alice.stored_key != bob.stored_key


@pytest.mark.parametrize(
    ("typed", "sent"), [("Ⅸ", "IX"), ("a\u00a0b", "a b"), ("pass\u00adword", "password"), ("e\u0301", "é")]
)
async def test_passwords_are_compared_prepared(provider: InternalProvider, typed: str, sent: str) -> None:
    await provider.create("alice", typed)
    assert await provider.verify_password("alice", sent)


@pytest.mark.parametrize("password", ["", "\u00ad", "\x00", "a\nb", "\ud800", "😀", "\u06271"])
async def test_impossible_passwords_are_refused_without_being_told(provider: InternalProvider, password: str) -> None:
    with pytest.raises(InvalidPassword) as caught:
        prepare_password(password)
    assert not password or password not in str(caught.value)
    with pytest.raises(InvalidPassword, match="alice"):
        await provider.create("alice", password)
    await provider.create("bob", "secret")
    assert not await provider.verify_password("bob", password)


async def test_unknown_user_looks_like_a_known_one(provider: InternalProvider, executor: ThreadPoolExecutor) -> None:
    await provider.create("alice", "secret")
    for name in HASH_NAMES:
        real, fake = await provider.scram_keys("alice", name), await provider.fake_keys("bob", name)
        assert await provider.scram_keys("bob", name) is None
        assert real is not None
        assert {key: _shape(value) for key, value in asdict(real).items()} == {
            key: _shape(value) for key, value in asdict(fake).items()
        }


async def test_salts_of_known_and_unknown_users_differ_by_hash(provider: InternalProvider) -> None:
    await provider.create("alice", "secret")
    real = [await provider.scram_keys("alice", name) for name in HASH_NAMES]
    fake = [await provider.fake_keys("bob", name) for name in HASH_NAMES]
    assert len({keys.salt for keys in real if keys}) == len({keys.salt for keys in fake}) == len(HASH_NAMES)


def _shape(value: bytes | int) -> int:
    return len(value) if isinstance(value, bytes) else value


async def test_unknown_user_keeps_the_same_salt_after_a_restart(stores: Stores, executor: ThreadPoolExecutor) -> None:
    first = await InternalProvider("example.com", stores, executor).fake_keys("bob", "sha256")
    assert first == await InternalProvider("example.com", stores, executor).fake_keys("bob", "sha256")
    assert first.salt != (await InternalProvider("example.com", stores, executor).fake_keys("carol", "sha256")).salt
    other_host = InternalProvider("example.com", MemoryStorage().for_host("example.com"), executor)
    assert first.salt != (await other_host.fake_keys("bob", "sha256")).salt


async def test_checking_an_unknown_user_derives_as_often(stores: Stores) -> None:
    class Counting(ThreadPoolExecutor):
        runs = 0

        def submit(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            self.runs += 1
            return super().submit(*args, **kwargs)

    with Counting(1) as executor:
        provider = InternalProvider("example.com", stores, executor)
        await provider.create("alice", "secret")
        runs = []
        for username, password in [("alice", "secret"), ("bob", "secret"), ("alice", "\x00"), ("bob", "")]:
            before = executor.runs
            await provider.verify_password(username, password)
            runs.append(executor.runs - before)
    assert runs == [1, 1, 1, 1]


# --- accounts that came as hashes ---

SCRAM_TOO = frozenset({"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"})
PLAIN_ONLY = frozenset({"PLAIN"})


def ssha(password: str) -> str:
    """Hash a password as LDAP servers do."""
    digest = hashlib.sha1(password.encode() + b"salt").digest()
    return "{SSHA}" + base64.b64encode(digest + b"salt").decode()


async def test_hash_becomes_keys_with_the_first_password(
    provider: InternalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert provider.mechanisms == SCRAM_TOO
    await provider.create_hashed({"alice": ssha("secret")})
    assert provider.mechanisms == PLAIN_ONLY
    assert await provider.exists("alice") and await provider.list() == ["alice"]
    assert await provider.scram_keys("alice", "sha256") is None and await provider.lacks_keys("alice", "sha256")
    assert not await provider.verify_password("alice", "Secret")
    assert provider.mechanisms == PLAIN_ONLY
    assert await provider.verify_password("alice", "secret")
    assert provider.mechanisms == SCRAM_TOO
    assert await provider.scram_keys("alice", "sha256") and not await provider.lacks_keys("alice", "sha256")
    assert await provider.verify_password("alice", "secret")
    assert not await provider.verify_password("alice", "Secret")
    assert await provider.list() == ["alice"]
    upgrades = [record for record in caplog.records if "has keys" in record.msg or record.msg == "%s"]
    assert [(record.name, getattr(record, "user", "")) for record in upgrades] == [
        ("xmppws.auth", "alice"),
        ("xmppws.audit", "alice"),
    ]


async def test_scram_is_back_with_the_last_of_them(provider: InternalProvider) -> None:
    names = ("alice", "bob", "carol", "dave")
    await provider.create_hashed({name: ssha(name) for name in names})
    assert await provider.verify_password("alice", "alice")
    assert await provider.delete("bob") and not await provider.exists("bob")
    assert await provider.set_password("carol", "other")
    assert await provider.verify_password("carol", "other") and not await provider.verify_password("carol", "carol")
    assert provider.mechanisms == PLAIN_ONLY
    assert await provider.verify_password("dave", "dave")
    assert provider.mechanisms == SCRAM_TOO


async def test_two_log_ins_at_once_upgrade_once(provider: InternalProvider) -> None:
    await provider.create_hashed({"alice": ssha("a"), "bob": ssha("b")})
    assert await asyncio.gather(*[provider.verify_password("alice", "a") for _ in range(3)]) == [True] * 3
    assert provider.mechanisms == PLAIN_ONLY
    assert await provider.verify_password("alice", "a")


async def test_what_another_process_adds_is_seen_on_refresh(stores: Stores, executor: ThreadPoolExecutor) -> None:
    server, command = (InternalProvider("example.com", stores, executor) for _ in range(2))
    await command.create_hashed({"alice": ssha("a")})
    assert server.mechanisms == SCRAM_TOO
    await server.refresh()
    assert server.mechanisms == PLAIN_ONLY
    await command.create_hashed({"bob": ssha("b")})
    assert await server.verify_password("alice", "a")
    assert server.mechanisms == PLAIN_ONLY  # It looked again, before it believed that this was the last one.
    await command.delete("bob")
    await server.refresh()
    assert server.mechanisms == SCRAM_TOO


async def test_failed_scram_lets_the_server_see_too(stores: Stores, executor: ThreadPoolExecutor) -> None:
    server, command = (InternalProvider("example.com", stores, executor) for _ in range(2))
    await command.create_hashed({"alice": ssha("a")})
    assert not await server.lacks_keys("bob", "sha1")
    assert server.mechanisms == SCRAM_TOO
    assert await server.lacks_keys("alice", "sha1")
    assert server.mechanisms == PLAIN_ONLY


async def test_hashes_go_in_all_or_none(provider: InternalProvider) -> None:
    await provider.create("alice", "a")
    await provider.create_hashed({"bob": ssha("b")})
    for taken in ("alice", "bob"):
        with pytest.raises(AlreadyExists, match=taken):
            await provider.create_hashed({taken: ssha("x"), "carol": ssha("c")})
        with pytest.raises(AlreadyExists, match=taken):
            await provider.create_many({taken: "x", "carol": "c"})
    with pytest.raises(InvalidPassword, match="no kind"):
        await provider.create_hashed({"carol": ssha("c"), "dave": "secret"})
    assert await provider.list() == ["alice", "bob"]


@pytest.mark.parametrize("hashed", ["Ⅸ", "IX"])
async def test_hash_may_be_of_the_password_as_typed_or_prepared(provider: InternalProvider, hashed: str) -> None:
    await provider.create_hashed({"alice": ssha(hashed)})
    assert await provider.verify_password("alice", "Ⅸ")
    assert await provider.verify_password("alice", "IX")


async def test_right_password_that_scram_cannot_have_is_told(
    provider: InternalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    await provider.create_hashed({"alice": ssha("😀")})
    assert not await provider.verify_password("alice", "☹")
    assert not caplog.records
    assert not await provider.verify_password("alice", "😀")
    assert "user=alice: the password is right" in caplog.text and "😀" not in caplog.text
    assert provider.mechanisms == PLAIN_ONLY


def test_passlib_is_its_maintained_continuation() -> None:
    assert set(packages_distributions()["passlib"]) == {"libpass"}
