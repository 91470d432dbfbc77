"""What a host with several providers offers, and whom it asks."""

from collections.abc import Awaitable

import pytest

from xmppws.auth.anonymous import AnonymousProvider
from xmppws.core.auth import Identity, InvalidToken, Provider, Unavailable
from xmppws.core.providers import Login, Providers, Refused
from xmppws.core.stores import StorageError
from xmppws.storage.memory import MemoryStorage
from xmppws.stream.sasl.keys import ScramKeys
from xmppws.stream.sasl.scram import HASHES


class Checking:
    """A provider that checks passwords of its own, as LDAP would."""

    name = "checking"

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

    name = "keeping"

    def __init__(self, **passwords: str) -> None:
        super().__init__(*HASHES, "PLAIN", **passwords)

    async def scram_keys(self, username: str, hash_name: str) -> ScramKeys | None:
        return ScramKeys(username.encode(), 1, b"", b"") if username in self.passwords else None

    async def fake_keys(self, username: str, hash_name: str) -> ScramKeys:
        return ScramKeys(b"fake", 1, b"", b"")

    async def lacks_keys(self, username: str, hash_name: str) -> bool:
        return self.passwords.get(username) == f"not {hash_name}"


class Lacking(Keeping):
    """A provider whose users have keys for SCRAM-SHA-1 only; `added` are those that it was given."""

    name = "lacking"
    upgrades = frozenset({"SCRAM-SHA-256", "SCRAM-SHA-512"})

    def __init__(self, **passwords: str) -> None:
        super().__init__(**passwords)
        self.mechanisms = frozenset({"SCRAM-SHA-1", "PLAIN"})
        self.added: list[tuple[str, str, ScramKeys, ScramKeys]] = []

    async def lacking(self, username: str) -> frozenset[str]:
        return self.upgrades if username in self.passwords else frozenset()

    async def add_keys(self, username: str, hash_name: str, keys: ScramKeys, proven: ScramKeys) -> None:
        self.added.append((username, hash_name, keys, proven))


class Showing:
    """A provider whose tokens are names of users."""

    name = "showing"
    mechanisms = frozenset({"OAUTHBEARER", "PLAIN"})

    def __init__(self, *users: str, there: bool = True) -> None:
        self.users = users
        self.there = there

    async def refresh(self) -> None:
        pass

    async def exists(self, username: str) -> bool:
        return username in self.users

    async def verify_token(self, token: str) -> Identity:
        if not self.there:
            raise Unavailable
        if token not in self.users:
            raise InvalidToken("it is no user's")
        return Identity(token, 1.0)


async def refusal(waiting: Awaitable[object]) -> str:
    with pytest.raises(Refused) as raised:
        await waiting
    return str(raised.value)


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
        ((Showing(),), ("PLAIN", "OAUTHBEARER")),
        ((Showing(), Keeping(), guests()), ("PLAIN", "OAUTHBEARER", "ANONYMOUS")),
    ],
)
def test_mechanisms_for_passwords_are_those_that_all_have(
    providers: tuple[Provider, ...], offered: tuple[str, ...]
) -> None:
    assert Providers(providers).offered() == offered


async def test_passwords_are_checked_in_order_until_one_fits() -> None:
    both = Providers((Keeping(alice="a"), guests(), Checking("PLAIN", alice="b", bob="b")))
    assert [await both.verify_password("alice", password) for password in "ab"] == [Login("keeping"), Login("checking")]
    assert await both.verify_password("bob", "b") == Login("checking")
    assert await refusal(both.verify_password("alice", "c")) == ""


async def test_a_password_may_be_a_token_and_the_other_way_round() -> None:
    both = Providers((Showing("alice", "bob"), Keeping(alice="a")))
    assert await both.verify_password("alice", "alice") == Login("showing", Identity("alice", 1.0))
    assert await both.verify_password("alice", "a") == Login("keeping")
    assert await both.verify_token("bob") == Login("showing", Identity("bob", 1.0))
    assert await refusal(both.verify_password("alice", "bob")) == "it is for another user"
    assert await refusal(both.verify_token("a")) == "it is no user's"


async def test_who_cannot_tell_keeps_nobody_out_whom_another_knows() -> None:
    both = Providers((Showing("alice", there=False), Keeping(alice="a")))
    assert await both.verify_password("alice", "a") == Login("keeping")
    for asked in (both.verify_password("alice", "alice"), both.verify_token("alice")):
        with pytest.raises(Unavailable):
            await asked


async def test_keys_are_real_or_fake() -> None:
    both = Providers((guests(), Keeping(alice="a", carol="not sha256"), Keeping(bob="b")))
    found = [await both.scram_keys(name, "sha1") for name in ("alice", "bob", "dave")]
    assert [keys.salt for keys, _ in found] == [b"alice", b"bob", b"fake"]
    assert [login for _, login in found] == [*(Login("keeping", keys=keys) for keys, _ in found[:2]), None]
    assert [await both.lacks_keys(name, "sha256") for name in ("alice", "carol")] == [False, True]
    assert not await both.lacks_keys("carol", "sha1")


def test_keys_are_asked_for_where_their_mechanisms_are_wanted() -> None:
    assert Providers((Lacking(), Keeping())).upgrades() == ("SCRAM-SHA-512", "SCRAM-SHA-256")
    assert Providers((Keeping(),)).upgrades() == ()
    # Who logs in with PLAIN need not give keys.
    assert Providers((Lacking(), Checking("PLAIN"))).upgrades() == ()


async def test_keys_go_where_those_are_that_were_proven() -> None:
    keeping, one, other = Keeping(alice="a"), Lacking(bob="b"), Lacking(bob="b", carol="c")
    other.name = "other"
    all_of_them = Providers((keeping, one, other))
    assert await all_of_them.lacking("bob") == Lacking.upgrades
    assert await all_of_them.lacking("alice") == await all_of_them.lacking("nobody") == frozenset()
    given = ScramKeys(b"given", 1, b"", b"")
    for name in ("alice", "bob", "carol"):
        _, login = await all_of_them.scram_keys(name, "sha1")
        assert login is not None
        await all_of_them.add_keys(login, name, "sha256", given)
    assert one.added == [("bob", "sha256", given, ScramKeys(b"bob", 1, b"", b""))]
    assert other.added == [("carol", "sha256", given, ScramKeys(b"carol", 1, b"", b""))]


async def test_who_showed_a_token_or_a_password_gives_no_keys() -> None:
    lacking = Lacking(alice="a")
    providers = Providers((lacking,))
    login = await providers.verify_password("alice", "a")
    await providers.add_keys(login, "alice", "sha256", ScramKeys(b"given", 1, b"", b""))
    assert lacking.added == []


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
