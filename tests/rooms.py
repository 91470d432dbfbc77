"""A room without a server: clients by short names, and what each of them is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

from xmppws.jid import Jid
from xmppws.modules.muc import entry
from xmppws.modules.muc.options import MucOptions
from xmppws.modules.muc.privileges import Affiliation
from xmppws.modules.muc.room import Room, Standing, State
from xmppws.modules.muc.settings import Settings
from xmppws.xml.parser import Parser, Vocabulary
from xmppws.xml.stanza import Stanza, read

JID = Jid.parse("room@conference.localhost")
OWNER = Jid.parse("owner@localhost")
AVAILABLE = b' xmlns="jabber:client"/>'
NOW = 1_800_000_000.0
USER = "{http://jabber.org/protocol/muc#user}"
CLIENT = "{jabber:client}"

_vocabulary = Vocabulary()


def jid(name: str) -> Jid:
    """Return the client `one` of an account of localhost, or another resource that `name` has."""
    account, _, resource = name.partition("/")
    return Jid.parse(f"{account}@localhost/{resource or 'one'}")


def at(nick: str) -> Jid:
    return JID.with_resource(nick)


def make(options: MucOptions | None = None, state: State = State.OPEN, **settings: Any) -> Room:
    """Make a room that belongs to `owner` and has nobody in it."""
    return Room(JID, OWNER, options or MucOptions(), state, Settings(**settings))


def affiliate(room: Room, account: str, affiliation: Affiliation) -> None:
    room.standings[jid(account).bare] = Standing(affiliation)


def join(room: Room, name: str, nick: str = "", **more: Any) -> list[Stanza]:
    """Let a client in, under the name of its account if nothing else is said."""
    return entry.enter(room, jid(name), at(nick or name.partition("/")[0].title()), AVAILABLE, **more)


def stanza(text: str) -> Stanza:
    """Parse a stanza, in jabber:client."""
    root = Parser(_vocabulary, "").parse(text.replace(" ", " xmlns='jabber:client' ", 1).encode())
    return read(root)[0]


def message(body: str = "hello", inside: str = "") -> Stanza:
    return stanza(f"<message type='groupchat' id='m1'><body>{body}</body>{inside}</message>")


def subject(text: str) -> Stanza:
    return stanza(f"<message type='groupchat'><subject>{text}</subject></message>")


def sent(stanzas: Iterable[Stanza]) -> dict[str, list[ElementTree.Element]]:
    """Return what each client is sent, by its short name."""
    boxes: dict[str, list[ElementTree.Element]] = defaultdict(list)
    for each in stanzas:
        assert each.to is not None
        resource = "" if each.to.resource == "one" else f"/{each.to.resource}"
        boxes[each.to.local + resource].append(ElementTree.fromstring(each.wire))
    return boxes


def codes(presence: ElementTree.Element) -> list[int]:
    return [int(status.attrib["code"]) for status in presence.iter(f"{USER}status")]


def item(presence: ElementTree.Element) -> dict[str, str]:
    """Return the attributes of the one item of a presence."""
    (found,) = presence.iter(f"{USER}item")
    return found.attrib


def nick(received: ElementTree.Element) -> str:
    return received.attrib["from"].partition("/")[2]
