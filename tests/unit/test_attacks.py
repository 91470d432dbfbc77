"""What one account could do to others, or to the server, with stanzas alone, and must not. Races have gates here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from fakes import KeepingStream, ListRoute, Users, World, got
from faulty import faulty
from xmppws.core.events import AccountEnding
from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.modules.offline import Offline

ENDED = End(Reason.CONNECTION_LOST, Side.NETWORK)
PRESENCE = "<presence xmlns='jabber:client'/>"
TO_BOB = "<presence xmlns='jabber:client' to='bob@localhost'/>"
GONE = "<presence xmlns='jabber:client' type='unavailable'/>"
PROBE = "<presence xmlns='jabber:client' type='probe' to='bob@localhost'/>"
SUBSCRIBE = "<presence xmlns='jabber:client' type='subscribe' to='bob@localhost'>{}</presence>"
MESSAGE = "<message xmlns='jabber:client' to='bob@localhost' type='chat'><body>{}</body></message>"
BOB = Jid.parse("bob@localhost")


async def online(world: World, jid: str) -> Session:
    session = world.session(jid)
    await world.says(session, PRESENCE)
    got(session)
    return session


async def put(world: World, owner: str, contact: str, item: RosterItem) -> None:
    await world.host.stores.map("roster", RosterItem).set(owner, contact, item)


def command(name: str, *addresses: str) -> str:
    items = "".join(f"<item jid='{address}'/>" for address in addresses)
    return f"<iq xmlns='jabber:client' type='set' id='c'><{name} xmlns='urn:xmpp:blocking'>{items}</{name}></iq>"


async def done(pending: Awaitable[None] | None) -> None:
    """Wait for no more than a client's session waits for."""
    if pending is not None:
        await pending


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# --- nothing piles up behind a session that goes on ---


async def test_who_probes_waits_for_the_answer() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    faulty(world.host.modules["roster"], "items")
    await done(world.send(alice, PROBE))
    assert not world.dispatch._tasks
    await put(world, "bob", "alice@localhost", RosterItem(subscription=Subscription.FROM))
    await done(world.send(alice, PROBE))
    assert not world.dispatch._tasks and 'type="unavailable"' in got(alice)[-1]


@pytest.mark.parametrize("said", [PRESENCE, GONE])
async def test_who_shows_itself_to_many_waits_until_they_are_told(said: str) -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    for number in range(300):
        await put(world, "alice", f"{number}@localhost", RosterItem(subscription=Subscription.BOTH))
    faulty(world.host.modules["blocking"], "lists")
    alice.presence = None
    await done(world.send(alice, PRESENCE))
    assert not world.dispatch._tasks
    await done(world.send(alice, said))
    assert not world.dispatch._tasks


async def test_coming_and_going_is_written_by_one_task() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    disk = faulty(world.host.modules["lastactivity"], "seen")
    disk.gate.clear()
    for _ in range(20):
        await done(world.send(alice, GONE))
        await done(world.send(alice, PRESENCE))
    assert len(world.dispatch._tasks) <= 1
    disk.gate.set()
    await world.dispatch.drain()


async def test_a_presence_for_everybody_is_small() -> None:
    """It is held as long as the session is available."""
    world = World()
    alice = await online(world, "alice@localhost/a")
    before = alice.presence
    text = f"<status>{'x' * 20_000}</status>"
    await world.says(alice, f"<presence xmlns='jabber:client'>{text}</presence>")
    (answer,) = got(alice)
    assert "<policy-violation " in answer and alice.presence is before


async def test_a_request_is_small() -> None:
    """Else two strangers could fill the space for requests of everybody."""
    world = World()
    alice = await online(world, "alice@localhost/a")
    await world.says(alice, SUBSCRIBE.format(f"<status>{'x' * 5000}</status>"))
    assert "<policy-violation " in got(alice)[-1]
    assert await world.host.stores.map("roster", RosterItem).all("bob") == {}


async def test_too_many_addresses_to_block_are_refused_unread() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    await world.says(alice, command("block", *(f"no jid {number}" for number in range(1001))))
    assert "<resource-constraint " in got(alice)[-1]
    # Preparing addresses takes long, so others have their turn meanwhile.
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.ensure_future(tick())
    await world.says(alice, command("block", *(f"ä{number}@localhost" for number in range(1000))))
    ticking.cancel()
    assert 'type="result"' in got(alice)[-1] and ticks >= 100


# --- who is blocked ---


async def test_a_blocked_contact_learns_nothing_when_it_is_removed() -> None:
    world = World()
    await put(world, "alice", "bob@localhost", RosterItem(subscription=Subscription.BOTH))
    await put(world, "bob", "alice@localhost", RosterItem(subscription=Subscription.BOTH))
    alice, bob = await online(world, "alice@localhost/secret"), await online(world, "bob@localhost/b")
    await world.says(alice, command("block", "bob@localhost"))
    got(bob)
    remove = "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' subscription='remove'/></query>"
    await world.says(alice, f"<iq xmlns='jabber:client' type='set' id='r'>{remove}</iq>")
    assert "secret" not in "".join(got(bob))


