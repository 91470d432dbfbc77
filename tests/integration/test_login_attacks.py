"""Log-ins in one step that are odd, come at the wrong moment, or stop in their midst (XEP-0388, XEP-0386, XEP-0484)."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from clients import Client, connected, logged_in
from faulty import faulty
from one_trip import (
    CARBONS,
    ENABLE,
    SASL2,
    WANTED,
    WEB,
    ask,
    bind,
    condition,
    log_in,
    outcome,
    resume,
    resumption_of,
    show,
    token_of,
)
from resuming import FAILED, RESUMED, assert_nothing_is_left, cut, resumptions_of, sessions_of
from scram_client import ScramClient
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Config, Host, Pace, Storage
from xmppws.core.deletion import delete_account
from xmppws.core.events import FeaturesWanted
from xmppws.core.hooks import Phase
from xmppws.core.stores import StorageError
from xmppws.errors import NotAuthorized
from xmppws.jid import Jid

ALICE = Jid.parse("alice@localhost")
FAST = "<fast xmlns='urn:xmpp:fast:0'/>"
PASSWORD = f"\0alice\0{PASSWORDS['alice']}".encode()


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(config()) as started:
        yield started


def stored(tmp_path: Path, **limits: Any) -> Config:
    return replace(config(**limits), data_dir=tmp_path, storage=Storage(url=f"sqlite:{tmp_path / 'x.sqlite'}"))


def host_of(server: Running) -> Any:
    return server.server.hosts["localhost"]


def module(server: Running, name: str) -> Any:
    return host_of(server).modules[name]


async def send(client: Client, content: str) -> None:
    """Log in with the password, and do not wait for what comes."""
    await client.open()
    await client.send(authenticate("PLAIN", PASSWORD, content))


def authenticate(mechanism: str, initial: bytes, content: str) -> str:
    return (
        f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>"
        f"<initial-response>{b64encode(initial).decode()}</initial-response>"
        f"<user-agent id='{WEB}'/>{content}</authenticate>"
    )


def shown(token: str) -> bytes:
    return b"alice\0" + hmac.digest(token.encode(), b"Initiator", "sha256")


# --- The stream ends in the midst of a log-in ---


async def test_who_is_gone_before_the_features_are_known_leaves_nothing(server: Running) -> None:
    """A stream that ends while modules begin what its client wants."""
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        await bob.message("alice@localhost", "in the archive")
        await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    archive = faulty(module(server, "mam"), "messages")
    archive.gate.clear()
    async with connected(server.url) as alice:
        await send(alice, bind(CARBONS, ENABLE))
        await until(lambda: len(sessions_of(server)) == 1)
        sessions_of(server)[0].stream.end(NotAuthorized("Go away"))
        assert (await alice.expect_end())[0] == "not-authorized"
    archive.gate.set()
    await until(lambda: not server.server.endpoint.connections)
    assert_nothing_is_left(server)
    assert module(server, "carbons")._enabled == {}
    assert module(server, "mam")._seen == {}


class Disk:
    """Lets the only stream of a server end at the `moment`th beginning or end of a read or write of its database."""

    def __init__(self, server: Running) -> None:
        self._connections: Any = server.server.endpoint.connections
        self.moment = 0
        database = host_of(server).stores._database
        for name in ("read", "write"):
            setattr(database, name, partial(self._run, getattr(database, name)))

    async def _run(self, call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        self._pass()
        try:
            return await call(*arguments)
        finally:
            self._pass()

    def _pass(self) -> None:
        self.moment -= 1
        if self.moment == 0:
            (stream,) = self._connections
            stream.end(NotAuthorized("Go away"))


async def ends_at(server: Running, disk: Disk, moment: int, request: str) -> bool:
    """Send a request that is ended at a moment, and make sure that it leaves nothing; False if it was over before."""
    async with connected(server.url) as client:
        await client.open()
        disk.moment = moment
        await client.send(request)
        ended = (await client.receive()).tag != f"{SASL2}success"
        disk.moment = 0
        await client.close()
    await until(lambda: not server.server.endpoint.connections)
    await host_of(server).dispatch.drain()
    assert_nothing_is_left(server)
    assert not host_of(server).newcomers
    assert module(server, "carbons")._enabled == {} and module(server, "mam")._seen == {}
    return ended


async def test_a_stream_ends_at_any_moment_of_a_log_in(tmp_path: Path) -> None:
    async with running(stored(tmp_path)) as server:
        async with connected(server.url) as alice:
            given = token_of(await log_in(alice, WANTED + bind()))
            await alice.message("alice@localhost", "in the archive")
            await alice.close()
        disk, moment = Disk(server), 1
        request = authenticate("HT-SHA-256-NONE", shown(given), FAST + WANTED + bind(CARBONS, ENABLE))
        while await ends_at(server, disk, moment, request):
            moment += 1
        assert moment > 10
        # The token may be used again: none of the newer ones was.
        async with connected(server.url) as alice:
            assert (await show(alice, given)).tag == f"{SASL2}success"


async def test_the_stream_of_a_guest_ends_at_any_moment_of_the_log_in(tmp_path: Path) -> None:
    host = Host(http_host=("localhost", "127.0.0.1"), authentication=("anonymous",))
    async with running(replace(stored(tmp_path), hosts=MappingProxyType({"localhost": host}))) as server:
        (guests,) = host_of(server).providers
        disk, moment = Disk(server), 1
        while await ends_at(server, disk, moment, authenticate("ANONYMOUS", b"", bind(CARBONS, ENABLE))):
            moment += 1
            assert not guests._present
            assert await host_of(server).stores.keyvalue("guests", bool).owners() == []
        assert moment > 4


async def test_what_comes_before_a_client_knows_of_its_session_is_bounded() -> None:
    async with running(config(max_unacked_size=64 * 1024)) as server:
        archive = faulty(module(server, "mam"), "messages")
        archive.gate.clear()
        async with connected(server.url) as alice, logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
            await send(alice, bind())
            await until(lambda: len(sessions_of(server)) == 1)
            jid = sessions_of(server)[0].jid.text
            for _ in range(20):
                await bob.send(
                    f"<message xmlns='jabber:client' type='headline' to='{jid}'><x>{'x' * 10_000}</x></message>"
                )
            assert (await alice.expect_end())[0] == "resource-constraint"
            archive.gate.set()
        assert not sessions_of(server)


async def test_a_token_that_cannot_be_written(server: Running) -> None:
    router: Any = server.server.endpoint.routers["localhost"]

    async def fails(*_: object) -> None:
        raise StorageError("The disk is gone")

    router.tokens._clients.set = fails
    async with connected(server.url) as alice:
        success = await log_in(alice, WANTED + bind(ENABLE))
        assert resumption_of(success) and token_of(success) == ""


# --- Sessions that go on ---


async def test_two_that_resume_at_once_and_say_different_numbers(server: Running) -> None:
    """What one says while the other waits may be more than the other has said."""
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(connected(server.url))
        id = resumption_of(await log_in(alice, bind(ENABLE)))
        for body in ("one", "two"):
            await alice.message(alice.jid, body)
        assert [await alice.body() for _ in range(2)] == ["one", "two"]
        mailbox = faulty(module(server, "offline"), "messages")
        mailbox.gate.clear()
        await alice.message("bob@localhost", "waits")
        await until(lambda: sessions_of(server)[0].handling is not None)
        lower, higher = [await stack.enter_async_context(connected(server.url)) for _ in range(2)]
        await send(lower, resume(id, 1))
        assert (await alice.expect_end())[0] == "conflict"
        await send(higher, resume(id, 2))
        await until(lambda: sessions_of(server)[0].acks.acked == 2)
        mailbox.gate.set()
        assert (await lower.receive()).find("{urn:xmpp:sm:3}handled-count-too-high") is not None
        assert (await outcome(higher, await higher.receive())).find(RESUMED) is not None
        await higher.close()
    await until(lambda: not sessions_of(server))
    assert_nothing_is_left(server)


async def test_a_newer_session_of_the_same_client_comes_while_the_older_one_is_resumed(server: Running) -> None:
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(connected(server.url))
        id = resumption_of(await log_in(alice, bind(ENABLE)))
        mailbox = faulty(module(server, "offline"), "messages")
        mailbox.gate.clear()
        await alice.message("bob@localhost", "once")
        await until(lambda: sessions_of(server)[0].handling is not None)
        again, newer = [await stack.enter_async_context(connected(server.url)) for _ in range(2)]
        await send(again, resume(id, 0) + bind(ENABLE))
        assert (await alice.expect_end())[0] == "conflict"
        assert (await log_in(newer, bind(ENABLE))).tag == f"{SASL2}success"
        await until(lambda: len(sessions_of(server)) == 1)
        mailbox.gate.set()
        failed = (await outcome(again, await again.receive())).find(FAILED)
        # It was handled after the session had ended, and is in the mailbox.
        assert failed is not None and failed.get("h") == "1"
        assert len(sessions_of(server)) == 2


# --- Accounts that are gone ---


@pytest.mark.parametrize("inline", [True, False])
async def test_an_account_that_is_deleted_in_the_midst_of_a_log_in(server: Running, inline: bool) -> None:
    scram = ScramClient("sha256", "alice", PASSWORDS["alice"])
    async with connected(server.url) as alice:
        await alice.open()
        if inline:
            await ask(alice, "SCRAM-SHA-256", scram.first, bind(ENABLE))
        else:
            # Logged in, and without a resource for as long as it likes.
            await alice.authenticate("alice", PASSWORDS["alice"])
            await alice.open()
        await delete_account(host_of(server), ALICE)
        assert (await alice.expect_end())[0] == "not-authorized"
    assert_nothing_is_left(server)


async def test_who_logs_in_as_somebody_else_is_left_alone(server: Running) -> None:
    async with connected(server.url) as bob:
        await bob.open()
        await bob.authenticate("bob", PASSWORDS["bob"])
        await delete_account(host_of(server), ALICE)
        await bob.open()
        await bob.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
    router: Any = server.server.endpoint.routers["localhost"]
    await until(lambda: not router.host.newcomers)


async def test_numbers_of_an_account_go_with_it(tmp_path: Path) -> None:
    async with running(stored(tmp_path, resume_timeout=0.1)) as server:
        async with connected(server.url) as alice:
            id = resumption_of(await log_in(alice, bind(ENABLE)))
            await alice.message("bob@localhost", "x")
            await cut(alice)
        await until(lambda: not sessions_of(server))
        assert b" h=" in await resumptions_of(server).failed(id, ALICE)
        await delete_account(host_of(server), ALICE)
        assert b" h=" not in await resumptions_of(server).failed(id, ALICE)
        assert "alice" not in await host_of(server).stores.keyvalue("handled", dict).owners()


async def test_what_is_on_its_way_to_an_account_goes_with_it(tmp_path: Path) -> None:
    """What others have sent is written when their stanzas are handled, which may take longer."""
    async with running(stored(tmp_path)) as server:
        stores = host_of(server).stores
        archive, stanza = stores.archive("mam"), stores.gather()
        with stanza:
            written = archive.append("alice", b"x", when=1.7e9, with_="bob")
        await delete_account(host_of(server), ALICE)
        stanza.finish()
        await written
        assert await archive.count("alice") == 0


async def test_a_token_is_for_one_host() -> None:
    hosts = {name: Host(http_host=("127.0.0.1", "localhost")) for name in ("a.test", "b.test")}
    async with running(config(hosts=hosts)) as server:
        async with connected(server.url, "a.test") as alice, connected(server.url, "b.test") as other:
            given = token_of(await log_in(alice, WANTED))
            assert condition(await show(other, given)) == "not-authorized"


async def test_tokens_are_for_sasl2_alone(server: Running) -> None:
    async with connected(server.url) as alice, connected(server.url) as again:
        given = token_of(await log_in(alice, WANTED))
        await again.open()
        initial = b64encode(shown(given)).decode()
        await again.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='HT-SHA-256-NONE'>{initial}</auth>")
        assert (await again.receive())[0].tag.endswith("}invalid-mechanism")
        assert condition(await ask(again, "HT-SHA-256-NONE", shown(given))) == "invalid-mechanism"


async def test_guesses_at_tokens_are_counted() -> None:
    async with (
        running(config(pace=Pace(logins_per_second=1, burst=3.0, exempt=()))) as server,
        AsyncExitStack() as stack,
    ):
        found = []
        for _ in range(5):
            alice = await stack.enter_async_context(connected(server.url))
            found.append(condition(await show(alice, "wrong")))
        assert found == ["not-authorized"] * 3 + ["temporary-auth-failure"] * 2


@pytest.mark.parametrize("stored_in", ["memory", "sqlite"])
async def test_a_token_does_not_come_back_with_the_name(tmp_path: Path, stored_in: str) -> None:
    async with running(config() if stored_in == "memory" else stored(tmp_path)) as server:
        async with connected(server.url) as alice:
            given = token_of(await log_in(alice, WANTED))
        await delete_account(host_of(server), ALICE)
        (accounts,) = host_of(server).providers
        await accounts.create("alice", "another")
        async with connected(server.url) as again:
            assert condition(await show(again, given)) == "not-authorized"


async def test_a_token_that_is_taken_back_while_it_is_used(server: Running) -> None:
    """A new password, or the end of the account, comes between the look at a token and the note that it was used."""
    async with connected(server.url) as alice:
        given = token_of(await log_in(alice, WANTED))
    router: Any = server.server.endpoint.routers["localhost"]
    (accounts,) = host_of(server).providers
    exists = accounts.exists

    async def changes(username: str) -> bool:
        accounts.exists = exists
        await accounts.set_password("alice", "another")
        return True

    accounts.exists = changes
    async with connected(server.url) as first:
        assert condition(await show(first, given)) == "not-authorized"
        assert await router.tokens._clients.all("alice") == {}


async def test_a_token_is_good_with_the_provider_that_let_its_owner_in(tmp_path: Path) -> None:
    """Somebody of the same name, in another list of users, is somebody else."""
    users = tmp_path / "users"
    users.write_text("alice:{PLAIN}x\n")
    both = Host(http_host=("localhost", "127.0.0.1"), authentication=("internal", "anonymous"))
    settings = replace(stored(tmp_path), hosts={"localhost": both})
    async with running(settings) as server, connected(server.url) as alice:
        given = token_of(await log_in(alice, WANTED))
        host = host_of(server)
        _, anonymous = host.providers
        host.providers = (anonymous,)
        await anonymous.admit("alice")
        async with connected(server.url) as again:
            assert condition(await show(again, given)) == "not-authorized"


# --- Odd requests ---


@pytest.mark.parametrize(
    "content",
    [
        bind() + bind(),
        bind("<bind xmlns='urn:xmpp:bind:0'><tag>x</tag></bind>"),
        f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>{bind()}</authenticate>",
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind>",
        "<fast/><resume/><bind/>",
        "<initial-response xmlns='jabber:client'>AAAA</initial-response>",
        bind("<enable xmlns='urn:xmpp:sm:3' resume='maybe' max='-1'/>", "<enable xmlns='urn:xmpp:sm:3'/>"),
        "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>" * 100,
        "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'/>" * 150,
        bind("<active xmlns='urn:xmpp:csi:0'/>" * 100),
        bind("<r xmlns='urn:xmpp:sm:3'/>", "<resume xmlns='urn:xmpp:sm:3' previd='x' h='x'/>"),
        "<user-agent xmlns='urn:xmpp:sasl:2'/>",
        bind("<inactive xmlns='urn:xmpp:csi:0'/>", "<active xmlns='urn:xmpp:csi:0'/>"),
        "text " + bind() + " text",
    ],
)
async def test_odd_requests_let_in_who_has_the_password(server: Running, content: str) -> None:
    async with connected(server.url) as alice:
        success = await log_in(alice, content)
        assert success.tag == f"{SASL2}success"
        assert alice.jid.startswith("alice@localhost")
        assert len(sessions_of(server)) == ("/" in alice.jid)


@pytest.mark.parametrize(
    "content",
    [
        "<resume xmlns='urn:xmpp:sm:3' previd='x'/>",
        "<resume xmlns='urn:xmpp:sm:3' previd='x' h='-1'/>",
        "<fast xmlns='urn:xmpp:fast:0' count='x'/>",
        "<fast xmlns='urn:xmpp:fast:0' count='99999999999'/>",
        "<initial-response>=</initial-response>",
        "<initial-response>AA</initial-response>",
    ],
)
async def test_requests_that_are_wrong_are_refused(server: Running, content: str) -> None:
    async with connected(server.url) as alice:
        failure = await log_in(alice, content + bind(ENABLE))
        assert failure.tag == f"{SASL2}failure"
        assert condition(failure) in ("malformed-request", "incorrect-encoding")
        assert_nothing_is_left(server)
        # And may be made anew.
        assert (await outcome(alice, await ask(alice, "PLAIN", PASSWORD, bind()))).tag == f"{SASL2}success"


@pytest.mark.parametrize("agent", ["", " ", "x" * 8000, "\N{PILE OF POO}", "../../etc/passwd", "%s%n"])
async def test_odd_ids_of_clients(server: Running, agent: str) -> None:
    async with connected(server.url) as alice, connected(server.url) as again:
        given = token_of(await log_in(alice, WANTED, agent=agent))
        assert bool(given) == bool(agent)
        if agent:
            assert (await show(again, given, agent=agent)).tag == f"{SASL2}success"


@pytest.mark.parametrize(
    "tag",
    [
        "/",
        "//",
        "a/../b",
        "\N{PILE OF POO}" * 64,
        "\u202e",
        "\u200b",
        "&#x7f;",
        "a&#10;b",
        "\ufffd",
        "<b/>",
        "x<b>y</b>",
    ],
)
async def test_odd_tags(server: Running, tag: str) -> None:
    async with connected(server.url) as alice, connected(server.url) as again:
        for each in (alice, again):
            assert (await log_in(each, bind(tag=tag))).tag == f"{SASL2}success"
            assert each.jid.startswith("alice@localhost/")
            await each.message(each.jid, "to itself")
            assert await each.body() == "to itself"
        assert alice.jid != again.jid


async def test_so_many_attempts_of_all_kinds() -> None:
    async with running(config(max_auth_attempts=4)) as server, connected(server.url) as alice:
        await alice.open()
        for _ in range(2):
            assert (await alice.authenticate("alice", "wrong", "PLAIN")).tag.endswith("}failure")
        assert condition(await ask(alice, "PLAIN", b"\0alice\0wrong")) == "not-authorized"
        shown = b"alice\0" + bytes(32)
        assert condition(await ask(alice, "HT-SHA-256-NONE", shown, FAST)) == "not-authorized"
        assert (await alice.expect_end())[0] == "policy-violation"


async def test_nothing_secret_is_told(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a token nor what shows it, nor the id of a client stands in a log, a metric or a view."""
    caplog.set_level("DEBUG")
    agent = "f5b6cd27-7b0e-4c4f-9d09-5d0e5f3ad7b1"
    async with connected(server.url) as alice, connected(server.url) as again, connected(server.url) as wrong:
        given = token_of(await log_in(alice, WANTED + bind(ENABLE), agent=agent))
        await show(again, given, bind(ENABLE), agent=agent)
        await show(wrong, given + "x", agent=agent)
        rows = [str(each.stream.facts()) for each in sessions_of(server)]
        told = "\n".join([caplog.text, *rows, *(str(vars(record)) for record in caplog.records)])
    assert "login=success" in told and "login=not-authorized" in told
    for secret in (given, agent):
        assert secret not in told


def write(_: FeaturesWanted) -> None:
    raise StorageError("The disk is gone")


async def test_a_module_that_fails_lets_nobody_in(server: Running) -> None:
    host_of(server).hooks.add(FeaturesWanted, Phase.ANSWER, write, "test")
    async with connected(server.url) as alice:
        await send(alice, bind(CARBONS, ENABLE))
        assert (await alice.expect_end())[0] == "internal-server-error"
    await until(lambda: not server.server.endpoint.connections)
    assert_nothing_is_left(server)
    assert module(server, "carbons")._enabled == {}
