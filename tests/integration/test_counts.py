"""What a client learns that cannot resume: how many of its stanzas were handled, after a crash too (XEP-0198)."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from clients import connected, logged_in
from one_trip import bind, log_in
from one_trip import resume as inline
from resuming import (
    FAILED,
    RESUMED,
    SM,
    asleep,
    assert_nothing_is_left,
    authenticated,
    cut,
    enable,
    handled,
    resume,
    resumptions_of,
)
from servers import PASSWORDS, Program, Running, add_accounts, config, program, running
from waiting import until
from xmppws.config import Config, Storage
from xmppws.core.stores import StorageError

FILE = """
data_dir = "{directory}"
admin_socket = ""
metrics.listen = []
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
[hosts."localhost"]
http_host = ["127.0.0.1", "localhost"]
"""


class Crashing:
    """A server that can be killed and started again."""

    def __init__(self, file: Path, stack: AsyncExitStack) -> None:
        self._file = file
        self._stack = stack
        self._program: Program

    @property
    def url(self) -> str:
        return self._program.url

    async def start(self) -> None:
        self._program = await self._stack.enter_async_context(program(self._file))

    async def again(self, signum: signal.Signals = signal.SIGKILL) -> None:
        await self._program.stop(signum)
        await self.start()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Crashing]:
    file = tmp_path / "xmppws.toml"
    file.write_text(FILE.format(directory=tmp_path))
    await add_accounts(file)
    async with AsyncExitStack() as stack:
        started = Crashing(file, stack)
        await started.start()
        yield started


async def failed(url: str, id: str, name: str = "alice") -> str | None:
    """Try to resume, in vain; return the number that the server tells."""
    async with connected(url) as client:
        answer = await resume(client, id, 0, name)
        assert answer.tag == FAILED and answer[0].tag.endswith("}item-not-found")
        return answer.get("h")


async def test_after_a_crash_the_number_is_the_one_that_was_told(server: Crashing) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        id = await enable(alice)
        for number in range(3):
            await alice.message("bob@localhost", f"{number}")
        # What writes nothing counts as well.
        await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        assert await handled(alice) == 4
        await server.again()
    # It may be asked for more than once, and survives the next crash.
    assert await failed(server.url, id) == "4"
    await server.again()
    assert await failed(server.url, id) == "4"
    assert await failed(server.url, id, "bob") is None
    assert await failed(server.url, "unknown") is None


async def test_after_a_crash_what_is_counted_is_there(server: Crashing) -> None:
    """The server is killed with stanzas on their way: those that it has counted, and no other, are in the archive."""
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        id = await enable(alice)
        for number in range(300):
            await alice.message("bob@localhost", f"{number}")
        await alice.send("<r xmlns='urn:xmpp:sm:3'/>")
        await server.again()
    counted = int(await failed(server.url, id) or 0)
    async with connected(server.url) as bob:
        await bob.login("bob", PASSWORDS["bob"], presence=False)
        wanted = "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>"
        fin = await bob.iq("set", f"<query xmlns='urn:xmpp:mam:2'>{wanted}</query>")
        assert int(fin.findtext(".//{http://jabber.org/protocol/rsm}count") or -1) == counted


async def test_sessions_that_go_on_after_a_restart_go_on_with_their_number(server: Crashing) -> None:
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        id = await enable(alice)
        await alice.message("bob@localhost", "one")
        await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        await server.again(signal.SIGTERM)
    async with connected(server.url) as again:
        answer = await resume(again, id, 1)
        assert (answer.tag, answer.get("h")) == (RESUMED, "2")
        await server.again()
    assert await failed(server.url, id) == "2"


async def test_two_sessions_of_an_account_and_a_new_one(server: Crashing) -> None:
    async with (
        logged_in(server.url, "alice", PASSWORDS["alice"]) as first,
        logged_in(server.url, "alice", PASSWORDS["alice"]) as second,
    ):
        ids = [await enable(first), await enable(second)]
        await first.message("bob@localhost", "one")
        for _ in range(2):
            await second.message("bob@localhost", "two")
        assert [await handled(first), await handled(second)] == [1, 2]
        await server.again()
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as third:
        ids.append(await enable(third))
        await third.message("bob@localhost", "three")
        assert await handled(third) == 1
        await server.again()
    assert [await failed(server.url, id) for id in ids] == ["1", "2", "1"]


def short(path: Path | None = None) -> Config:
    settings = config(resume_timeout=0.2)
    return settings if path is None else replace(settings, storage=Storage(url=f"sqlite:{path}/x.sqlite"))


@pytest.mark.parametrize("stored", [False, True])
async def test_when_a_session_has_expired_the_number_is_told(tmp_path: Path, stored: bool) -> None:
    async with running(short(tmp_path if stored else None)) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            id = await enable(alice)
            await alice.message("bob@localhost", "one")
            assert await handled(alice) == 1
            await cut(alice)
        await until(lambda: not resumptions_of(server)._digests)
        assert await failed(server.url, id) == "1"
        async with connected(server.url) as again:
            answer = (await log_in(again, inline(id, 0) + bind())).find(FAILED)
            assert answer is not None and answer.get("h") == "1"


async def test_a_session_that_was_closed_is_forgotten(tmp_path: Path) -> None:
    async with running(short(tmp_path)) as server:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            id = await enable(alice)
            await alice.message("bob@localhost", "one")
            assert await handled(alice) == 1
            await alice.close()
        assert await failed(server.url, id) is None
        await until(lambda: not resumptions_of(server)._digests)
        assert await kept(server) == []


async def kept(server: Running) -> list[str]:
    stores = server.server.hosts["localhost"].stores
    settled = stores.settled()
    if settled is not None:
        await settled
    return await stores.keyvalue("handled", dict[str, list[float | None]]).owners()


async def test_only_so_much_is_remembered(tmp_path: Path) -> None:
    async with running(short(tmp_path)) as server:
        ids = []
        for _ in range(12):
            async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
                ids.append(await enable(alice))
                await cut(alice)
            await asleep(server)
            await until(lambda: not resumptions_of(server)._digests)
        assert [await failed(server.url, id) for id in ids] == [None, None, *["0"] * 10]
        assert await kept(server) == ["alice"]


async def numbers(server: Running) -> dict[str, int]:
    """Return what lies on the disk for alice, by digest."""
    stores = server.server.hosts["localhost"].stores
    settled = stores.settled()
    if settled is not None:
        await settled
    known = await stores.keyvalue("handled", dict[str, list[float | None]]).get("alice")
    return {digest: int(h or 0) for digest, (h, *_) in (known or {}).items()}


async def test_what_another_stanza_has_caused_is_not_written_over_what_is_newer(tmp_path: Path) -> None:
    """A stanza ends a session, and is handled for long: meanwhile the account's other session counts on."""
    async with running(short(tmp_path)) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as other:
        await enable(other)
        async with connected(server.url) as alice:
            await alice.login("alice", PASSWORDS["alice"])
            await enable(alice)
            await cut(alice)
        await asleep(server)
        (hibernating,) = next(iter(resumptions_of(server)._hibernating.values()))
        stanza = server.server.hosts["localhost"].stores.gather()
        with stanza:
            hibernating.stream.end()
        await other.message("bob@localhost", "one")
        assert await handled(other) == 1
        stanza.finish()
        assert sorted((await numbers(server)).values()) == [0, 1]


