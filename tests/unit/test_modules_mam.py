"""XEP-0313, 0359 and 0441: what is archived, what clients get of it, and what that costs nobody else."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from fakes import KeepingStream, ListRoute, World, got, stream_of
from faulty import faulty
from xmppws.core.delivery import Delivery
from xmppws.core.events import AccountEnding
from xmppws.core.roster import RosterItem
from xmppws.core.session import Session
from xmppws.core.stores import Archive, StorageError
from xmppws.errors import End, Reason, Side
from xmppws.jid import Jid
from xmppws.modules.mam import Mam
from xmppws.modules.mam.expiry import Expiry
from xmppws.modules.mam.options import MamOptions
from xmppws.routers.resumption import deliver_again
from xmppws.stream.sm import Unacked
from xmppws.xml.stanza import Stanza, read

MAM = "urn:xmpp:mam:2"
SID = "urn:xmpp:sid:0"
HINTS = "urn:xmpp:hints"
ENDED = End(Reason.CLIENT_CLOSE, Side.CLIENT)
PRESENCE = "<presence xmlns='jabber:client'/>"
FORM_TYPE = f"<field var='FORM_TYPE' type='hidden'><value>{MAM}</value></field>"


@pytest.fixture
def world() -> World:
    return World(names=("alice", "bob", "carol"))


def mam(world: World) -> Mam:
    module = world.host.modules["mam"]
    assert isinstance(module, Mam)
    return module


def archive(world: World) -> Archive:
    return world.host.stores.archive("mam")


def message(to: str, body: str, more: str = "", type: str = "chat") -> str:
    return f"<message xmlns='jabber:client' to='{to}' type='{type}'><body>{body}</body>{more}</message>"


async def bodies(world: World, owner: str) -> list[str]:
    """Return what is in an archive, by direct look."""
    entries = await archive(world).page(owner, limit=1000)
    return [match[1] for entry in entries if (match := re.search("<body>(.*)</body>", entry.data.decode()))]


async def ids(world: World, owner: str) -> list[str]:
    return [entry.id for entry in await archive(world).page(owner, limit=1000)]


def from_elsewhere(world: World, text: str, sender: str = "eve@other.example/e") -> Stanza:
    stanza, mistake = read(world.parse(text))
    assert mistake is None
    stanza.sender = Jid.parse(sender)
    return stanza


# --- what is archived ---


async def test_both_archives_have_a_message_once(world: World) -> None:
    one = world.session("alice@localhost/one", priority=0)
    world.session("alice@localhost/two", priority=0)
    for resource in ("a", "b"):
        world.session(f"bob@localhost/{resource}", priority=0)
    await world.says(one, message("bob@localhost", "hello"))
    (sent,), (received,) = [await archive(world).page(name, limit=9) for name in ("alice", "bob")]
    assert sent.data == received.data
    assert sent.data.startswith(b'<message to="bob@localhost" from="alice@localhost/one" ')
    assert b"stanza-id" not in sent.data
    assert (sent.with_, received.with_) == ("bob@localhost", "alice@localhost")
    assert abs(sent.when - time.time()) < 60


@pytest.mark.parametrize("to", ["", " to='alice@localhost'", " to='alice@localhost/two'"])
async def test_what_a_user_sends_to_itself_is_archived_once(world: World, to: str) -> None:
    one, two = (world.session(f"alice@localhost/{resource}", priority=0) for resource in ("one", "two"))
    await world.dispatch.drain()
    got(two)
    await world.says(one, f"<message xmlns='jabber:client'{to} type='chat'><body>me</body></message>")
    (id,) = await ids(world, "alice")
    assert got(two)[0].endswith(f'<stanza-id xmlns="{SID}" by="alice@localhost" id="{id}"/></message>')


@pytest.mark.parametrize(
    ("type", "content", "is_archived"),
    [
        ("chat", "<body>x</body>", True),
        ("normal", "<body>x</body>", True),
        ("strange", "<body>x</body>", True),
        ("headline", "<body>x</body>", False),
        ("groupchat", "<body>x</body>", False),
        ("error", "<body>x</body>", False),
        ("headline", f"<store xmlns='{HINTS}'/>", False),
        ("chat", "<active xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread>", False),
        ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>", True),
        ("chat", "<request xmlns='urn:xmpp:receipts'/>", False),
        ("normal", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", True),
        ("normal", "<x xmlns='jabber:x:conference' jid='a@b'/>", True),
        ("chat", f"<body>x</body><no-store xmlns='{HINTS}'/>", False),
        ("chat", f"<body>x</body><no-permanent-store xmlns='{HINTS}'/><store xmlns='{HINTS}'/>", False),
        ("chat", f"<anything xmlns='urn:x'/><store xmlns='{HINTS}'/>", True),
        ("chat", f"<body>x</body><no-copy xmlns='{HINTS}'/>", True),
    ],
)
async def test_what_is_archived(world: World, type: str, content: str, is_archived: bool) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    world.session("bob@localhost/b", priority=0)
    await world.says(alice, f"<message xmlns='jabber:client' to='bob@localhost/b' type='{type}'>{content}</message>")
    assert [len(await ids(world, name)) for name in ("alice", "bob")] == [is_archived, is_archived]
    assert mam(world).archived.value == 2 * is_archived


async def test_what_is_blocked_is_not_in_the_archive_of_who_blocks(world: World) -> None:
    alice, bob = world.session("alice@localhost/a", priority=0), world.session("bob@localhost/b", priority=0)
    block = "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>"
    await world.says(bob, f"<iq xmlns='jabber:client' type='set' id='b'>{block}</iq>")
    await world.says(alice, message("bob@localhost", "hello"))
    assert await bodies(world, "alice") == ["hello"] and await ids(world, "bob") == []


async def test_only_accounts_have_archives(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    await world.says(alice, message("nobody@localhost", "x"))
    await world.says(alice, message("localhost", "y"))
    assert await archive(world).owners() == ["alice"]
    assert await bodies(world, "alice") == ["x", "y"]


async def test_an_account_that_ends_waits_for_what_is_about_to_be_archived(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    disk = faulty(mam(world), "preferences")
    wishes: Any = mam(world)._wishes
    wishes._store = disk
    await world.dispatch.drain()
    disk.gate.clear()
    pending = world.send(alice, message("bob@localhost", "x"))
    assert pending is not None
    delivering = asyncio.ensure_future(pending)
    ending = asyncio.ensure_future(world.host.hooks.finish(AccountEnding(Jid.parse("alice@localhost"))))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not ending.done()
    disk.gate.set()
    await asyncio.gather(delivering, ending)
    await world.host.stores.purge("alice")
    await world.dispatch.drain()
    assert await archive(world).owners() == ["bob"]


async def test_the_order_stays_when_the_clock_is_set_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    now = time.time()
    for number, when in enumerate((now, now - 3600, now - 7200)):
        monkeypatch.setattr("xmppws.modules.mam.module.time.time", lambda when=when: when)
        await world.says(alice, message("bob@localhost", str(number)))
    assert await bodies(world, "alice") == await bodies(world, "bob") == ["0", "1", "2"]


# --- ids ---


async def test_the_recipient_learns_the_id_and_the_sender_tells_its_own_clients(world: World) -> None:
    one, two = (world.session(f"alice@localhost/{resource}", priority=0) for resource in ("one", "two"))
    first, second = (world.session(f"bob@localhost/{resource}", priority=0) for resource in ("first", "second"))
    for session in (two, second):
        await world.says(
            session, "<iq xmlns='jabber:client' type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"
        )
    for session in (one, two, first, second):
        got(session)
    await world.says(one, message("bob@localhost/first", "hello"))
    (hers,), (his,) = await ids(world, "alice"), await ids(world, "bob")
    (delivered,), (carbon,), (copied,) = got(first), got(second), got(two)
    his_id = f'<stanza-id xmlns="{SID}" by="bob@localhost" id="{his}"/></message>'
    assert delivered.endswith(his_id) and "alice@localhost</" not in delivered and delivered.count("stanza-id") == 1
    assert his_id in carbon and carbon.count("stanza-id") == 1
    assert f'<stanza-id xmlns="{SID}" by="alice@localhost" id="{hers}"/></message>' in copied
    assert copied.count("stanza-id") == 1


def forged(*by: str) -> str:
    return "".join(f"<stanza-id xmlns='{SID}' by='{each}' id='x'/>" for each in by)


@pytest.mark.parametrize("type", ["chat", "headline"])
async def test_clients_cannot_give_ids_in_our_name(world: World, type: str) -> None:
    alice, bob = world.session("alice@localhost/a", priority=0), world.session("bob@localhost/b", priority=0)
    await world.dispatch.drain()
    got(bob)
    ours = ("bob@localhost", "alice@localhost", "BOB@Localhost", "localhost", "room@conference.localhost/x")
    await world.says(alice, message("bob@localhost/b", "hi", forged(*ours, "room@far.example", ""), type))
    (came,) = got(bob)
    assert re.findall('by="([^"]*)" id="x"', came) == ["room@far.example", ""]
    assert came.count("by=") == 2 + (type == "chat")
    if type == "chat":
        (entry,) = await archive(world).page("bob", limit=9)
        assert re.findall(b'by="([^"]*)"', entry.data) == [b"room@far.example", b""]


async def test_nobody_elsewhere_can_give_ids_in_our_name(world: World) -> None:
    bob = world.session("bob@localhost/b", priority=0)
    await world.dispatch.drain()
    got(bob)
    # Whether its sender knows an id that there is or not: it has to be that of one of its own messages.
    await archive(world).append("bob", b"<message/>", when=1.0, with_="carol@localhost")
    (real,) = await ids(world, "bob")
    for more in (
        forged("bob@localhost"),
        forged("BOB@localhost"),
        forged("bob@localhost", "bob@localhost"),
        forged("bob@localhost").replace("'x'", f"'{real}'"),
    ):
        world.dispatch.post(from_elsewhere(world, message("bob@localhost", "hi", more)))
        await world.dispatch.drain()
        (came,) = got(bob)
        newest = (await ids(world, "bob"))[-1]
        assert re.findall('<stanza-id .*?by="(.*?)" id="(.*?)"', came) == [("bob@localhost", newest)]
    assert len(await ids(world, "bob")) == 5
    world.dispatch.post(from_elsewhere(world, message("bob@localhost", "hi", forged("room@far.example"))))
    await world.dispatch.drain()
    assert 'by="room@far.example"' in got(bob)[0]


async def test_a_message_that_is_delivered_again_is_not_archived_again(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    bob = world.session("bob@localhost/b", priority=0)
    other = world.session("bob@localhost/other", priority=0)
    await world.dispatch.drain()
    got(bob), got(other)
    await world.says(alice, message("bob@localhost/b", "hi"))
    # Its client has not acknowledged it, nor a page of its archive, which is nobody else's.
    sent = from_elsewhere(world, got(bob)[0].replace(' to="bob@localhost/b" from="alice@localhost/a"', ""))
    world.host.unbind(bob, ENDED)
    result = f' xmlns="jabber:client"><result xmlns="{MAM}" id="1"/></message>'.encode()
    unacked = [
        Unacked("message", "chat", bob.jid, alice.jid, sent.content, time.time()),
        Unacked("message", "normal", bob.jid, bob.account, result, time.time()),
    ]
    await world.dispatch.drain()
    got(other)
    deliver_again(world.host, bob, unacked)
    await world.dispatch.drain()
    (again,) = got(other)
    (id,) = await ids(world, "bob")
    assert again.count("<stanza-id ") == 1 and f'id="{id}"' in again and "<delay " in again


# --- queries ---


@dataclass
class Results:
    """What a query brought: bodies and ids in the order in which they came, and the attributes and set of its end."""

    bodies: list[str]
    ids: list[str]
    fin: str
    error: str = ""

    @property
    def complete(self) -> bool:
        return 'complete="true"' in self.fin


def field(var: str, *values: str) -> str:
    return f"<field var='{var}'>{''.join(f'<value>{value}</value>' for value in values)}</field>"


def asked(*fields: str, rsm: str = "", more: str = "", queryid: str = "") -> str:
    form = f"<x xmlns='jabber:x:data' type='submit'>{FORM_TYPE}{''.join(fields)}</x>" if fields else ""
    result_set = f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>" if rsm else ""
    attributes = f" queryid='{queryid}'" if queryid else ""
    return f"<query xmlns='{MAM}'{attributes}>{form}{result_set}{more}</query>"


async def ask(world: World, session: Session, payload: str, type: str = "set", to: str = "") -> str:
    """Send a request and return the answer; what came before it stays in the stream."""
    address = f" to='{to}'" if to else ""
    await world.dispatch.drain()
    await world.says(session, f"<iq xmlns='jabber:client' type='{type}' id='q'{address}>{payload}</iq>")
    return stream_of(session).sent.pop().decode()


async def query(world: World, session: Session, *fields: str, **parts: str) -> Results:
    await world.dispatch.drain()
    got(session)
    answer = await ask(world, session, asked(*fields, **parts))
    results = got(session)
    if 'type="error"' in answer:
        assert results == []
        return Results([], [], "", answer)
    bodies, ids = [], []
    for each in results:
        match = re.fullmatch(
            rf'<message to="{session.jid}" from="{session.account}" xmlns="jabber:client"><result xmlns="{MAM}"'
            r'( queryid="[^"]*")? id="([^"]*)"><forwarded xmlns="urn:xmpp:forward:0">'
            r'<delay xmlns="urn:xmpp:delay" stamp="20[^"]*Z"/>(<message .*</message>)</forwarded></result></message>',
            each,
        )
        assert match is not None, each
        assert (match[1] or "") == (f' queryid="{parts["queryid"]}"' if "queryid" in parts else "")
        ids.append(match[2])
        bodies.append(re.findall("<body>(.*)</body>", match[3])[0])
    found = re.search(rf'<fin xmlns="{MAM}".*</fin>', answer)
    assert found is not None, answer
    return Results(bodies, ids, found[0])


async def talk(world: World, number: int = 10) -> tuple[Session, list[str]]:
    """Let alice and bob say numbers in turn, and carol say the fifth of them; return alice and the ids."""
    alice = world.session("alice@localhost/a", priority=0)
    bob = world.session("bob@localhost/b", priority=0)
    carol = world.session("carol@localhost/c", priority=0)
    await world.dispatch.drain()
    for index in range(number):
        if index == 5:
            await world.says(carol, message("alice@localhost", "5"))
        elif index % 2:
            await world.says(bob, message("alice@localhost/a", str(index)))
        else:
            await world.says(alice, message("bob@localhost", str(index)))
    got(alice)
    return alice, await ids(world, "alice")


async def test_everything(world: World) -> None:
    alice, known = await talk(world)
    everything = await query(world, alice, queryid="f&amp;27")
    assert everything.bodies == list("0123456789") and everything.ids == known
    first, last = known[0], known[-1]
    assert everything.fin == (
        f'<fin xmlns="{MAM}" complete="true"><set xmlns="http://jabber.org/protocol/rsm">'
        f'<first index="0">{first}</first><last>{last}</last><count>10</count></set></fin>'
    )
    assert mam(world).queries.value == 1


async def test_nothing(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    nothing = await query(world, alice)
    assert nothing.bodies == [] and nothing.complete and "<first" not in nothing.fin and "<count>0<" in nothing.fin


async def test_by_contact(world: World) -> None:
    alice, _ = await talk(world)
    await world.says(alice, message("alice@localhost", "to me"))

    async def with_(jid: str, **parts: str) -> list[str]:
        return (await query(world, alice, field("with", jid), **parts)).bodies

    assert await with_("bob@localhost") == list("01234 6789".replace(" ", ""))
    assert await with_("BOB@localhost") == list("012346789")
    assert await with_("carol@localhost") == ["5"]
    assert await with_("alice@localhost") == ["to me"]
    # A full JID: those from it, or to it.
    assert await with_("bob@localhost/b") == list("1379")
    assert await with_("bob@localhost/b", rsm="<max>2</max><before/>") == list("79")
    assert await with_("bob@localhost/other") == []
    assert await with_("eve@localhost") == []


async def test_one_client_of_a_long_conversation_is_found(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    for index in range(300):
        resource = "rare" if index % 100 == 99 else "often"
        await world.says(alice, message(f"bob@localhost/{resource}", str(index)))
    rare = await query(world, alice, field("with", "bob@localhost/rare"), rsm="<max>2</max>")
    assert rare.bodies == ["99", "199"] and not rare.complete
    rare = await query(world, alice, field("with", "bob@localhost/rare"), rsm="<max>2</max><before/>")
    assert rare.bodies == ["199", "299"] and not rare.complete


async def test_by_time(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    for second in range(5):
        data = f'<message to="alice@localhost" from="bob@localhost/b"><body>{second}</body></message>'.encode()
        await archive(world).append("alice", data, when=1_700_000_000.5 + second, with_="bob@localhost")

    async def between(start: str, end: str) -> list[str]:
        fields = [field(var, value) for var, value in (("start", start), ("end", end)) if value]
        return (await query(world, alice, *fields)).bodies

    assert await between("2023-11-14T22:13:22.500Z", "") == list("234")
    assert await between("2023-11-14T22:13:22.500001Z", "") == list("34")
    assert await between("", "2023-11-14T22:13:22.500Z") == list("012")
    assert await between("", "2023-11-14T22:13:22.499999Z") == list("01")
    assert await between("2023-11-14T23:13:21+01:00", "2023-11-14T22:13:23.6Z") == list("123")
    assert await between("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z") == list("01234")
    assert await between("2024-01-01T00:00:00Z", "") == []


async def test_pages_forwards_and_backwards(world: World) -> None:
    alice, known = await talk(world)
    page = await query(world, alice, rsm="<max>4</max>")
    assert page.bodies == list("0123") and not page.complete and "index" not in page.fin and "count" not in page.fin
    page = await query(world, alice, rsm=f"<max>4</max><after>{page.ids[-1]}</after>")
    assert page.bodies == list("4567") and not page.complete
    page = await query(world, alice, rsm=f"<max>4</max><after>{page.ids[-1]}</after>")
    assert page.bodies == list("89") and page.complete and "index" not in page.fin and "count" not in page.fin
    page = await query(world, alice, rsm=f"<after>{known[-1]}</after>")
    assert page.bodies == [] and page.complete and "<first" not in page.fin
    page = await query(world, alice, rsm="<max>4</max><before/>")
    assert page.bodies == list("6789") and not page.complete
    page = await query(world, alice, rsm=f"<max>6</max><before>{page.ids[0]}</before>")
    assert page.bodies == list("012345") and page.complete
    flipped = await query(world, alice, rsm="<max>3</max><before/>", more="<flip-page/>")
    assert flipped.bodies == list("987")
    assert f"<first>{known[7]}</first><last>{known[9]}</last>" in flipped.fin


async def test_by_id(world: World) -> None:
    alice, known = await talk(world)
    after, before = field("after-id", known[2]), field("before-id", known[7])
    assert (await query(world, alice, after)).bodies == list("3456789")
    assert (await query(world, alice, before)).bodies == list("0123456")
    between = await query(world, alice, after, before, rsm="<max>2</max>")
    assert between.bodies == list("34") and not between.complete
    between = await query(world, alice, after, before, rsm=f"<max>2</max><after>{known[5]}</after>")
    assert between.bodies == list("6") and between.complete
    assert (await query(world, alice, after, before, rsm="<max>2</max><before/>")).bodies == list("56")
    some = field("ids", known[8], known[1], known[5])
    assert (await query(world, alice, some)).bodies == list("158")
    assert (await query(world, alice, some, field("with", "bob@localhost"))).bodies == list("18")
    assert (await query(world, alice, some, after)).bodies == list("58")
    page = await query(world, alice, some, rsm="<max>2</max><before/>", more="<flip-page/>")
    assert page.bodies == list("85") and not page.complete


async def test_how_many(world: World) -> None:
    alice, known = await talk(world)
    number = await query(world, alice, rsm="<max>0</max>")
    assert number.bodies == [] and "<count>10</count>" in number.fin and not number.complete
    # Counting these would mean reading them.
    number = await query(world, alice, field("with", "bob@localhost"), rsm="<max>0</max>")
    assert number.bodies == [] and "count" not in number.fin and not number.complete
    number = await query(world, alice, field("with", "eve@localhost"), rsm="<max>0</max>")
    assert "<count>0</count>" in number.fin and number.complete
    assert "count" not in (await query(world, alice, field("after-id", known[3]), rsm="<max>0</max>")).fin


async def test_pages_are_bounded_in_messages_and_bytes(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    for index in range(120):
        data = f'<message to="alice@localhost" from="bob@localhost/b"><body>{index}</body></message>'.encode()
        await archive(world).append("alice", data, when=1_700_000_000.0 + index, with_="bob@localhost")
    assert len((await query(world, alice)).bodies) == 50
    assert len((await query(world, alice, rsm="<max>1000000</max>")).bodies) == 100
    mam(world).options = replace(mam(world).options, max_page=7)
    assert len((await query(world, alice)).bodies) == 7
    for index in range(8):
        body = f"<body>{index}</body>" + "x" * 200_000
        data = f'<message to="alice@localhost" from="bob@localhost/b">{body}</message>'.encode()
        await archive(world).append("alice", data, when=1_700_001_000.0 + index, with_="bob@localhost")
    page = await query(world, alice, rsm="<before/>")
    assert page.bodies == list("567") and not page.complete
    page = await query(world, alice, rsm=f"<before>{page.ids[0]}</before>")
    assert page.bodies == list("234")


@pytest.mark.parametrize("where", ["<after>{}</after>", "<before>{}</before>", "after-id", "before-id", "ids"])
@pytest.mark.parametrize("id", ["0123456789abcdef01234567", "x" * 5000])
async def test_unknown_ids(world: World, where: str, id: str) -> None:
    alice, known = await talk(world, 3)
    if where.startswith("<"):
        outcome = await query(world, alice, rsm=where.format(id))
    else:
        outcome = await query(world, alice, field(where, id, *known[: where == "ids"]))
    assert "<item-not-found " in outcome.error


@pytest.mark.parametrize(
    ("payload", "condition"),
    [
        (asked(field("with", "@")), "jid-malformed"),
        (asked(field("start", "yesterday")), "bad-request"),
        (asked(field("end", "2024-01-01T00:00:00")), "bad-request"),
        (asked(field("start", "0001-01-01T00:00:00+14:00")), ""),
        (asked(field("{urn:x}search", "x")), "feature-not-implemented"),
        (asked(field("include-groupchat", "true")), ""),
        (asked(rsm="<index>3</index>"), "feature-not-implemented"),
        (asked(rsm="<max>x</max>"), "bad-request"),
        (asked(field("ids", *(f"i{number}" for number in range(101)))), "bad-request"),
        (asked(queryid="x" * 257), "bad-request"),
        (
            f"<query xmlns='{MAM}'><x xmlns='jabber:x:data' type='submit'>{field('with', 'a@b')}</x></query>",
            "bad-request",
        ),
        (f"<query xmlns='{MAM}'><x xmlns='jabber:x:data' type='form'>{FORM_TYPE}</x></query>", "bad-request"),
    ],
)
async def test_mistakes(world: World, payload: str, condition: str) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    answer = await ask(world, alice, payload)
    assert (f"<{condition} " in answer) if condition else ('type="result"' in answer)


async def test_archives_are_their_owners_alone(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    for type, payload in (
        ("set", asked()),
        ("get", asked()),
        ("get", f"<metadata xmlns='{MAM}'/>"),
        ("get", f"<prefs xmlns='{MAM}'/>"),
        ("set", f"<prefs xmlns='{MAM}' default='never'/>"),
    ):
        for to in ("bob@localhost", "nobody@localhost"):
            assert "<forbidden " in await ask(world, alice, payload, type, to)
        assert "<service-unavailable " in await ask(world, alice, payload, type, "localhost")


async def test_the_form(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    form = await ask(world, alice, asked(), "get")
    for type, var in (
        ("jid-single", "with"),
        *(("text-single", var) for var in ("start", "end", "before-id", "after-id")),
        ("boolean", "include-groupchat"),
    ):
        assert f'<field type="{type}" var="{var}"/>' in form
    validate = '<validate xmlns="http://jabber.org/protocol/xdata-validate" datatype="xs:string"><open/></validate>'
    assert f'<field type="list-multi" var="ids">{validate}</field>' in form
    assert "required" not in form


async def test_metadata(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    asked = f"<metadata xmlns='{MAM}'/>"
    assert f'<metadata xmlns="{MAM}"/>' in await ask(world, alice, asked, "get")
    for when in (1_700_000_000.5, 1_700_000_001.25, 1_700_000_002.0):
        await archive(world).append("alice", b"<message/>", when=when, with_="bob@localhost")
    first, _, last = await ids(world, "alice")
    start = f'<start id="{first}" timestamp="2023-11-14T22:13:20.500Z"/>'
    end = f'<end id="{last}" timestamp="2023-11-14T22:13:22.000Z"/>'
    assert f">{start}{end}</metadata>" in await ask(world, alice, asked, "get")


async def test_what_is_said_of_accounts(world: World) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    info = await ask(world, alice, "<query xmlns='http://jabber.org/protocol/disco#info'/>", "get")
    for feature in (MAM, f"{MAM}#extended", f"{MAM}#groupchat-field", SID, "http://jabber.org/protocol/rsm"):
        assert f'<feature var="{feature}"/>' in info


async def test_a_client_that_reads_slowly_is_waited_for(world: World) -> None:
    class Slow(KeepingStream):
        def send(self, *messages: bytes) -> None:
            super().send(*messages)
            if b"<result " in messages[0]:
                session.reads(False)

    await talk(world)
    session = world.host.bind(Jid.parse("alice@localhost"), "slow", Slow())
    pending = asyncio.ensure_future(ask(world, session, asked()))
    for number in range(1, 4):
        async with asyncio.timeout(5):
            while len(stream_of(session).sent) < number:
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(stream_of(session).sent) == number
        session.reads(True)
    # It goes while it is waited for: there is nobody to answer.
    world.host.unbind(session, ENDED)
    session.reads(True)
    assert "<result " in await pending and all("<fin " not in each for each in got(session))


async def test_a_client_that_is_gone_is_not_answered(world: World) -> None:
    alice = world.session("alice@localhost/a")
    world.host.unbind(alice, ENDED)
    assert "<item-not-found " in await ask(world, alice, asked())


# --- preferences ---


def prefs(default: str, always: tuple[str, ...] = (), never: tuple[str, ...] = ()) -> str:
    lists = [("always", always), ("never", never)]
    inside = [f"<{name}>{''.join(f'<jid>{jid}</jid>' for jid in jids)}</{name}>" for name, jids in lists if jids]
    return f"<prefs xmlns='{MAM}' default='{default}'>{''.join(inside)}</prefs>"


async def test_preferences_are_kept(world: World) -> None:
    alice, other = (world.session(f"alice@localhost/{resource}", priority=0) for resource in "ab")
    get = f"<prefs xmlns='{MAM}'/>"
    nothing = f'<prefs xmlns="{MAM}" default="always"><always/><never/></prefs>'
    assert nothing in await ask(world, alice, get, "get")
    wanted = prefs("roster", ("B@localhost", "a@localhost/x", "b@localhost"), ("c@localhost",))
    written = (
        f'<prefs xmlns="{MAM}" default="roster"><always><jid>a@localhost/x</jid><jid>b@localhost</jid></always>'
        "<never><jid>c@localhost</jid></never></prefs>"
    )
    assert written in await ask(world, alice, wanted)
    assert written in await ask(world, other, get, "get")
    for session in (alice, other):
        world.host.unbind(session, ENDED)
    await world.dispatch.drain()
    assert mam(world)._wishes._known == {}
    assert written in await ask(world, world.session("alice@localhost/a"), get, "get")


@pytest.mark.parametrize(
    ("default", "always", "never", "archived"),
    [
        ("always", (), (), "abcd"),
        ("never", (), (), ""),
        ("roster", (), (), "ab"),
        ("always", (), ("bob@localhost",), "cd"),
        ("always", (), ("bob@localhost/2",), "acd"),
        ("never", ("bob@localhost/1",), (), "a"),
        ("roster", ("carol@localhost",), ("bob@localhost/1",), "bcd"),
        ("never", ("bob@localhost",), ("bob@localhost/2",), "a"),
    ],
)
async def test_preferences_hold(
    world: World, default: str, always: tuple[str, ...], never: tuple[str, ...], archived: str
) -> None:
    rosters = world.host.stores.map("roster", RosterItem)
    await rosters.set("alice", "bob@localhost", RosterItem())
    await rosters.set("alice", "carol@localhost", RosterItem(listed=False))
    alice = world.session("alice@localhost/a", priority=0)
    clients = [
        world.session(f"{name}", priority=0)
        for name in ("bob@localhost/1", "bob@localhost/2", "carol@localhost/1", "carol@localhost/2")
    ]
    await world.dispatch.drain()
    assert 'type="result"' in await ask(world, alice, prefs(default, always, never))
    for session, body in zip(clients, "abcd", strict=True):
        await world.says(alice, message(session.jid.text, body))
    assert await bodies(world, "alice") == list(archived)
    for session, body in zip(clients, "abcd", strict=True):
        await world.says(session, message("alice@localhost", body))
    assert await bodies(world, "alice") == list(archived * 2)
    # The same for an account without sessions.
    world.host.unbind(alice, ENDED)
    await world.dispatch.drain()
    for session, body in zip(clients, "abcd", strict=True):
        await world.says(session, message("alice@localhost", body))
    assert await bodies(world, "alice") == list(archived * 3)


async def test_what_holds_without_preferences_is_an_option() -> None:
    class Careful(Mam):
        def __init__(self, host: Any, options: Any) -> None:
            super().__init__(host, MamOptions(default_policy="never"))

    world = World(Careful)
    alice = world.session("alice@localhost/a", priority=0)
    await world.says(alice, message("bob@localhost", "x"))
    assert await archive(world).owners() == []


@pytest.mark.parametrize(
    ("wanted", "condition"),
    [
        (prefs(""), "bad-request"),
        (prefs("often"), "bad-request"),
        (prefs("always", ("@",)), "jid-malformed"),
        (prefs("always", tuple(f"u{n}@localhost" for n in range(20)), ("@",)), "jid-malformed"),
        (
            prefs("always", tuple(f"u{n}@localhost" for n in range(600)), tuple(f"u{n}@localhost" for n in range(401))),
            "resource-constraint",
        ),
    ],
)
async def test_wrong_preferences(world: World, wanted: str, condition: str) -> None:
    alice = world.session("alice@localhost/a", priority=0)
    assert f"<{condition} " in await ask(world, alice, wanted)
    assert 'default="always"><always/><never/>' in await ask(world, alice, f"<prefs xmlns='{MAM}'/>", "get")


async def test_what_is_read_does_not_undo_what_is_set(world: World) -> None:
    alice, other = (world.session(f"alice@localhost/{resource}") for resource in "ab")
    wishes: Any = mam(world)._wishes
    wishes._store = disk = faulty(mam(world), "preferences")
    disk.gate.clear()
    reading = asyncio.ensure_future(ask(world, alice, f"<prefs xmlns='{MAM}'/>", "get"))
    setting = asyncio.ensure_future(ask(world, other, prefs("never")))
    for _ in range(5):
        await asyncio.sleep(0)
    disk.gate.set()
    await asyncio.gather(reading, setting)
    assert 'default="never"' in await ask(world, alice, f"<prefs xmlns='{MAM}'/>", "get")


# --- offline messages ---


async def waiting(world: World, number: int) -> Session:
    alice = world.session("alice@localhost/a", priority=0)
    for index in range(number):
        await world.says(alice, message("bob@localhost", str(index)))
    assert await world.host.stores.archive("offline").count("bob") == number
    return alice


def came(session: Session) -> list[str]:
    return re.findall("<body>(.*?)</body>", "".join(got(session)))


@pytest.mark.parametrize(
    ("fields", "rsm", "left"),
    [
        ((), "", ""),
        ((), "<max>2</max>", "234"),
        ((), "<max>2</max><before/>", ""),
        ((), "<max>0</max>", "01234"),
        ((), "<after>{1}</after>", "0"),
        ((), "<max>1</max><after>{1}</after>", "034"),
        ((), "<before>{2}</before>", "01234"),
        (("with", "alice@localhost"), "", "01234"),
        (("end", "2100-01-01T00:00:00Z"), "", "01234"),
        (("start", "2020-01-01T00:00:00Z"), "", ""),
        (("start", "2100-01-01T00:00:00Z"), "", "01234"),
        (("after-id", "{0}"), "", ""),
        (("before-id", "{4}"), "", "01234"),
        (("ids", "{0}"), "", "01234"),
    ],
)
async def test_a_client_that_has_asked_its_archive_is_not_flooded(
    world: World, fields: tuple[str, ...], rsm: str, left: str
) -> None:
    await waiting(world, 5)
    known = await ids(world, "bob")
    bob = world.session("bob@localhost/b")
    chosen = [field(fields[0], fields[1].format(*known))] if fields else []
    assert not (await query(world, bob, *chosen, rsm=rsm.format(*known))).error
    await world.says(bob, PRESENCE)
    # <after/> names a message that the client has; so does after-id.
    expected = left.replace("0", "") + "0" * ("0" in left)
    assert sorted(came(bob)) == sorted(expected)
    assert await world.host.stores.archive("offline").count("bob") == 0
    other = world.session("bob@localhost/other")
    await world.says(other, PRESENCE)
    assert came(other) == []


async def test_a_client_that_pages_has_seen_all_pages(world: World) -> None:
    alice = await waiting(world, 5)
    bob = world.session("bob@localhost/b")
    page = await query(world, bob, rsm="<max>2</max>")
    page = await query(world, bob, rsm=f"<max>2</max><after>{page.ids[-1]}</after>")
    # What is not archived, and what comes after the last page, is not among them.
    await world.says(alice, message("bob@localhost", "late"))
    await world.says(alice, message("bob@localhost", "off the record", f"<no-permanent-store xmlns='{HINTS}'/>"))
    await world.host.stores.archive("offline").append(
        "bob", b' xmlns="jabber:client" type="chat"><body>bare</body></message>', when=1.0, with_="alice@localhost"
    )
    await world.says(bob, PRESENCE)
    assert came(bob) == ["bare", "4", "late"]


async def test_who_has_not_asked_gets_what_waits(world: World) -> None:
    await waiting(world, 2)
    bob = world.session("bob@localhost/b", priority=0)
    await world.dispatch.drain()
    messages = [each for each in got(bob) if "<body>" in each]
    assert [each.count(f'<stanza-id xmlns="{SID}" by="bob@localhost" ') for each in messages] == [1, 1]


async def test_what_clients_have_seen_is_forgotten_with_them(world: World) -> None:
    bob = world.session("bob@localhost/b")
    await query(world, bob)
    assert bob in mam(world)._seen
    world.host.unbind(bob, ENDED)
    await world.dispatch.drain()
    assert mam(world)._seen == {}


# --- failures ---


async def test_the_sender_is_told_of_what_cannot_be_archived(world: World, caplog: pytest.LogCaptureFixture) -> None:
    alice, bob = world.session("alice@localhost/a", priority=0), world.session("bob@localhost/b", priority=0)
    await world.says(alice, message("bob@localhost/b", "1"))
    got(alice), got(bob)
    disk: Any = faulty(mam(world), "messages")
    disk.next_id = archive(world).next_id
    for owner in ("alice", "bob"):
        disk.broken = {owner}
        await world.says(alice, message("bob@localhost/b", "2"))
        (answer,) = got(alice)
        assert "<internal-server-error " in answer and 'from="bob@localhost/b"' in answer
        assert got(bob) == []
    assert len(caplog.records) == 2


@pytest.mark.parametrize("cancelled", [False, True])
async def test_the_sender_is_told_of_what_fails_later(world: World, cancelled: bool) -> None:
    alice, bob = world.session("alice@localhost/a", priority=0), world.session("bob@localhost/b", priority=0)
    await world.says(alice, message("bob@localhost/b", "1"))
    got(alice), got(bob)
    written: list[asyncio.Future[str]] = []

    class Later:
        next_id = staticmethod(archive(world).next_id)

        def append(self, *arguments: object, **options: object) -> asyncio.Future[str]:
            written.append(asyncio.get_running_loop().create_future())
            return written[-1]

    vars(mam(world))["messages"] = Later()
    await world.says(alice, message("bob@localhost/b", "2"))
    assert got(alice) == [] and len(written) == 2
    written[0].set_result("id")
    if cancelled:
        written[1].cancel()
    else:
        written[1].set_exception(StorageError("The disk is full"))
    await asyncio.sleep(0)
    await world.dispatch.drain()
    answers = got(alice)
    assert len(answers) == (not cancelled)
    assert all("<internal-server-error " in each and "disk" not in each for each in answers)


# --- old messages ---


async def test_old_messages_go_in_small_steps(world: World) -> None:
    store = archive(world)
    steps: list[int] = []
    now = time.time()
    for index in range(250):
        await store.append("alice", b"<message/>", when=now - 1000 + index, with_="bob@localhost")
    for index in range(100):
        await store.append("bob", b"<message/>", when=now - 1000 + index, with_="alice@localhost")
    await store.append("bob", b"<message/>", when=now, with_="alice@localhost")
    await Expiry(store, 800, steps.append).round()
    assert steps == [100, 100, 1, 100] or steps == [100, 100, 100]
    left = [entry.when for entry in await store.page("alice", limit=1000)]
    assert len(left) in (49, 50) and min(left) >= now - 801
    assert await store.count("bob") == 1


async def test_old_messages_are_looked_for_while_the_server_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("xmppws.modules.mam.expiry._PAUSE", 0)
    store, module = archive(world), mam(world)
    await store.append("alice", b"<message/>", when=1.0, with_="bob@localhost")
    await module.start()
    async with asyncio.timeout(5):
        while await store.count("alice"):
            await asyncio.sleep(0)
        assert module.expired.value == 1

        def broken() -> object:
            raise StorageError("The disk is gone")

        monkeypatch.setattr(module._expiry._archive, "owners", broken, raising=False)
        while not caplog.records:
            await asyncio.sleep(0)
    await module.stop()
    assert "could not be removed" in caplog.text


async def test_messages_may_stay_for_ever(world: World) -> None:
    module = mam(world)
    module.options = replace(module.options, expire_after=0.0)
    await module.start()
    assert module._expiry._rounds is None
    await module.stop()


async def test_messages_to_other_servers_are_archived(world: World) -> None:
    far = ListRoute("far.example")
    world.dispatch.routes = (Delivery({"localhost": world.host}), far)
    alice = world.session("alice@localhost/a", priority=0)
    await world.says(alice, message("bob@far.example", "hello"))
    assert await bodies(world, "alice") == ["hello"]
    assert b"stanza-id" not in far.delivered[0]
