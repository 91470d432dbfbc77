"""Rooms as clients of a host use them: what the module does around the room."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fakes import ListRoute, World, got
from xmppws.core.component import Components
from xmppws.core.delivery import Delivery
from xmppws.core.loader import defaults, replace
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.modules.muc import Muc
from xmppws.modules.muc.options import MucOptions
from xmppws.xml.stanza import read

ROOM = "room@conference.localhost"
ADMIN, OWNER, USER = (f"http://jabber.org/protocol/muc#{part}" for part in ("admin", "owner", "user"))
INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
SUBMIT = f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'>{{}}</x></query>"
ENDED = End(Reason.CONNECTION_LOST, Side.NETWORK)


def module(world: World) -> Muc:
    muc = world.host.modules["muc"]
    assert isinstance(muc, Muc)
    return muc


async def start(*names: str, **options: Any) -> tuple[World, list[Session]]:
    """Start a host with people online."""
    world = World(names=("alice", "bob", "carol"))
    module(world).options = MucOptions(**{"lock": False, **options})
    sessions = [world.session(f"{name}@localhost/one", priority=0) for name in names]
    await world.dispatch.drain()
    for session in sessions:
        got(session)
    return world, sessions


async def join(world: World, session: Session, room: str = ROOM, inside: str = "", nick: str = "") -> list[str]:
    x = f"<x xmlns='http://jabber.org/protocol/muc'>{inside}</x>"
    to = f"{room}/{nick or session.account.local}"
    await world.says(session, f"<presence xmlns='jabber:client' id='j' to='{to}'>{x}</presence>")
    return got(session)


async def say(world: World, session: Session, to: str = ROOM, type: str = "groupchat", body: str = "hello") -> None:
    text = f"<message xmlns='jabber:client' to='{to}' type='{type}' id='m'><body>{body}</body></message>"
    await world.says(session, text)


async def ask(world: World, session: Session, type: str, payload: str, to: str = ROOM) -> str:
    await world.says(session, f"<iq xmlns='jabber:client' type='{type}' id='q' to='{to}'>{payload}</iq>")
    return got(session)[-1]


def field(name: str, value: str) -> str:
    return f"<field var='muc#roomconfig_{name}'><value>{value}</value></field>"


async def test_a_room_lives_from_its_first_occupant_to_its_last() -> None:
    world, (alice, bob) = await start("alice", "bob")
    assert '<status code="201"/>' in (await join(world, alice))[0]
    assert '<status code="201"/>' not in "".join(await join(world, bob))
    got(alice)
    await say(world, bob)
    assert [f'from="{ROOM}/bob"' in text for text in got(alice) + got(bob)] == [True, True]
    await world.says(alice, f"<presence xmlns='jabber:client' to='{ROOM}/alice' type='unavailable'/>")
    assert list(module(world).rooms) == [Jid.parse(ROOM)]
    world.host.unbind(bob, ENDED)
    await world.dispatch.drain()
    assert module(world).rooms == {}
    assert (module(world).room_count.value, module(world).messages.value) == (0, 1)


@pytest.mark.parametrize("text", ["<presence xmlns='jabber:client' type='unavailable'/>", ""])
async def test_who_goes_offline_leaves(text: str) -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    await join(world, bob)
    got(alice)
    if text:
        await world.says(bob, text)
    else:
        world.host.unbind(bob, ENDED)
        await world.dispatch.drain()
    (gone,) = got(alice)
    assert f'from="{ROOM}/bob"' in gone and 'type="unavailable"' in gone and 'role="none"' in gone


async def test_a_locked_room_waits_for_its_owner() -> None:
    world, (alice, bob) = await start("alice", "bob", lock=True)
    await join(world, alice)
    assert "<item-not-found " in (await join(world, bob))[0]
    assert "<item-not-found " in await ask(world, bob, "get", f"<query xmlns='{INFO}'/>")
    assert "muc_open" in await ask(world, alice, "get", f"<query xmlns='{INFO}'/>")
    assert ROOM not in await ask(world, bob, "get", f"<query xmlns='{ITEMS}'/>", "conference.localhost")
    assert 'type="result"' in await ask(world, alice, "set", SUBMIT.format(""))
    assert ROOM in await ask(world, bob, "get", f"<query xmlns='{ITEMS}'/>", "conference.localhost")
    assert len(await join(world, bob)) == 3


async def test_a_room_that_is_not_configured_is_over_when_it_is_cancelled() -> None:
    world, (alice,) = await start("alice", lock=True)
    await join(world, alice)
    cancel = f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='cancel'/></query>"
    assert 'type="result"' in await ask(world, alice, "set", cancel)
    assert module(world).rooms == {}


async def test_a_persistent_room_is_there_after_a_restart() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    some = field("persistentroom", "1") + field("roomname", "Kept") + field("membersonly", "1")
    await ask(world, alice, "set", SUBMIT.format(some))
    ban = f"<query xmlns='{ADMIN}'><item jid='bob@localhost' affiliation='outcast'><reason>r</reason></item></query>"
    assert 'type="result"' in await ask(world, alice, "set", ban)
    await world.says(
        alice, f"<message xmlns='jabber:client' to='{ROOM}' type='groupchat'><subject>s</subject></message>"
    )
    got(alice)
    await replace(world.host, Muc, defaults)
    assert '<status code="110"/><status code="332"/>' in got(alice)[0]
    (room,) = module(world).rooms.values()
    assert room.settings.name == "Kept" and room.creator == alice.account
    assert "<forbidden " in (await join(world, bob))[0]
    *_, subject = await join(world, alice)
    assert "<subject>s</subject><delay " in subject and f'from="{ROOM}/alice"' in subject
    banned = await ask(world, alice, "get", f"<query xmlns='{ADMIN}'><item affiliation='outcast'/></query>")
    assert '<item affiliation="outcast" jid="bob@localhost"><reason>r</reason></item>' in banned
    await ask(world, alice, "set", f"<query xmlns='{OWNER}'><destroy jid='{ROOM}'/></query>")
    await replace(world.host, Muc, defaults)
    assert module(world).rooms == {}


async def test_a_change_that_ends_after_the_service_has_stopped_takes_no_room_away() -> None:
    world, (alice,) = await start("alice")
    await join(world, alice)
    await ask(world, alice, "set", SUBMIT.format(field("persistentroom", "1")))
    (room,) = module(world).rooms.values()
    await module(world).stop()
    await module(world)._keep(room)
    assert await module(world).kept.owners() == [ROOM]


async def test_a_room_that_is_not_to_be_kept_any_more_is_forgotten() -> None:
    world, (alice,) = await start("alice")
    await join(world, alice)
    for value, kept in (("1", [ROOM]), ("0", [])):
        await ask(world, alice, "set", SUBMIT.format(field("persistentroom", value)))
        assert await module(world).kept.owners() == kept


async def test_an_account_with_the_name_of_a_room_is_deleted_without_it() -> None:
    world, (alice,) = await start("alice")
    await join(world, alice, "alice@conference.localhost")
    some = SUBMIT.format(field("persistentroom", "1"))
    await ask(world, alice, "set", some, "alice@conference.localhost")
    await world.host.stores.purge("alice")
    assert await module(world).kept.owners() == ["alice@conference.localhost"]


@pytest.mark.parametrize(("create", "refused"), [("everybody", False), ("local", False), ("admins", True)])
async def test_who_may_make_rooms_is_an_option(create: str, refused: bool) -> None:
    world, (alice,) = await start("alice", create=create)
    assert ("<not-allowed " in (await join(world, alice))[0]) is refused
    if refused:
        world.host.admins = frozenset({alice.account})
        assert "<not-allowed " not in (await join(world, alice))[0]


async def test_strangers_make_no_rooms_where_they_are_for_the_host() -> None:
    world, _ = await start(create="local")
    route = ListRoute("elsewhere.example")
    world.dispatch.routes = (*world.dispatch.routes, route)
    x = "<x xmlns='http://jabber.org/protocol/muc'/>"
    await send_from(world, "eve@elsewhere.example/e", f"<presence xmlns='jabber:client' to='{ROOM}/eve'>{x}</presence>")
    assert b"<not-allowed " in route.delivered[0]


async def send_from(world: World, sender: str, text: str) -> None:
    """Let a stanza come from somewhere else."""
    stanza, _ = read(world.parse(text))
    stanza.sender = Jid.parse(sender)
    world.dispatch.post(stanza)
    await world.dispatch.drain()


async def test_rooms_are_bounded_in_all_and_for_each_account() -> None:
    world, (alice, bob) = await start("alice", "bob", max_rooms=3, max_rooms_per_user=2)
    for name in ("a", "b"):
        await join(world, alice, f"{name}@conference.localhost")
    assert "<resource-constraint " in (await join(world, alice, "c@conference.localhost"))[0]
    await join(world, bob, "c@conference.localhost")
    assert "<resource-constraint " in (await join(world, bob, "d@conference.localhost"))[0]
    await world.says(alice, "<presence xmlns='jabber:client' to='a@conference.localhost/alice' type='unavailable'/>")
    got(alice)
    assert "<resource-constraint " not in (await join(world, alice, "d@conference.localhost"))[0]


async def test_a_join_that_is_refused_makes_no_room() -> None:
    world, (alice,) = await start("alice")
    assert "<jid-malformed " in (await join(world, alice, nick="x" * 100))[0]
    assert "<bad-request " in (await join(world, alice, inside="<history maxstanzas='x'/>"))[0]
    assert "<bad-request " in (await join(world, alice, inside="<history since='yesterday'/>"))[0]
    assert module(world).rooms == {}


async def test_history_since_a_time() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    await say(world, alice)
    for inside, number in (
        ("<history since='2999-01-01T00:00:00Z'/>", 0),
        ("<history since='1970-01-01T00:00:00Z'/>", 1),
        ("<history seconds='3600' since='1970-01-01T00:00:00Z'/>", 1),
        ("<history maxchars='0'/>", 0),
    ):
        assert sum("<body>" in text for text in await join(world, bob, inside=inside)) == number


async def test_presence_from_outside_is_answered_with_a_kick_and_makes_no_room() -> None:
    world, (alice, bob) = await start("alice", "bob")
    plain = f"<presence xmlns='jabber:client' to='{ROOM}/alice'/>"
    await world.says(alice, plain)
    (kick,) = got(alice)
    assert all(f'code="{code}"' in kick for code in (110, 307, 333)) and 'type="unavailable"' in kick
    assert module(world).rooms == {}
    await join(world, bob)
    await world.says(alice, plain)
    assert 'code="333"' in got(alice)[0] and got(bob) == []


async def test_presence_of_other_kinds_is_ignored() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    for type in ("probe", "unavailable", "error"):
        await world.says(bob, f"<presence xmlns='jabber:client' to='{ROOM}/bob' type='{type}'/>")
    await world.says(bob, "<presence xmlns='jabber:client' to='conference.localhost'/>")
    assert got(alice) == got(bob) == []
    await world.says(bob, f"<presence xmlns='jabber:client' to='{ROOM}'/>")
    assert "<jid-malformed " in got(bob)[0]


async def test_what_belongs_to_muc_is_the_rooms_to_say() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    forged = f"<x xmlns='{USER}'><item affiliation='owner' role='moderator'/></x><show>away</show>"
    await world.says(
        bob,
        f"<presence xmlns='jabber:client' to='{ROOM}/bob' id='7'><x xmlns='http://jabber.org/protocol/muc'>"
        f"<password>p</password></x>{forged}</presence>",
    )
    seen = got(alice)[-1]
    assert seen.count("<x ") == 1 and 'role="participant"' in seen and "<show>away</show>" in seen
    assert "password" not in seen and 'id="7"' not in seen


@pytest.mark.parametrize(
    ("to", "type", "error"),
    [
        (ROOM, "normal", "bad-request"),
        (ROOM, "chat", "bad-request"),
        (f"{ROOM}/alice", "groupchat", "bad-request"),
        (f"{ROOM}/nobody", "chat", "item-not-found"),
        ("other@conference.localhost", "groupchat", "item-not-found"),
        ("other@conference.localhost/x", "chat", "item-not-found"),
        ("conference.localhost", "chat", "item-not-found"),
    ],
)
async def test_messages_that_go_nowhere(to: str, type: str, error: str) -> None:
    world, (alice,) = await start("alice")
    await join(world, alice)
    await say(world, alice, to, type)
    (answer,) = got(alice)
    assert f"<{error} " in answer


async def test_a_message_to_a_client_that_is_gone_takes_it_out_of_the_room() -> None:
    world, (alice, bob, carol) = await start("alice", "bob", "carol")
    for session in (alice, bob, carol):
        await join(world, session)
    # As if it had ended without anybody being told.
    world.host.sessions.remove(bob)
    got(alice)
    await say(world, alice)
    assert list(module(world).rooms[Jid.parse(ROOM)].occupants) == ["alice", "carol"]
    assert any('code="333"' in text for text in got(carol))


@pytest.mark.parametrize(
    ("condition", "stays"), [("service-unavailable", True), ("not-acceptable", True), ("gone", False)]
)
async def test_an_error_of_a_client_that_is_there_counts_if_it_says_that_it_is_gone(
    condition: str, stays: bool
) -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    await join(world, bob)
    error = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    await world.says(bob, f"<message xmlns='jabber:client' type='error' to='{ROOM}/alice'>{error}</message>")
    assert ("bob" in module(world).rooms[Jid.parse(ROOM)].occupants) is stays


async def test_an_error_from_elsewhere_takes_a_client_out_and_one_from_outside_does_nothing() -> None:
    world, (alice,) = await start("alice")
    route = ListRoute("elsewhere.example")
    world.dispatch.routes = (*world.dispatch.routes, route)
    await join(world, alice)
    eve = "eve@elsewhere.example/e"
    x = "<x xmlns='http://jabber.org/protocol/muc'/>"
    error = "<error type='cancel'>{}<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>t</text></error>"
    unavailable = "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
    await send_from(world, eve, f"<presence xmlns='jabber:client' to='{ROOM}/eve'>{x}</presence>")
    occupants = module(world).rooms[Jid.parse(ROOM)].occupants
    for sender, inside, stays in (
        (eve, "", True),
        ("mal@elsewhere.example/m", unavailable, True),
        (eve, unavailable, False),
    ):
        bounce = f"<presence xmlns='jabber:client' type='error' to='{ROOM}/alice'>{error.format(inside)}</presence>"
        await send_from(world, sender, bounce)
        assert ("eve" in occupants) is stays


async def test_who_has_blocked_an_occupant_stays_and_does_not_hear_it() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    await join(world, bob)
    block = f"<block xmlns='urn:xmpp:blocking'><item jid='{ROOM}/alice'/></block>"
    await world.says(bob, f"<iq xmlns='jabber:client' type='set' id='b'>{block}</iq>")
    got(bob)
    await say(world, alice)
    await say(world, alice, f"{ROOM}/bob", "chat")
    assert got(bob) == [] and "bob" in module(world).rooms[Jid.parse(ROOM)].occupants


async def test_requests_between_occupants() -> None:
    world, (alice, bob, carol) = await start("alice", "bob", "carol")
    await join(world, alice)
    await join(world, bob)
    got(alice)
    await world.says(
        alice, f"<iq xmlns='jabber:client' type='get' id='v' to='{ROOM}/bob'><query xmlns='jabber:iq:version'/></iq>"
    )
    (asked,) = got(bob)
    id = re.findall(r' id="([^"]+)"', asked)[0]
    assert f'from="{ROOM}/alice"' in asked and id != "v"
    answer = (
        f"<iq xmlns='jabber:client' type='result' id='{id}' to='{ROOM}/alice'><query xmlns='jabber:iq:version'/></iq>"
    )
    await world.says(carol, answer)
    assert got(alice) == []
    await world.says(bob, answer)
    (answered,) = got(alice)
    assert f'from="{ROOM}/bob"' in answered and ' id="v"' in answered
    await world.says(bob, f"<iq xmlns='jabber:client' type='result' id='x' to='{ROOM}'/>")
    assert got(alice) == got(bob) == []


PING = "<ping xmlns='urn:xmpp:ping'/>"


@pytest.mark.parametrize(
    ("to", "answer"),
    [
        (f"{ROOM}/alice", 'type="result"'),
        (f"{ROOM}/nobody", "<item-not-found "),
        ("gone@conference.localhost/alice", "<not-acceptable "),
        ("conference.localhost", 'type="result"'),
        (ROOM, 'type="result"'),
    ],
)
async def test_pings(to: str, answer: str) -> None:
    world, (alice,) = await start("alice")
    await join(world, alice)
    assert answer in await ask(world, alice, "get", PING, to)


@pytest.mark.parametrize(
    ("to", "payload", "answer"),
    [
        (ROOM, "<query xmlns='urn:unknown'/>", "<service-unavailable "),
        ("conference.localhost", "<query xmlns='urn:unknown'/>", "<service-unavailable "),
        ("conference.localhost/x", "<query xmlns='urn:unknown'/>", "<service-unavailable "),
        ("gone@conference.localhost", "<query xmlns='urn:unknown'/>", "<item-not-found "),
        ("gone@conference.localhost", f"<query xmlns='{INFO}'/>", "<item-not-found "),
        ("gone@conference.localhost", f"<query xmlns='{ITEMS}'/>", "<item-not-found "),
        ("gone@conference.localhost", f"<query xmlns='{OWNER}'/>", "<item-not-found "),
        ("conference.localhost", f"<query xmlns='{ADMIN}'/>", "<item-not-found "),
        (ROOM, f"<query xmlns='{INFO}' node='x'/>", "<item-not-found "),
        (ROOM, f"<query xmlns='{ITEMS}' node='x'/>", "<item-not-found "),
        (ROOM, f"<query xmlns='{ADMIN}'/>", "<bad-request "),
        (ROOM, f"<query xmlns='{ADMIN}'><item/></query>", "<bad-request "),
        (ROOM, f"<query xmlns='{ADMIN}'><item role='king'/></query>", "<bad-request "),
        (ROOM, f"<query xmlns='{ADMIN}'><item affiliation='king'/></query>", "<bad-request "),
    ],
)
async def test_requests_that_go_nowhere(to: str, payload: str, answer: str) -> None:
    world, (alice,) = await start("alice")
    await join(world, alice)
    assert answer in await ask(world, alice, "get", payload, to)


@pytest.mark.parametrize(
    ("items", "answer"),
    [
        ("", "<bad-request "),
        ("<item/>", "<bad-request "),
        ("<item nick='bob' role='none' affiliation='none'/>", "<bad-request "),
        ("<item role='none'/>", "<bad-request "),
        ("<item affiliation='member'/>", "<bad-request "),
        ("<item jid='a@b@c' affiliation='member'/>", "<jid-malformed "),
        ("<item jid='a@b' affiliation='member'/>" * 101, "<bad-request "),
        ("<item nick='bob' affiliation='member'/>", 'type="result"'),
        ("".join(f"<item jid='{number}@b' affiliation='member'/>" for number in range(25)), 'type="result"'),
        ("<item jid='carol@localhost/x' affiliation='member'/><item nick='bob' role='visitor'/>", "<bad-request "),
        ("<item jid='b@c/x' affiliation='member'/><item jid='b@c' affiliation='outcast'/>", "<bad-request "),
        ("<item nick='bob' role='visitor'/><item nick='bob' role='none'/>", "<bad-request "),
        ("<item nick='bob' role='visitor'/>", 'type="result"'),
    ],
)
async def test_changes_are_read_strictly(items: str, answer: str) -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    await join(world, bob)
    got(alice)
    assert answer in await ask(world, alice, "set", f"<query xmlns='{ADMIN}'>{items}</query>")


async def test_lists() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    await join(world, bob)
    roles = await ask(world, alice, "get", f"<query xmlns='{ADMIN}'><item role='participant'/></query>")
    assert '<item affiliation="none" jid="bob@localhost/one" nick="bob" role="participant"/>' in roles
    owners = await ask(world, alice, "get", f"<query xmlns='{ADMIN}'><item affiliation='owner'/></query>")
    assert '<item affiliation="owner" jid="alice@localhost"/>' in owners
    assert "<forbidden " in await ask(world, bob, "get", f"<query xmlns='{ADMIN}'><item role='participant'/></query>")


async def test_the_form_is_for_owners() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    form = await ask(world, alice, "get", f"<query xmlns='{OWNER}'/>")
    assert 'var="muc#roomconfig_roomname"' in form
    for type, payload in (
        ("get", f"<query xmlns='{OWNER}'/>"),
        ("set", SUBMIT.format("")),
        ("set", f"<query xmlns='{OWNER}'><destroy/></query>"),
    ):
        assert "<forbidden " in await ask(world, bob, type, payload)
    assert "<bad-request " in await ask(world, alice, "set", f"<query xmlns='{OWNER}'/>")


async def test_what_is_shown_of_a_room() -> None:
    world, (alice, bob) = await start("alice", "bob")
    await join(world, alice)
    await ask(world, alice, "set", SUBMIT.format(field("roomname", "Name") + field("roomdesc", "About")))
    info = await ask(world, bob, "get", f"<query xmlns='{INFO}'/>")
    assert 'category="conference" type="text" name="Name"' in info and "<value>About</value>" in info
    assert 'var="muc#roominfo_occupants"' in info and "muc_semianonymous" in info
    assert "<item " not in await ask(world, bob, "get", f"<query xmlns='{ITEMS}'/>")
    assert f'<item jid="{ROOM}/alice"/>' in await ask(world, alice, "get", f"<query xmlns='{ITEMS}'/>")
    await ask(world, alice, "set", SUBMIT.format(field("roomsecret", "p") + field("publicroom", "0")))
    closed = await ask(world, bob, "get", f"<query xmlns='{INFO}'/>")
    assert "muc_passwordprotected" in closed and "muc_hidden" in closed and "roominfo_occupants" not in closed
    assert ROOM not in await ask(world, bob, "get", f"<query xmlns='{ITEMS}'/>", "conference.localhost")


async def test_what_is_shown_of_the_service() -> None:
    world, (alice,) = await start("alice", name="Chat & more")
    info = await ask(world, alice, "get", f"<query xmlns='{INFO}'/>", "conference.localhost")
    assert '<identity category="conference" type="text" name="Chat &amp; more"/>' in info
    assert {"http://jabber.org/protocol/muc", INFO, ITEMS, "urn:xmpp:ping"} <= set(re.findall('var="([^"]*)"', info))
    items = await ask(world, alice, "get", f"<query xmlns='{ITEMS}'/>", "localhost")
    assert '<item jid="conference.localhost" name="Chat &amp; more"/>' in items
    assert isinstance(world.dispatch.routes[0], Delivery) and isinstance(world.dispatch.routes[1], Components)
