"""Other people's client libraries, and the console page, against the server.

The suite knows a server as a `Site`: what runs it behind another server adds one to `SITES`. Every library does all of
it; what it has no function for goes through its own way to send a stanza, or what the page has no controls for is typed
into its pane of frames:

                     Strophe.js   stanza.js   xmpp.js   nbxmpp   console
    log-in, return   function     function    function  function function
    roster           stanza       function    stanza    function function
    subscriptions    stanza       function    stanza    function function
    presence         stanza       function    stanza    function function, without priority
    messages         stanza       function    stanza    function function for chat to a bare JID
    blocking, vCard  stanza       function    stanza    function stanza
    disco            stanza       function    stanza    function stanza
    ping             stanza       function    stanza    function stanza; its own is in test_console.py
    unknown request  stanza       stanza      stanza    stanza   stanza

The page shows neither resources nor priorities nor the kinds of messages, so there they are not compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, TypeAlias

import pytest

from browser import Chromium
from libraries import LIBRARIES, XMPPJS_WITH_SCRAM, Failed, Library, Person, bare, joined
from servers import PASSWORDS, config, running

pytestmark = pytest.mark.e2e

TEXT = 'Grüße <b>&amp;</b> "quoted" 👋'
# They resume their stream (XEP-0198); the others log in anew.
RESUMING = frozenset({"stanza", "xmppjs", "nbxmpp", "console"})
# They ask for what other clients of the account get (XEP-0280).
COPIED = frozenset({"console"})
NEEDED = {
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "urn:xmpp:ping",
    "urn:xmpp:blocking",
    "vcard-temp",
    "msgoffline",
}


@dataclass(frozen=True)
class Site:
    """A server with fresh accounts: the endpoint, the passwords of its bare JIDs, a way to cut a JID's socket."""

    url: str
    passwords: Mapping[str, str]
    cut: Callable[[str], None]

    @property
    def domain(self) -> str:
        return next(iter(self.passwords)).partition("@")[2]


@asynccontextmanager
async def local() -> AsyncIterator[Site]:
    async with running(config(http={"console": True})) as server:

        def cut(jid: str) -> None:
            (connection,) = (one for one in server.server.endpoint.connections if one.name == bare(jid))
            connection.abort()

        yield Site(server.url, {f"{name}@localhost": password for name, password in PASSWORDS.items()}, cut)


SITES = {"local": local}


Join: TypeAlias = Callable[..., Awaitable[Person]]


@pytest.fixture(params=SITES.values(), ids=list(SITES))
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with request.param() as started:
        yield started


@pytest.fixture(params=LIBRARIES, ids=str)
def library(request: pytest.FixtureRequest) -> Library:
    found: Library = request.param
    return found


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    shared = Chromium(tmp_path_factory.mktemp("chromium"))
    yield shared
    shared.stop()


@pytest.fixture
async def join(site: Site, chromium: Chromium) -> AsyncIterator[Join]:
    """Log an account in: `await join("alice", library, "resource")`."""
    async with AsyncExitStack() as people:

        async def join(name: str, library: Library, resource: str = "") -> Person:
            jid = f"{name}@{site.domain}"
            address = f"{jid}/{resource}" if resource else jid
            return await people.enter_async_context(joined(library, chromium, site.url, address, site.passwords[jid]))

        yield join


async def join_two(join: Join, library: Library) -> tuple[Person, Person]:
    alice, bob = await asyncio.gather(join("alice", library), join("bob", library))
    return alice, bob


async def subscribe(subscriber: Person, contact: Person) -> None:
    await subscriber.ask("subscribe", jid=contact.bare)
    await contact.sees("presence", from_=subscriber.bare, type="subscribe")
    await contact.ask("approve", jid=subscriber.bare)
    await subscriber.sees("presence", from_=contact.jid, type="available")


async def befriend(one: Person, other: Person) -> None:
    await subscribe(one, other)
    await subscribe(other, one)
    await asyncio.gather(one.forget(), other.forget())


async def items(person: Person) -> dict[str, tuple[str, str, str]]:
    """Return the roster: name, subscription and ask by JID."""
    return {item["jid"]: (item["name"], item["subscription"], item["ask"]) for item in await person.ask("roster")}


async def test_xmppjs_logs_in_with_scram(join: Join) -> None:
    alice = await join("alice", XMPPJS_WITH_SCRAM)
    await alice.ask("ping")


async def test_a_wrong_password_is_told(library: Library, site: Site, chromium: Chromium) -> None:
    async with library.start(chromium, site.url, f"alice@{site.domain}", "wrong") as alice:
        refused = await alice.event("refused", "online")
        assert refused == {"event": "refused", "condition": "not-authorized"}


