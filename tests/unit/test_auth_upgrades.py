"""Accounts that were brought in with SCRAM keys for one hash, and how they get the others."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from brought_in import keys
from xmppws.auth.account import Account
from xmppws.auth.internal import InternalProvider
from xmppws.auth.survey import OURS, Shape
from xmppws.core.auth import InvalidPassword, Upgrades
from xmppws.core.stores import AlreadyExists, Stores
from xmppws.storage.memory import MemoryStorage
from xmppws.stream.sasl.keys import ITERATIONS, ScramKeys, derive
from xmppws.stream.sasl.scram import HASHES

ALL = frozenset({"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"})
SHA_1 = frozenset({"SCRAM-SHA-1", "PLAIN"})
LACKING = frozenset({"SCRAM-SHA-256", "SCRAM-SHA-512"})


@pytest.fixture
def stores() -> Stores:
    return MemoryStorage().for_host("example.com")


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def provider(stores: Stores, executor: ThreadPoolExecutor) -> InternalProvider:
    return InternalProvider("example.com", stores, executor)


def given(password: str, hash_name: str) -> ScramKeys:
    return derive(password, b"0123456789012345", ITERATIONS, hash_name)


async def proven(provider: InternalProvider, username: str, hash_name: str = "sha1") -> ScramKeys:
    found = await provider.scram_keys(username, hash_name)
    assert found is not None
    return found


async def test_offered_is_what_all_accounts_have_keys_for(provider: InternalProvider) -> None:
    assert isinstance(provider, Upgrades)
    assert (provider.mechanisms, provider.upgrades) == (ALL, frozenset())
    await provider.create("bob", "b")
    await provider.create_hashed({"alice": keys("secret")})
    assert (provider.mechanisms, provider.upgrades) == (SHA_1, LACKING)
    assert await provider.lacking("alice") == LACKING
    assert await provider.lacking("bob") == await provider.lacking("nobody") == frozenset()
    assert await provider.scram_keys("alice", "sha1") is not None
    assert await provider.scram_keys("alice", "sha256") is None
    assert await provider.exists("alice") and await provider.list() == ["alice", "bob"]
    await provider.create_hashed({"carol": keys("c", "SCRAM-SHA-256")})
    assert (provider.mechanisms, provider.upgrades) == (frozenset({"PLAIN"}), frozenset(HASHES))
    assert await provider.delete("carol")
    assert (provider.mechanisms, provider.upgrades) == (SHA_1, LACKING)


@pytest.mark.parametrize("mechanism", HASHES)
async def test_a_password_adds_the_keys_that_are_missing(
    provider: InternalProvider, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await provider.create_hashed({"alice": keys("secret", mechanism)})
    before = await proven(provider, "alice", HASHES[mechanism])
    assert not await provider.verify_password("alice", "Secret")
    assert provider.mechanisms == {mechanism, "PLAIN"}
    assert await provider.verify_password("alice", "secret")
    assert provider.mechanisms == ALL
    assert await proven(provider, "alice", HASHES[mechanism]) == before
    for hash_name in HASHES.values():
        made = await proven(provider, "alice", hash_name)
        assert made == derive("secret", made.salt, made.iterations, hash_name)
    others = ", ".join(name for name in HASHES if name != mechanism)
    upgraded = [record for record in caplog.records if getattr(record, "user", "") == "alice"]
    assert [record.name for record in upgraded] == ["xmppws.auth", "xmppws.audit"]
    assert f"host=example.com user=alice: the account has keys for {others} now" in upgraded[0].getMessage()


async def test_a_client_gives_keys_one_by_one(provider: InternalProvider, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await provider.create_hashed({"alice": keys("secret")})
    had = await proven(provider, "alice")
    await provider.add_keys("alice", "sha512", given("secret", "sha512"), had)
    assert provider.mechanisms == SHA_1 | {"SCRAM-SHA-512"}
    assert await provider.lacking("alice") == provider.upgrades == {"SCRAM-SHA-256"}
    await provider.add_keys("alice", "sha256", given("secret", "sha256"), had)
    assert (provider.mechanisms, provider.upgrades) == (ALL, frozenset())
    assert await proven(provider, "alice", "sha256") == given("secret", "sha256")
    assert await proven(provider, "alice") == had
    assert await provider.verify_password("alice", "secret")
    assert "alice: the account has keys for SCRAM-SHA-512 now" in caplog.text


async def test_keys_are_never_written_over(provider: InternalProvider) -> None:
    await provider.create_hashed({"alice": keys("secret")})
    had = await proven(provider, "alice")
    await asyncio.gather(
        *(provider.add_keys("alice", "sha256", given(password, "sha256"), had) for password in ("secret", "other"))
    )
    await provider.add_keys("alice", "sha1", given("other", "sha1"), had)
    assert await proven(provider, "alice", "sha256") == given("secret", "sha256")
    assert await proven(provider, "alice") == had


async def test_both_keys_that_come_at_once_are_kept(provider: InternalProvider) -> None:
    await provider.create_hashed({"alice": keys("secret")})
    had = await proven(provider, "alice")
    names = ("sha256", "sha512")
    await asyncio.gather(*(provider.add_keys("alice", name, given("secret", name), had) for name in names))
    assert await provider.lacking("alice") == frozenset() and provider.mechanisms == ALL


@pytest.mark.parametrize("change", ["passwd", "delete", "again"])
async def test_keys_of_an_old_password_are_kept_nowhere(
    stores: Stores, executor: ThreadPoolExecutor, provider: InternalProvider, change: str
) -> None:
    other = InternalProvider("example.com", stores, executor)
    await provider.create_hashed({"alice": keys("old")})
    had = await proven(provider, "alice")
    if change == "passwd":
        assert await other.set_password("alice", "new")
    else:
        assert await other.delete("alice")
    if change == "again":
        await other.create_hashed({"alice": keys("new", salt=b"another salt")})
    before = await stores.keyvalue("accounts", Account).get("alice")
    for name in ("sha256", "sha512"):
        await provider.add_keys("alice", name, given("old", name), had)
    assert await stores.keyvalue("accounts", Account).get("alice") == before
    assert not await provider.verify_password("alice", "old")


async def test_password_that_changes_while_it_is_checked_gets_no_old_keys(stores: Stores) -> None:
    class Racing(ThreadPoolExecutor):
        """Holds the derivation of the missing keys until the password was changed."""

        def submit(self, function, /, *args, **kwargs):  # type: ignore[no-untyped-def]
            future = super().submit(function, *args, **kwargs)
            if function.__name__ == "new_keys":
                future.result()
                table = stores.keyvalue("accounts", Account)
                table.put("alice", Account({"sha1": given("new", "sha1")}))
            return future

    with Racing(1) as executor:
        provider = InternalProvider("example.com", stores, executor)
        await provider.create_hashed({"alice": keys("old")})
        assert await provider.verify_password("alice", "old")
        assert await stores.keyvalue("accounts", Account).get("alice") == Account({"sha1": given("new", "sha1")})


async def test_new_password_has_all_keys(provider: InternalProvider) -> None:
    await provider.create_hashed({"alice": keys("old")})
    assert await provider.set_password("alice", "new")
    assert provider.mechanisms == ALL
    assert await provider.verify_password("alice", "new") and not await provider.verify_password("alice", "old")


async def test_failed_scram_lets_the_server_see_who_lacks_keys(stores: Stores, executor: ThreadPoolExecutor) -> None:
    server, command = (InternalProvider("example.com", stores, executor) for _ in range(2))
    await command.create_hashed({"alice": keys("secret")})
    assert server.mechanisms == ALL
    assert not await server.lacks_keys("alice", "sha1") and server.mechanisms == ALL
    assert await server.lacks_keys("alice", "sha256")
    assert (server.mechanisms, server.upgrades) == (SHA_1, LACKING)


async def test_accounts_go_in_all_or_none(provider: InternalProvider) -> None:
    await provider.create("alice", "a")
    with pytest.raises(AlreadyExists, match="alice"):
        await provider.create_hashed({"alice": keys("x"), "bob": keys("b")})
    with pytest.raises(InvalidPassword, match="iteration count"):
        await provider.create_hashed({"bob": keys("b"), "carol": keys("c", iterations=1)})
    assert await provider.list() == ["alice"]


@pytest.mark.parametrize(
    ("kept", "logged"),
    [
        ({"alice": keys("a"), "bob": keys("b")}, "2 accounts lack keys: .* SCRAM-SHA-512, SCRAM-SHA-256 are not"),
        ({"alice": keys("a", "SCRAM-SHA-256")}, "1 accounts lack keys: .* SCRAM-SHA-512, SCRAM-SHA-1 are not"),
        ({"alice": keys("a"), "bob": "$1$5pZSV9va$azfrPr6af3Fc7dLblQXVa0"}, "1 accounts have a hash .* PLAIN alone"),
    ],
)
async def test_refresh_tells_what_is_not_offered(
    provider: InternalProvider, caplog: pytest.LogCaptureFixture, kept: dict[str, str], logged: str
) -> None:
    caplog.set_level(logging.INFO)
    await provider.create_hashed(kept)
    caplog.clear()
    await provider.refresh()
    (record,) = caplog.records
    assert re.search(logged, record.getMessage())


# --- what strangers see ---


async def test_names_without_an_account_look_like_those_with_one(provider: InternalProvider) -> None:
    await provider.create_many(dict.fromkeys(("alice", "bob"), "x"))
    salts = {name: str(uuid4()).encode() for name in ("carol", "dave")}
    await provider.create_hashed({name: keys("x", salt=salt, iterations=5000) for name, salt in salts.items()})
    seen = [await provider.fake_keys(f"user{number}", "sha1") for number in range(200)]
    shapes = [Shape.of(each) for each in seen]
    assert set(shapes) == {OURS, Shape(5000, 36, True)}
    assert 60 < shapes.count(OURS) < 140
    assert len({each.salt for each in seen}) == 200
    assert seen == [await provider.fake_keys(f"user{number}", "sha1") for number in range(200)]


async def test_salt_of_a_name_changes_whole_with_its_shape(stores: Stores, executor: ThreadPoolExecutor) -> None:
    provider = InternalProvider("example.com", stores, executor)
    ours = await provider.fake_keys("nobody", "sha1")
    await provider.create_hashed({"alice": keys("x", salt=bytes(20))})
    theirs = await provider.fake_keys("nobody", "sha1")
    assert (len(ours.salt), len(theirs.salt)) == (16, 20)
    assert ours.salt[:4] != theirs.salt[:4]
    assert replace(ours, salt=b"", iterations=1) == replace(theirs, salt=b"", iterations=1)