async def test_a_blocked_contact_is_not_asked_for_its_presence() -> None:
    world = World()
    far = ListRoute("far.example")
    world.dispatch.routes = (*world.dispatch.routes, far)
    for contact in ("carol@far.example", "dave@far.example"):
        await put(world, "alice", contact, RosterItem(subscription=Subscription.TO))
    alice = world.session("alice@localhost/a")
    await world.says(alice, command("block", "carol@far.example"))
    await world.says(alice, PRESENCE)
    (probe,) = far.delivered
    assert b'type="probe"' in probe and b"dave@far.example" in probe


async def test_a_list_that_fails_to_be_written_is_not_read_between_two_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    one, two = await online(world, "alice@localhost/one"), await online(world, "alice@localhost/two")
    bob = await online(world, "bob@localhost/b")
    lists = faulty(world.host.modules["blocking"], "lists")
    await world.says(one, command("block", "a@b"))
    lists.gate.clear()
    lists.broken.add("alice")
    first = asyncio.ensure_future(world.says(one, command("block", "c@d")))
    second = asyncio.ensure_future(world.says(two, command("block", "bob@localhost")))
    await turns()
    lists.gate.set()
    async with asyncio.timeout(5):
        while "<internal-server-error " not in "".join(got(one)):
            await asyncio.sleep(0)
    lists.broken.clear()
    # Somebody asks for the list at once.
    await world.says(bob, MESSAGE.format("x").replace("bob@", "alice@"))
    await asyncio.gather(first, second)
    got(one), got(two), got(bob)
    await world.says(bob, MESSAGE.format("x").replace("bob@", "alice@"))
    assert got(one) == got(two) == [] and "<service-unavailable " in got(bob)[-1]
    assert len(caplog.records) == 1