async def test_roster_changes_are_pushed_to_every_resource(library: Library, join: Join, site: Site) -> None:
    one, other = await asyncio.gather(join("alice", library, "one"), join("alice", library, "other"))
    carol = f"carol@{site.domain}"
    assert await items(one) == {}
    for name in ("Carol", TEXT):
        await one.ask("set", jid=carol, name=name)
        for person in (one, other):
            await person.sees("contact", jid=carol, name=name, subscription="none")
            assert await items(person) == {carol: (name, "none", "")}
    await other.ask("remove", jid=carol)
    for person in (one, other):
        await person.sees("contact", jid=carol, subscription="remove")
        assert await items(person) == {}


async def test_subscriptions_both_ways(library: Library, join: Join) -> None:
    alice, bob = await join_two(join, library)
    await alice.ask("subscribe", jid=bob.bare)
    await alice.sees("contact", jid=bob.bare, subscription="none", ask="subscribe")
    await bob.sees("presence", from_=alice.bare, type="subscribe")
    await bob.ask("approve", jid=alice.bare)
    await alice.sees("contact", jid=bob.bare, subscription="to", ask="")
    await bob.sees("contact", jid=alice.bare, subscription="from")
    await alice.sees("presence", from_=bob.jid, type="available")
    await bob.sees_no("presence", from_=alice.jid, type="available")

    await subscribe(bob, alice)
    for person, friend in ((alice, bob), (bob, alice)):
        await person.sees("contact", jid=friend.bare, subscription="both")
        assert await items(person) == {friend.bare: ("", "both", "")}


async def test_a_subscription_is_denied(library: Library, join: Join) -> None:
    alice, bob = await join_two(join, library)
    await alice.ask("subscribe", jid=bob.bare)
    await bob.sees("presence", from_=alice.bare, type="subscribe")
    await alice.sees("contact", jid=bob.bare, ask="subscribe")
    await bob.ask("deny", jid=alice.bare)
    await alice.sees("contact", jid=bob.bare, subscription="none", ask="")
    await alice.sees_no("presence", from_=bob.jid, type="available")
    assert (await items(bob)).get(alice.bare, ("", "none", "")) == ("", "none", "")


async def test_subscriptions_are_cancelled_by_either_side(library: Library, join: Join) -> None:
    alice, bob = await join_two(join, library)
    await befriend(alice, bob)
    await bob.ask("deny", jid=alice.bare)
    await alice.sees("contact", jid=bob.bare, subscription="from")
    await alice.sees("presence", from_=bob.jid, type="unavailable")
    await bob.ask("unsubscribe", jid=alice.bare)
    await bob.sees("contact", jid=alice.bare, subscription="none")
    await bob.sees("presence", from_=alice.jid, type="unavailable")
    await alice.sees("contact", jid=bob.bare, subscription="none", ask="")


async def test_presence_is_seen_by_a_friend(library: Library, join: Join, site: Site) -> None:
    alice, bob = await join_two(join, library)
    await befriend(alice, bob)
    await alice.ask("presence", show="dnd", status=TEXT, priority=5)
    await bob.sees("presence", from_=alice.jid, type="available", show="dnd", status=TEXT, priority=5)
    await is_back_after_a_cut(alice, bob, library, site)
    await alice.ask("leave")
    await alice.sees("offline")
    await bob.sees("presence", from_=alice.bare, type="unavailable")
    assert await alice.script.end() == 0


async def test_messages_go_both_ways(library: Library, join: Join) -> None:
    alice, bob = await join_two(join, library)
    for kind in ("chat", "normal", "headline"):
        await alice.ask("message", to=bob.bare, body=TEXT, kind=kind)
        await bob.sees("message", from_=alice.jid, kind=kind, body=TEXT, delay=None)
        await bob.ask("message", to=alice.jid, body=f"And back\n{kind}", kind=kind)
        await alice.sees("message", from_=bob.jid, kind=kind, body=f"And back\n{kind}", delay=None)


@pytest.mark.parametrize(("one", "other"), list(combinations(LIBRARIES, 2)), ids=lambda library: library.name)
async def test_libraries_understand_each_other(one: Library, other: Library, join: Join) -> None:
    alice, bob = await join("alice", one), await join("bob", other)
    await befriend(alice, bob)
    for sender, recipient in ((alice, bob), (bob, alice)):
        await sender.ask("message", to=recipient.bare, body=TEXT, kind="chat")
        await recipient.sees("message", from_=sender.jid, kind="chat", body=TEXT)


async def test_two_resources_of_one_account(library: Library, join: Join) -> None:
    alice = await join("alice", library)
    one, other = await asyncio.gather(join("bob", library, "one"), join("bob", library, "other"))
    # XEP-0386 makes the resource a tag, behind which the server says which of its sessions this is.
    assert [each.jid.split("/")[:2] for each in (one, other)] == [[one.bare, "one"], [one.bare, "other"]]
    await alice.ask("message", to=one.bare, body="to both", kind="chat")
    for person in (one, other):
        await person.sees("message", from_=alice.jid, body="to both")
    await alice.ask("message", to=one.jid, body="to one", kind="chat")
    await one.sees("message", body="to one")
    if library.name in COPIED:
        await other.sees("message", body="to one")
    await other.sees_no("message")
    await one.ask("leave")
    await one.sees("offline")
    await other.ask("message", to=alice.jid, body="still here", kind="chat")
    await alice.sees("message", from_=other.jid, body="still here")


