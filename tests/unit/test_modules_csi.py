"""XEP-0352: what an inactive client is not sent, and when it is."""

from __future__ import annotations

import re

import pytest

from fakes import World, got
from xmppws.core.session import Session
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.modules.csi import Csi
from xmppws.stream.sm import Acks
from xmppws.xml.stanza import kept, read

STATES = "http://jabber.org/protocol/chatstates"
MUC_USER = "http://jabber.org/protocol/muc#user"


@pytest.fixture
def world() -> World:
    return World()


def module(world: World) -> Csi:
    found = world.host.modules["csi"]
    assert isinstance(found, Csi)
    return found


async def inactive(world: World, jid: str = "alice@localhost/a") -> Session:
    session = world.session(jid, priority=0)
    await world.dispatch.drain()
    session.acks = Acks(1000, 10**6)
    module(world).inactive(session, world.parse("<inactive xmlns='urn:xmpp:csi:0'/>"))
    got(session)
    return session


def active(world: World, session: Session) -> None:
    module(world).active(session, world.parse("<active xmlns='urn:xmpp:csi:0'/>"))


async def comes(
    world: World, sender: str, kind: str, content: str = "", type: str = "", to: str = "alice@localhost/a"
) -> None:
    """Let a stanza come from somewhere."""
    attributes = f" type='{type}'" if type else ""
    root = world.parse(f"<{kind} xmlns='jabber:client'{attributes}>{content}</{kind}>")
    stanza, _ = read(root)
    world.dispatch.post(stanza.addressed(to=Jid.parse(to), sender=Jid.parse(sender)))
    await world.dispatch.drain()


def seen(session: Session) -> list[str]:
    """Return who has sent what, with the text in it, since the last look."""
    found = []
    for text in got(session):
        if match := re.match(r'<(message|presence|iq).*? from="([^"]*)"', text):
            words = re.findall(r">([^<]+)<|<(composing|active|paused)|(?<=type=)\"(unavailable)", text)
            found.append(" ".join([match[1], match[2], *("".join(word) for word in words)]))
    return found


BOB = "bob@elsewhere/phone"
COMPOSING = f"<composing xmlns='{STATES}'/>"


async def test_presence_waits_and_only_the_latest_is_sent(world: World) -> None:
    alice = await inactive(world)
    for status in ("one", "two", "three"):
        await comes(world, BOB, "presence", f"<status>{status}</status>")
    await comes(world, "carol@elsewhere/x", "presence", type="unavailable")
    assert seen(alice) == [] and alice.acks is not None and len(alice.acks) == 0
    active(world, alice)
    assert seen(alice) == [f"presence {BOB} three", "presence carol@elsewhere/x unavailable"]
    # What waited was counted when it was sent.
    assert len(alice.acks) == 2
    assert (module(world).held.value, module(world).replaced.value) == (4, 2)
    await comes(world, BOB, "presence", "<status>four</status>")
    assert seen(alice) == [f"presence {BOB} four"]


async def test_a_message_goes_at_once_behind_what_its_sender_said_before(world: World) -> None:
    alice = await inactive(world)
    await comes(world, "carol@elsewhere/x", "presence")
    await comes(world, BOB, "presence", "<status>here</status>")
    await comes(world, BOB, "message", COMPOSING, "chat")
    assert seen(alice) == []
    await comes(world, BOB, "message", "<body>hello</body>", "chat")
    assert seen(alice) == [f"presence {BOB} here", f"message {BOB} composing", f"message {BOB} hello"]
    active(world, alice)
    assert seen(alice) == ["presence carol@elsewhere/x"]


@pytest.mark.parametrize(
    ("kind", "type", "content", "waits"),
    [
        ("message", "chat", COMPOSING, True),
        ("message", "groupchat", COMPOSING, True),
        ("message", "chat", f"{COMPOSING}<thread>t</thread><no-store xmlns='urn:xmpp:hints'/>", True),
        ("message", "chat", f"{COMPOSING}<body>text</body>", False),
        ("message", "chat", f"{COMPOSING}<received xmlns='urn:xmpp:receipts' id='1'/>", False),
        ("message", "chat", "", False),
        ("message", "headline", COMPOSING, False),
        ("message", "error", COMPOSING, False),
        ("presence", "", "", True),
        ("presence", "unavailable", "", True),
        ("presence", "", f"<x xmlns='{MUC_USER}'><item/></x>", True),
        ("presence", "", f"<x xmlns='{MUC_USER}'><status code='110'/></x>", False),
        ("presence", "", f"<status>{'x' * 5000}</status>", False),
        ("presence", "error", "", False),
        ("iq", "result", "", False),
    ],
)
async def test_what_waits(world: World, kind: str, type: str, content: str, waits: bool) -> None:
    alice = await inactive(world)
    await comes(world, BOB, kind, content, type)
    assert (seen(alice) == []) is waits


