"""Who lacks keys, when accounts change while they are counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

import pytest

from xmppws.auth import survey as survey_
from xmppws.auth.account import HASH_NAMES, Account
from xmppws.auth.survey import OURS, Shape, Survey
from xmppws.core.stores import KeyValue
from xmppws.storage.memory import MemoryStorage
from xmppws.stream.sasl.keys import ITERATIONS, SALT_LENGTH, ScramKeys

KEYS = ScramKeys(bytes(SALT_LENGTH), ITERATIONS, b"", b"")
COMPLETE = Account(dict.fromkeys(HASH_NAMES, KEYS))
ONE = Account({"sha1": KEYS})
NONE = Account({}, "hash")


@pytest.fixture
def accounts() -> KeyValue[Account]:
    return MemoryStorage().for_host("example.com").keyvalue("accounts", Account)


class Slow:
    """A store of accounts that stops behind each page until it is told to go on."""

    def __init__(self, accounts: KeyValue[Account]) -> None:
        self._accounts = accounts
        self.pages = 0
        self.at_page = asyncio.Event()
        self.go_on = asyncio.Event()

    async def page(self, after: str | None, limit: int) -> dict[str, Account]:
        page = await self._accounts.page(after, limit)
        self.pages += 1
        self.at_page.set()
        await self.go_on.wait()
        return page


@pytest.mark.parametrize(
    ("kept", "mechanisms", "without_keys"),
    [
        ((), {"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"}, 0),
        ((COMPLETE,), {"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"}, 0),
        ((COMPLETE, ONE), {"SCRAM-SHA-1"}, 0),
        ((COMPLETE, ONE, NONE), set(), 1),
        ((ONE, Account({"sha256": KEYS})), set(), 0),
    ],
)
async def test_mechanisms_are_those_that_all_can_use(
    accounts: KeyValue[Account], kept: tuple[Account, ...], mechanisms: set[str], without_keys: int
) -> None:
    await accounts.set_many({str(number): account for number, account in enumerate(kept)})
    survey = Survey(accounts)
    await survey.look()
    assert (set(survey.mechanisms), survey.without_keys) == (mechanisms, without_keys)


async def test_all_pages_are_read(accounts: KeyValue[Account], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_, "_PAGE", 2)
    await accounts.set_many(dict.fromkeys("abcde", ONE))
    survey = Survey(accounts)
    await survey.look()
    assert survey.lacking == {"sha256": 5, "sha512": 5}


async def test_last_one_is_noticed_though_it_was_counted_without_its_keys(accounts: KeyValue[Account]) -> None:
    await accounts.set("alice", ONE)
    slow = Slow(accounts)
    survey = Survey(slow)  # type: ignore[arg-type]
    looking = asyncio.ensure_future(survey.look())
    await slow.at_page.wait()
    await accounts.set("alice", COMPLETE)
    await survey.completed(ONE.lacking)
    slow.go_on.set()
    await looking
    assert survey.lacking == {} and len(survey.mechanisms) == 3


async def test_many_at_once_are_looked_for_once(accounts: KeyValue[Account]) -> None:
    slow = Slow(accounts)
    slow.go_on.set()
    survey = Survey(slow)  # type: ignore[arg-type]
    await accounts.set_many(dict.fromkeys("abc", ONE))
    await survey.look()
    before = slow.pages
    await accounts.set_many(dict.fromkeys("abc", COMPLETE))
    await asyncio.gather(*[survey.completed(ONE.lacking) for _ in "abc"])
    assert len(survey.mechanisms) == 3
    assert slow.pages - before == 2


async def test_who_has_all_keys_makes_nobody_look(accounts: KeyValue[Account]) -> None:
    slow = Slow(accounts)
    survey = Survey(slow)  # type: ignore[arg-type]
    await survey.completed(COMPLETE.lacking)
    await survey.completed(ONE.lacking)
    assert slow.pages == 0


# --- how keys look ---


async def test_shapes_are_as_often_as_accounts_have_them(accounts: KeyValue[Account]) -> None:
    prosody = ScramKeys(b"3d813cbb-47fb-42ba-91df-831e1593ac29", 10_000, b"", b"")
    ejabberd = ScramKeys(bytes(16), 4096, b"", b"")
    await accounts.set_many(dict.fromkeys("abcde", COMPLETE))
    await accounts.set_many({"f": Account({"sha1": prosody}), "g": Account({"sha1": ejabberd, "sha256": KEYS})})
    await accounts.set("h", Account({"sha1": ejabberd}))
    survey = Survey(accounts)
    await survey.look()
    places = [number / 80 for number in range(80)]
    assert Counter(survey.shape("sha1", place) for place in places) == {
        OURS: 50,
        Shape(4096, 16, False): 20,
        Shape(10_000, 36, True): 10,
    }
    assert {survey.shape("sha256", place) for place in places} == {OURS}
    # When an account gets other keys, names go over to ours and never back.
    before = [survey.shape("sha1", place) for place in places]
    await accounts.set("f", COMPLETE)
    await accounts.set("i", COMPLETE)
    await survey.look()
    after = [survey.shape("sha1", place) for place in places]
    assert {new for old, new in zip(before, after, strict=True) if old == OURS} == {OURS}


async def test_keys_of_nobody_look_like_ours(accounts: KeyValue[Account]) -> None:
    survey = Survey(accounts)
    assert survey.shape("sha1", 0.5) == OURS
    await survey.look()
    assert survey.shape("sha1", 0.5) == OURS


@pytest.mark.parametrize(
    ("salt", "is_uuid"),
    [
        (b"3d813cbb-47fb-42ba-91df-831e1593ac29", True),
        (b"3D813CBB-47FB-42BA-91DF-831E1593AC29", False),
        (b"3d813cbb-47fb-12ba-91df-831e1593ac29", False),
        (bytes(36), False),
        (str(UUID(bytes=bytes(16), version=4)).encode(), True),
    ],
)
def test_salts_that_are_uuids(salt: bytes, is_uuid: bool) -> None:
    assert Shape.of(ScramKeys(salt, 1, b"", b"")) == Shape(1, 36, is_uuid)