async def test_what_cannot_be_written_keeps_no_session(caplog: pytest.LogCaptureFixture) -> None:
    async with running(short()) as server:
        counts = resumptions_of(server).counts

        def put(*_: object) -> None:
            raise StorageError("The disk is full")

        counts._store.put = put
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            await enable(alice)
            await cut(alice)
        await until(lambda: not resumptions_of(server)._digests)
        assert_nothing_is_left(server)
        assert "how many stanzas of alice@localhost were handled could not be written" in caplog.text


async def test_numbers_that_cannot_be_read_keep_no_server_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(short(tmp_path)) as server:
        for name in ("alice", "bob"):
            async with logged_in(server.url, name, PASSWORDS[name]) as client:
                await enable(client)
                await cut(client)
            await until(lambda: not resumptions_of(server)._digests)
        assert await kept(server) == ["alice", "bob"]
    with sqlite3.connect(tmp_path / "x.sqlite") as database:
        database.execute("UPDATE keyvalue SET value = ? WHERE store = 'handled' AND owner = 'alice'", (b"[1",))
    database.close()
    async with running(short(tmp_path), new_accounts=False) as server:
        assert "alice" in caplog.text
        past = resumptions_of(server).counts._past
        assert [account.local for account in past] == ["bob"]


async def test_a_number_is_told_when_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(short(tmp_path)) as server, connected(server.url) as again:
        async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
            id = await enable(alice)
            await alice.message("bob@localhost", "one")
            assert await handled(alice) == 1
            await cut(alice)
        await until(lambda: not resumptions_of(server)._digests)
        disk: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        asked = asyncio.Event()

        def settled() -> asyncio.Future[bool]:
            asked.set()
            return disk

        await authenticated(again, "alice")
        monkeypatch.setattr(server.server.hosts["localhost"].stores, "settled", settled)
        await again.send(f"<resume xmlns='{SM}' previd='{id}' h='0'/>")
        answer = asyncio.ensure_future(again.receive())
        await asked.wait()
        assert not answer.done()
        disk.set_result(True)
        assert (await answer).get("h") == "1"
        monkeypatch.undo()