async def test_errors_reach_the_sender(library: Library, join: Join, site: Site) -> None:
    alice = await join("alice", library)
    nobody = f"nobody@{site.domain}"
    id = await alice.ask("message", to=nobody, body="Hello?", kind="chat")
    await alice.sees("undelivered", from_=nobody, id=id, condition="service-unavailable")
    with pytest.raises(Failed, match=r"^service-unavailable$"):
        await alice.ask("unknown", jid=site.domain)


async def test_blocking(library: Library, join: Join) -> None:
    alice, bob = await join_two(join, library)
    await befriend(alice, bob)
    await alice.ask("block", jid=bob.bare)
    assert await alice.ask("blocked") == [bob.bare]
    await bob.sees("presence", from_=alice.jid, type="unavailable")
    id = await bob.ask("message", to=alice.bare, body="refused", kind="chat")
    await bob.sees("undelivered", from_=alice.bare, id=id, condition="service-unavailable")
    id = await alice.ask("message", to=bob.bare, body="refused too", kind="chat")
    await alice.sees("undelivered", from_=bob.bare, id=id, condition="not-acceptable")
    await alice.ask("unblock", jid=bob.bare)
    assert await alice.ask("blocked") == []
    await bob.sees("presence", from_=alice.jid, type="available")
    await bob.ask("message", to=alice.bare, body="accepted", kind="chat")
    await alice.sees("message", body="accepted")
    await bob.sees_no("message")
    await alice.sees_no("message")


async def test_a_vcard_is_read_by_others(library: Library, join: Join) -> None:
    alice, bob = await join_two(join, library)
    await alice.ask("set-vcard", name=TEXT)
    assert await bob.ask("vcard", jid=alice.bare) == TEXT


async def test_messages_wait_for_who_is_away(library: Library, join: Join, site: Site) -> None:
    alice = await join("alice", library)
    bob = f"bob@{site.domain}"
    before = datetime.now(UTC).replace(microsecond=0)
    for number in range(3):
        await alice.ask("message", to=bob, body=f"{number} {TEXT}", kind="chat")
    await alice.ask("ping")
    arrived = await join("bob", library)
    for number in range(3):
        message = await arrived.sees("message", from_=alice.jid)
        assert message["body"] == f"{number} {TEXT}"
        assert before <= datetime.fromisoformat(message["delay"]) <= datetime.now(UTC)
    await arrived.sees_no("message")


async def test_disco_and_ping(library: Library, join: Join, site: Site) -> None:
    alice = await join("alice", library)
    info = await alice.ask("disco", jid=site.domain)
    assert set(info["features"]) >= NEEDED
    assert "server/im" in info["identities"]
    await alice.ask("ping")


async def test_a_client_comes_back_after_its_socket_is_cut(library: Library, join: Join, site: Site) -> None:
    alice, bob = await join_two(join, library)
    await alice.ask("set", jid=bob.bare, name="Bob")
    await befriend(alice, bob)
    roster = await is_back_after_a_cut(alice, bob, library, site)
    expected = [] if library.name in RESUMING else [(bob.bare, "Bob")]
    assert [(item["jid"], item["name"]) for item in roster] == expected
    for sender, recipient in ((alice, bob), (bob, alice)):
        await sender.ask("message", to=recipient.bare, body="Welcome back", kind="chat")
        await recipient.sees("message", body="Welcome back")


async def is_back_after_a_cut(alice: Person, bob: Person, library: Library, site: Site) -> list[dict[str, Any]]:
    """Cut a socket, wait until its client is back, and return the roster that it asked for then."""
    site.cut(alice.jid)
    if library.name in RESUMING:
        # Nobody sees it go, and nothing is lost.
        await bob.ask("message", to=alice.jid, body="Meanwhile", kind="chat")
        await alice.sees("message", from_=bob.jid, body="Meanwhile")
        await bob.sees_no("presence", from_=alice.jid, type="unavailable")
        return []
    await bob.sees("presence", from_=alice.jid, type="unavailable")
    roster = (await alice.sees("online"))["roster"]
    await bob.sees("presence", from_=alice.bare, type="available")
    return list(roster)


async def test_leaving_ends_the_stream_as_it_should(library: Library, chromium: Chromium) -> None:
    # Not of the suite: why a stream has ended, only our own server tells.
    async with (
        running(config(http={"console": True})) as server,
        joined(library, chromium, server.url, "alice@localhost", PASSWORDS["alice"]) as alice,
    ):
        (connection,) = server.server.endpoint.connections
        await alice.ask("leave")
        await alice.sees("offline")
        assert await alice.script.end() == 0
        assert connection.ended is not None
        assert connection.ended.reason.id == "client-close"
        assert server.server.sessions() == 0