async def test_presence_that_could_not_be_told_is_initial_the_next_time(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    alice, bob = await online(world, "alice@localhost/a"), world.session("bob@localhost/b")
    await world.says(alice, MESSAGE.format("Hello"))
    items = faulty(world.host.modules["roster"], "items")
    items.broken.add("bob")
    await world.says(bob, PRESENCE)
    assert "<internal-server-error " in got(bob)[-1] and bob.presence is None
    items.broken.clear()
    await world.says(bob, PRESENCE)
    assert "<body>Hello</body>" in "".join(got(bob))
    assert len(caplog.records) == 1


# --- sessions that end in the middle ---


async def test_who_has_ended_is_shown_to_nobody() -> None:
    world = World()
    alice, bob = world.session("alice@localhost/a"), await online(world, "bob@localhost/b")
    lists = faulty(world.host.modules["blocking"], "lists")
    lists.gate.clear()
    pending = asyncio.ensure_future(done(world.send(alice, TO_BOB)))
    await turns()
    world.host.unbind(alice, ENDED)
    lists.gate.set()
    await pending
    await world.dispatch.drain()
    assert got(bob) == [] and not alice.directed


async def test_who_ends_while_shown_to_many_is_shown_to_no_more() -> None:
    world = World()
    contacts = [f"{number}@far.example" for number in range(3)]
    for contact in contacts:
        await put(world, "alice", contact, RosterItem(subscription=Subscription.FROM))
    alice = await online(world, "alice@localhost/a")
    await world.says(alice, command("block", "far.example"))
    got(alice)
    told: list[str] = []
    gate = asyncio.Event()

    class Slow(ListRoute):
        def deliver(self, stanza: object) -> Awaitable[None] | None:
            told.append(stanza.wire.decode())  # type: ignore[attr-defined]
            return self._wait()

        async def _wait(self) -> None:
            await gate.wait()

    world.dispatch.routes = (*world.dispatch.routes, Slow("far.example"))
    pending = asyncio.ensure_future(done(world.send(alice, command("unblock", "far.example"))))
    await turns()
    world.host.unbind(alice, ENDED)
    await turns()
    gate.set()
    await pending
    await world.dispatch.drain()
    for contact in contacts:
        last = [text for text in told if contact in text][-1]
        assert 'type="unavailable"' in last, told


@pytest.mark.parametrize("is_contact", [True, False])
async def test_a_session_that_was_replaced_does_not_hide_the_one_that_took_its_place(is_contact: bool) -> None:
    world = World()
    if is_contact:
        await put(world, "alice", "bob@localhost", RosterItem(subscription=Subscription.FROM))
    bob = await online(world, "bob@localhost/b")
    old = await online(world, "alice@localhost/a")
    await world.says(old, TO_BOB)
    got(bob)
    slow = faulty(world.host.modules["roster"], "items")
    slow.gate.clear()
    world.host.unbind(old, ENDED)
    await turns()
    # The second read overtakes the first.
    setattr(world.host.modules["roster"], "items", slow._store)  # noqa: B010
    new = world.session("alice@localhost/a")
    await done(world.send(new, PRESENCE))
    await done(world.send(new, TO_BOB))
    slow.gate.set()
    await world.dispatch.drain()
    presences = got(bob)
    assert presences and 'type="unavailable"' not in presences[-1]


# --- accounts that end in the middle ---


@pytest.mark.parametrize("after", range(0, 40, 3))
async def test_nothing_comes_into_the_roster_of_an_account_that_has_ended(after: int) -> None:
    world = World()
    strangers = [await online(world, f"{name}@localhost/a") for name in ("alice", "carol", "dave", "erin")]
    faulty(world.host.modules["roster"], "items")
    pending = [asyncio.ensure_future(world.says(each, SUBSCRIBE.format(""))) for each in strangers]
    await turns(after)
    await _end_bob(world)
    await asyncio.gather(*pending)
    assert await world.host.stores.map("roster", RosterItem).all("bob") == {}


async def test_no_message_is_kept_for_an_account_that_has_ended() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    messages = faulty(world.host.modules["offline"], "messages")
    messages.gate.clear()
    pending = asyncio.ensure_future(world.says(alice, MESSAGE.format("Hello")))
    await turns()
    ending = asyncio.ensure_future(_end_bob(world))
    await turns()
    messages.gate.set()
    await asyncio.gather(pending, ending)
    assert await world.host.stores.archive("offline").count("bob") == 0


async def _end_bob(world: World) -> None:
    """End an account as the end of an anonymous user does."""
    (users,) = world.host.providers
    assert isinstance(users, Users)
    users.names.discard("bob")
    await world.host.hooks.finish(AccountEnding(BOB))
    await world.host.stores.purge("bob")


# --- messages that wait ---


async def test_who_comes_while_a_message_is_being_kept_gets_it() -> None:
    world = World()
    alice = await online(world, "alice@localhost/a")
    messages = faulty(world.host.modules["offline"], "messages")
    messages.gate.clear()
    pending = asyncio.ensure_future(world.says(alice, MESSAGE.format("Hello")))
    await turns()
    # Bob comes, and nothing is there for him yet.
    setattr(world.host.modules["offline"], "messages", messages._store)  # noqa: B010
    bob = world.session("bob@localhost/b")
    await done(world.send(bob, PRESENCE))
    messages.gate.set()
    await pending
    await world.dispatch.drain()
    assert "<body>Hello</body>" in "".join(got(bob))
    assert await world.host.stores.archive("offline").count("bob") == 0


async def test_what_a_session_left_behind_goes_to_the_next_at_once() -> None:
    class Stalling(KeepingStream):
        def send(self, *messages: bytes) -> None:
            super().send(*messages)
            if b"<body>" in messages[0]:
                phone.reads(False)

    world = World()
    alice = await online(world, "alice@localhost/a")
    for number in range(3):
        await world.says(alice, MESSAGE.format(number))
    phone = world.host.bind(BOB, "phone", Stalling())
    flushing = asyncio.ensure_future(world.says(phone, PRESENCE))
    await turns()
    laptop = world.session("bob@localhost/laptop")
    await done(world.send(laptop, PRESENCE))
    assert "<body>" not in "".join(got(laptop))
    world.host.unbind(phone, ENDED)
    phone.reads(True)
    await flushing
    assert "<body>1<" in "".join(texts := got(laptop)) and "<body>2<" in "".join(texts)
    assert "<body>0<" not in "".join(texts) and not vars(world.host.modules["offline"])["_flushing"]


async def test_what_is_being_written_counts() -> None:
    world = World()
    offline = world.host.modules["offline"]
    assert isinstance(offline, Offline)
    offline.options = Offline.Options(max_messages=3)
    written: list[asyncio.Future[str]] = []

    class Behind:
        """An archive that has yet to write what it was given."""

        def append(self, *arguments: object, **options: object) -> asyncio.Future[str]:
            written.append(asyncio.get_running_loop().create_future())
            return written[-1]

        async def count(self, owner: str) -> int:
            return 0

    alice = await online(world, "alice@localhost/a")
    vars(offline)["messages"] = Behind()
    for number in range(5):
        await world.says(alice, MESSAGE.format(number))
    assert len(written) == 3 and "".join(got(alice)).count("<service-unavailable ") == 2
    for future in written:
        future.set_result("id")
    await turns()
    await world.says(alice, MESSAGE.format("again"))
    assert len(written) == 4