async def test_subscriptions_go_at_once(world: World) -> None:
    alice = await inactive(world)
    await comes(world, "bob@elsewhere", "presence", type="subscribe", to="alice@localhost")
    assert seen(alice) == ["presence bob@elsewhere"]


async def test_what_a_room_has_to_say_of_names_comes_behind_what_it_said_before(world: World) -> None:
    alice = await inactive(world)
    room = "den@rooms.elsewhere"
    await comes(world, f"{room}/one", "presence")
    await comes(world, f"{room}/two", "presence")
    await comes(world, BOB, "presence")
    await comes(world, f"{room}/one", "presence", f"<x xmlns='{MUC_USER}'><status code='303'/></x>", "unavailable")
    assert [each.split()[1] for each in seen(alice)] == [f"{room}/one", f"{room}/two", f"{room}/one"]


async def test_presence_of_rooms_that_is_made_of_bytes(world: World) -> None:
    alice = await inactive(world)
    inside = f'<x xmlns="{MUC_USER}"><status code="110"/></x>'.encode()
    content = b' xmlns="jabber:client">%b</presence>' % inside
    alice.send(kept("presence", "", content, to=alice.jid, sender=Jid.parse("den@rooms.elsewhere/one")))
    assert len(seen(alice)) == 1
    content = content.replace(b'<status code="110"/>', b"")
    alice.send(kept("presence", "", content, to=alice.jid, sender=Jid.parse("den@rooms.elsewhere/one")))
    assert len(seen(alice)) == 0


async def test_so_many_wait(world: World) -> None:
    module(world).options = Csi.Options(max_held=3)
    alice = await inactive(world)
    for number in range(5):
        await comes(world, f"u{number}@elsewhere/x", "presence")
    assert seen(alice) == ["presence u0@elsewhere/x", "presence u1@elsewhere/x"]
    active(world, alice)
    assert len(seen(alice)) == 3


async def test_it_can_be_turned_off(world: World) -> None:
    module(world).options = Csi.Options(max_held=0)
    alice = await inactive(world)
    await comes(world, BOB, "presence")
    assert len(seen(alice)) == 1


async def test_its_own_presence_comes_back_at_once(world: World) -> None:
    alice = await inactive(world)
    await world.says(alice, "<presence xmlns='jabber:client'><status>away</status></presence>")
    assert seen(alice) == ["presence alice@localhost/a away"]


async def test_saying_it_twice_and_active_from_the_beginning(world: World) -> None:
    alice = await inactive(world)
    await comes(world, BOB, "presence")
    module(world).inactive(alice, world.parse("<inactive xmlns='urn:xmpp:csi:0'/>"))
    active(world, alice)
    active(world, alice)
    assert len(seen(alice)) == 1


async def test_what_waits_is_stored_with_the_session(world: World) -> None:
    alice = await inactive(world)
    await comes(world, BOB, "presence")
    alice.release()
    assert alice.hold is None and alice.acks is not None and len(alice.acks) == 1


async def test_what_waits_goes_with_the_session(world: World) -> None:
    alice = await inactive(world)
    await comes(world, BOB, "presence")
    world.host.unbind(alice, End(Reason.CLIENT_CLOSE, Side.CLIENT))
    await world.dispatch.drain()
    assert seen(alice) == []


async def test_how_much_it_saves(world: World) -> None:
    """An hour of somebody with fifty contacts and a talkative friend: bytes that are sent with and without."""
    spent = {}
    for name, csi in (("with", True), ("without", False)):
        alice = await inactive(world, f"alice@localhost/{name}")
        if not csi:
            active(world, alice)
        got(alice)
        for minute in range(60):
            for contact in range(minute % 5, 50, 5):
                status = f"<show>away</show><status>idle since minute {minute}</status>"
                await comes(world, f"c{contact}@elsewhere/x", "presence", status, to=alice.jid.text)
            await comes(world, BOB, "message", COMPOSING, "chat", to=alice.jid.text)
            if minute % 10 == 0:
                await comes(world, BOB, "message", "<body>hello</body>", "chat", to=alice.jid.text)
        active(world, alice)
        spent[name] = sum(map(len, got(alice)))
    print(f"\n{spent['without']} bytes without, {spent['with']} with: {1 - spent['with'] / spent['without']:.0%} saved")
    assert spent["with"] < spent["without"] * 0.2
