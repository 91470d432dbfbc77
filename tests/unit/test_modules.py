"""The modules of the first slice, by what clients send and receive."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from fakes import ListRoute, World, got, stream_of
from xmppws import __version__
from xmppws.core.catalog import Catalog, ModuleError
from xmppws.core.loader import load
from xmppws.core.module import Module, Target, iq_get
from xmppws.core.roster import RosterItem, Subscription
from xmppws.errors import End, InvalidFrom, Reason, Side, StreamConflict, UnsupportedStanzaType
from xmppws.modules import BUILT_IN
from xmppws.modules.time import _offset
from xmppws.xml.stanza import Stanza, read

IQ = "<iq xmlns='jabber:client' type='{}' id='1'{}>{}</iq>"


async def ask(world: World, session, type: str, payload: str, to: str = "") -> str:  # type: ignore[no-untyped-def]
    await world.says(session, IQ.format(type, f" to='{to}'" if to else "", payload))
    return got(session)[-1]


async def test_ping_and_session() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    for to in ("", "localhost", "alice@localhost"):
        answer = await ask(world, alice, "get", "<ping xmlns='urn:xmpp:ping'/>", to)
        assert answer.endswith('type="result" id="1"/>') and 'to="alice@localhost/a"' in answer
    assert "service-unavailable" in await ask(world, alice, "get", "<ping xmlns='urn:xmpp:ping'/>", "bob@localhost")
    assert "service-unavailable" in await ask(world, alice, "set", "<ping xmlns='urn:xmpp:ping'/>", "localhost")
    session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"
    assert 'type="result"' in await ask(world, alice, "set", session)


async def test_version_and_time() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    version = await ask(world, alice, "get", "<query xmlns='jabber:iq:version'/>", "localhost")
    assert f"<name>xmppws</name><version>{__version__}</version>" in version
    time = await ask(world, alice, "get", "<time xmlns='urn:xmpp:time'/>", "localhost")
    match = re.search(r"<tzo>[+-]\d\d:\d\d</tzo><utc>(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)</utc>", time)
    assert match is not None
    said = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - said) < timedelta(seconds=30)


@pytest.mark.parametrize(
    ("minutes", "text"), [(0, "+00:00"), (330, "+05:30"), (-210, "-03:30"), (-1, "-00:01"), (840, "+14:00")]
)
def test_offsets_of_time_zones(minutes: int, text: str) -> None:
    assert _offset(timedelta(minutes=minutes)) == text


async def test_disco() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    info = "<query xmlns='http://jabber.org/protocol/disco#info'{}/>"
    host = await ask(world, alice, "get", info.format(""), "localhost")
    assert 'category="server" type="im"' in host and 'var="urn:xmpp:ping"' in host and host.count("<feature") >= 4
    account = await ask(world, alice, "get", info.format(""))
    assert 'category="account" type="registered"' in account
    assert "item-not-found" in await ask(world, alice, "get", info.format(" node='x'"), "localhost")
    assert "service-unavailable" in await ask(world, alice, "get", info.format(""), "bob@localhost")
    items = await ask(world, alice, "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "localhost")
    assert items.endswith('disco#items"><item jid="conference.localhost" name="Rooms"/></query></iq>')


ROSTER = "<query xmlns='jabber:iq:roster'>{}</query>"


async def test_roster_get_set_remove_and_push() -> None:
    world = World()
    one, two, idle = (world.session(f"alice@localhost/{resource}") for resource in ("one", "two", "idle"))
    for session in (one, two):
        assert await ask(world, session, "get", ROSTER.format("")) == (
            f'<iq to="{session.jid}" from="alice@localhost" xmlns="jabber:client" type="result" id="1">'
            '<query xmlns="jabber:iq:roster"/></iq>'
        )
    item = "<item jid='bob@localhost/x' name='Bob &amp; Co' subscription='both'><group>Friends</group></item>"
    await world.says(one, IQ.format("set", "", ROSTER.format(item)))
    push, result = got(one)
    kept = '<item jid="bob@localhost" subscription="none" name="Bob &amp; Co"><group>Friends</group></item>'
    assert kept in push and 'type="set"' in push and 'type="result"' in result
    (other,) = got(two)
    assert kept in other and f'to="{two.jid}"' in other
    assert got(idle) == []
    assert kept in await ask(world, two, "get", ROSTER.format(""))
    await world.says(two, IQ.format("set", "", ROSTER.format("<item jid='bob@localhost' subscription='remove'/>")))
    assert 'subscription="remove"' in got(one)[0]
    assert "<item" not in await ask(world, two, "get", ROSTER.format(""))


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ("", "bad-request"),
        ("<item jid='a@b'/><item jid='c@d'/>", "bad-request"),
        ("<item/>", "bad-request"),
        ("<item jid='a@b@c'/>", "bad-request"),
        ("<item jid='a@b'><group>x</group><group>x</group></item>", "bad-request"),
        ("<item jid='a@b'><group/></item>", "not-acceptable"),
        (f"<item jid='a@b' name='{'x' * 1024}'/>", "not-acceptable"),
        ("<item jid='alice@localhost'/>", "not-allowed"),
        ("<item jid='a@b' subscription='remove'/>", "item-not-found"),
    ],
)
async def test_roster_mistakes(items: str, error: str) -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    assert f"<{error} " in await ask(world, alice, "set", ROSTER.format(items))
    assert "<item" not in await ask(world, alice, "get", ROSTER.format(""))


async def befriend(world: World, *pairs: tuple[str, str, Subscription]) -> None:
    roster = world.host.stores.map("roster", RosterItem)
    for owner, contact, subscription in pairs:
        await roster.set(owner, contact, RosterItem(subscription=subscription))


PRESENCE = "<presence xmlns='jabber:client'{}/>"


async def test_presence_reaches_contacts_and_own_resources_and_nobody_else() -> None:
    world = World(names=("alice", "bob", "carol"))
    await befriend(
        world,
        ("alice", "bob@localhost", Subscription.BOTH),
        ("bob", "alice@localhost", Subscription.BOTH),
        ("alice", "carol@localhost", Subscription.TO),
        ("carol", "alice@localhost", Subscription.FROM),
    )
    bob, carol, alice, desk = (
        world.session(jid)
        for jid in ("bob@localhost/b", "carol@localhost/c", "alice@localhost/a", "alice@localhost/desk")
    )
    for session in (bob, carol, desk):
        await world.says(session, PRESENCE.format(""))
    for session in (bob, carol, desk, alice):
        got(session)
    await world.says(alice, PRESENCE.format(""))
    assert [text for text in got(bob) if 'from="alice@localhost/a"' in text and 'to="bob@localhost"' in text]
    assert got(carol) == []
    assert 'from="alice@localhost/a"' in got(desk)[0]
    seen = "".join(got(alice))
    for sender in ("alice@localhost/a", "alice@localhost/desk", "bob@localhost/b", "carol@localhost/c"):
        assert f'from="{sender}"' in seen

    await world.says(alice, PRESENCE.format(" type='unavailable'"))
    assert 'type="unavailable"' in got(bob)[0] and got(carol) == []
    assert ['type="unavailable"' in text for text in got(alice)] == [True]
    await world.says(bob, "<message xmlns='jabber:client' to='alice@localhost' type='chat'><body>x</body></message>")
    assert "x" in got(desk)[-1] and got(alice) == []


async def test_a_session_that_ends_is_unavailable_to_all_who_saw_it() -> None:
    world = World(names=("alice", "bob", "carol"))
    await befriend(world, ("alice", "bob@localhost", Subscription.FROM))
    alice, bob, carol = (world.session(f"{name}@localhost/r", priority=0) for name in ("alice", "bob", "carol"))
    await world.dispatch.drain()
    await world.says(alice, PRESENCE.format(" to='carol@localhost'"))
    assert 'to="carol@localhost"' in got(carol)[-1]
    got(bob)
    world.host.unbind(alice, End(Reason.CONNECTION_LOST, Side.NETWORK))
    await world.dispatch.drain()
    for session in (bob, carol):
        (gone,) = got(session)
        assert 'type="unavailable"' in gone and 'from="alice@localhost/r"' in gone
    assert len(world.host.sessions) == 2
    world.host.unbind(alice, End(Reason.CONNECTION_LOST, Side.NETWORK))
    await world.dispatch.drain()
    assert got(bob) == []


async def test_a_probe_is_answered_to_those_who_may_know() -> None:
    world = World()
    route = ListRoute("far.example")
    world.dispatch.routes = (*world.dispatch.routes, route)
    await befriend(world, ("alice", "friend@far.example", Subscription.FROM))
    alice = world.session("alice@localhost/a", priority=3)
    await world.dispatch.drain()
    route.delivered.clear()
    for sender in ("friend@far.example", "stranger@far.example"):
        text = f"<presence xmlns='jabber:client' type='probe' from='{sender}' to='alice@localhost'/>"
        stanza, _ = read(world.parse(text))
        world.dispatch.post(stanza)
        await world.dispatch.drain()
    answer, refusal = route.delivered
    assert b'to="friend@far.example"' in answer and b"<priority>3</priority>" in answer
    assert b'to="stranger@far.example" from="alice@localhost"' in refusal and b'type="unsubscribed"' in refusal
    assert stream_of(alice).error is None


async def test_a_second_route_gets_what_is_not_local() -> None:
    world = World()
    route = ListRoute("far.example")
    world.dispatch.routes = (*world.dispatch.routes, route)
    alice = world.session("alice@localhost/a")
    await world.says(alice, "<message xmlns='jabber:client' to='x@far.example/y' type='chat'><body>hi</body></message>")
    assert route.delivered == [
        b'<message to="x@far.example/y" from="alice@localhost/a" xmlns="jabber:client" type="chat">'
        b"<body>hi</body></message>"
    ]
    assert got(alice) == []


async def test_from_is_stamped_and_checked() -> None:
    world = World()
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b")
    for own in ("alice@localhost", "alice@localhost/a"):
        await world.says(alice, f"<message xmlns='jabber:client' from='{own}' to='bob@localhost/b'/>")
        assert 'from="alice@localhost/a"' in got(bob)[0]
    for foreign in ("bob@localhost", "alice@localhost/b", "a@b@c"):
        with pytest.raises(InvalidFrom):
            world.send(alice, f"<message xmlns='jabber:client' from='{foreign}' to='bob@localhost/b'/>")
    with pytest.raises(UnsupportedStanzaType):
        world.send(alice, "<other xmlns='jabber:client'/>")
    assert got(bob) == []


async def test_the_newer_session_of_a_resource_wins() -> None:
    world = World()
    older = world.session("alice@localhost/a")
    newer = world.session("alice@localhost/a")
    assert isinstance(stream_of(older).error, StreamConflict) and stream_of(newer).error is None


def module(name: str, *requires: str) -> type[Module]:
    return type(name, (Module,), {"name": name, "requires": requires})


def test_modules_are_loaded_behind_what_they_require() -> None:
    world = World(module("a", "c"), module("b"), module("c", "b"), built_in=False)
    assert list(world.host.modules) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["presence"], "requires 'roster'"),
        (["rooster"], "did you mean 'roster'?"),
        (["x", "y"], "x → y → x"),
    ],
)
def test_modules_that_cannot_be_loaded_are_explained(names: list[str], text: str) -> None:
    world = World(built_in=False)
    known = {**BUILT_IN, "x": module("x", "y"), "y": module("y", "x")}
    with pytest.raises(ModuleError, match=r"^localhost: ") as error:
        load(world.host, names, Catalog(known))
    assert text in str(error.value)


def test_two_modules_cannot_answer_the_same_request() -> None:
    class Other(Module):
        name = "other"

        @iq_get("urn:xmpp:ping", "ping", to=Target.HOST)
        def answer(self, iq: Stanza) -> Stanza:
            return iq.result()

    with pytest.raises(ModuleError, match="other"):
        World(Other)
