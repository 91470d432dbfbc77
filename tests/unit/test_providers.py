"""What a host with several providers offers, and whom it asks."""

import pytest

from xmppws.auth.anonymous import AnonymousProvider
from xmppws.core.stores import StorageError
from xmppws.routers.providers import Providers
from xmppws.storage.memory import MemoryStorage
from xmppws.stream.sasl.keys import ScramKeys
from xmppws.stream.sasl.scram import HASHES


class Checking:
    """A provider that checks passwords of its own, as LDAP would."""

    def __init__(self, *mechanisms: str, **passwords: str) -> None:
        self.mechanisms = frozenset(mechanisms)
        self.passwords = passwords

    async def refresh(self) -> None:
        pass

    async def exists(self, username: str) -> bool:
        return username in self.passwords

    async def verify_password(self, username: str, password: str) -> bool:
        return self.passwords.get(username) == password


class Keeping(Checking):
    """A provider that has keys, each with the name of the user as salt."""

    def __init__(self, **passwords: str) -> None:
        super().__init__(*HASHES, "PLAIN", **passwords)

    async def scram_keys(self, username: str, hash_name: str) -> ScramKeys | None:
        return ScramKeys(username.encode(), 1, b"", b"") if username in self.passwords else None

    async def fake_keys(self, username: str, hash_name: str) -> ScramKeys:
        return ScramKeys(b"fake", 1, b"", b"")

    async def needs_plain(self, username: str) -> bool:
        return self.passwords.get(username) == "hash"


def guests() -> AnonymousProvider:
    return AnonymousProvider(MemoryStorage().for_host("example.com"))


@pytest.mark.parametrize(
    ("providers", "offered"),
    [
        ((Keeping(),), (*HASHES, "PLAIN")),
        ((Checking("PLAIN"),), ("PLAIN",)),
        ((Keeping(), Checking("PLAIN")), ("PLAIN",)),
        ((guests(),), ("ANONYMOUS",)),
        ((Keeping(), guests()), (*HASHES, "PLAIN", "ANONYMOUS")),
        ((guests(), Checking("PLAIN"), Keeping()), ("PLAIN", "ANONYMOUS")),
        ((Checking("PLAIN"), Checking("SCRAM-SHA-1"), guests()), ("ANONYMOUS",)),
    ],
)
def test_mechanisms_for_passwords_are_those_that_all_have(
    providers: tuple[Checking, ...], offered: tuple[str, ...]
) -> None:
    assert Providers(providers).offered() == offered


async def test_passwords_are_checked_in_order_until_one_fits() -> None:
    both = Providers((Keeping(alice="a"), guests(), Checking("PLAIN", alice="b", bob="b")))
    assert [await both.verify_password("alice", password) for password in "abc"] == [True, True, False]
    assert await both.verify_password("bob", "b")


async def test_keys_are_real_or_fake() -> None:
    both = Providers((guests(), Keeping(alice="a", carol="hash"), Keeping(bob="b")))
    assert [(await both.scram_keys(name, "sha1")).salt for name in ("alice", "bob", "dave")] == [
        b"alice",
        b"bob",
        b"fake",
    ]
    assert [await both.needs_plain(name) for name in ("alice", "carol")] == [False, True]


# --- anonymous accounts ---


async def test_anonymous_account_is_there_from_admission_to_leaving() -> None:
    provider = guests()
    one, other = provider.new_username(), provider.new_username()
    assert one != other and not await provider.exists(one)
    await provider.admit(one)
    assert await provider.exists(one) and not await provider.exists(other)
    provider.leave(one)
    assert not await provider.exists(one)


async def test_nothing_is_left_of_an_anonymous_account() -> None:
    stores = MemoryStorage().for_host("example.com")
    provider, notes = AnonymousProvider(stores), stores.keyvalue("notes", str)
    await notes.set("alice", "stays")
    for name in ("gone", "crashed", "here"):
        await provider.admit(name)
        await notes.set(name, "a note")
    provider.leave("gone")
    await provider.forget("gone")
    assert await notes.owners() == ["alice", "crashed", "here"]
    # Another one, as after a crash, knows nobody but the one who is here again.
    started = AnonymousProvider(stores)
    await started.admit("here")
    await started.refresh()
    assert await notes.owners() == ["alice", "here"]
    assert await started.exists("here") and not await started.exists("crashed")


async def test_account_that_cannot_be_noted_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = guests()

    async def fail(owner: str, value: bool) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(provider._guests, "set", fail)
    with pytest.raises(StorageError):
        await provider.admit("one")
    assert not await provider.exists("one")
