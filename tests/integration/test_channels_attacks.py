"""What pages, and XMPP clients beside them, do to the module channels that nobody means well with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clients import Client, logged_in
from pages import Page, channels_config, made, paging
from servers import PASSWORDS, Running, running
from waiting import until
from xmppws.core.events import DirectedPresenceFromUser
from xmppws.core.hooks import Phase
from xmppws.errors import ConnectionTimeout
from xmppws.jid import Jid

ROOM = "ab@conference.localhost"
EVENT = "<event xmlns='urn:xmppws:channels:0' name='message'><json xmlns='urn:xmpp:json:0'>{}</json></event>"
MUC = "http://jabber.org/protocol/muc"


@pytest.fixture(autouse=True)
def nothing_fails(caplog: pytest.LogCaptureFixture) -> Any:
    """No attack makes the server fail, or say that it has."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(channels_config()) as started:
        yield started
        await until(lambda: left(started) == (0, 0, 0, 0))


def left(server: Running) -> tuple[int, int, int, int]:
    """Return what there still is: pages, channels, sessions, and places in rooms."""
    host = server.server.hosts["localhost"]
    channels: Any = host.modules["channels"]
    muc: Any = host.modules["muc"]
    places = sum(len(room.sessions) + len(room.occupants) for room in muc.rooms.values())
    return len(channels.pages), len(channels._channels), len(host.sessions), places


async def entering(client: Client, nick: str) -> None:
    await client.send(
        f"<presence xmlns='jabber:client' to='{ROOM}/{nick}'><x xmlns='{MUC}'><history maxstanzas='0'/></x></presence>"
    )
    while (await client.receive_until("message")).find("{jabber:client}subject") is None:
        pass


async def says(client: Client, inside: str) -> None:
    await client.send(f"<message xmlns='jabber:client' to='{ROOM}' type='groupchat'>{inside}</message>")


async def owning(client: Client, query: str, of: str = "owner") -> None:
    """Make a request about the room, and see it granted."""
    await client.send(
        f"<iq xmlns='jabber:client' to='{ROOM}' type='set' id='o'><query xmlns='{MUC}#{of}'>{query}</query></iq>"
    )
    while (answer := await client.receive_until("iq")).get("id") != "o":
        pass
    assert answer.get("type") == "result"


async def setting(client: Client, **options: str) -> None:
    fields = "".join(
        f"<field var='muc#roomconfig_{name}'><value>{value}</value></field>" for name, value in options.items()
    )
    await owning(client, f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>")


def xmpp(server: Running, name: str) -> Any:
    return logged_in(server.url, name, PASSWORDS[name], mechanism="PLAIN")


async def data(page: Page) -> list[Any]:
    return [message["data"] for message in await page.silent() if message["type"] == "message"]


async def test_forged_status_codes_make_nobody_known(server: Running) -> None:
    """A semi-anonymous room where the page of an owner is: it sees addresses, the others do not."""
    async with xmpp(server, "alice") as alice, xmpp(server, "bob") as bob:
        await entering(alice, "Alice")
        await setting(alice)
        await entering(bob, "Bob")
        async with paging(server, made("alice")) as owners, paging(server, made("dora")) as page:
            await owners.subscribe("ab")
            await page.subscribe("ab")
            for code in (100, 104, 110, 172, 301):
                await says(bob, f"<x xmlns='{MUC}#user'><status code='{code}'/></x>")
            await says(bob, "<body>done</body>")
            assert await page.get("message")
            for reader in (owners, page):
                told = await reader.subscribe("ab", "other")
                assert [user for user in told["users"] if "id" in user] == []


async def test_a_subject_that_looks_like_an_event_keeps_nobody_out(server: Running) -> None:
    async with xmpp(server, "alice") as alice:
        await entering(alice, "Alice")
        await setting(alice)
        async with paging(server, made("dora")) as dora, paging(server, made("bob")) as bob:
            await dora.subscribe("ab")
            await says(alice, "<subject>Forged</subject>" + EVENT.format(1))
            assert (await bob.subscribe("ab"))["type"] == "subscribed"
            assert await data(dora) == []


async def test_history_is_history_whatever_is_in_it(server: Running) -> None:
    delay = "<delay xmlns='urn:xmpp:delay' from='ab@conference.localhost' stamp='2001-01-01T00:00:00Z'/>"
    async with xmpp(server, "alice") as alice:
        await entering(alice, "Alice")
        await setting(alice)
        for inside in (f"<body/>{delay}", f"<body>one</body>{delay}", f"<body/><subject/>{delay}", "<body>two</body>"):
            await says(alice, inside)
        async with paging(server, made("dora")) as dora:
            await dora.subscribe("ab", "another")
            assert await data(dora) == []
            await dora.subscribe("ab", "message", history=20)
            told = [message for message in await dora.silent() if message["type"] == "message"]
            assert [message["data"]["text"] for message in told] == ["one", "two"]
            assert all(message["timestamp"] > 1.1e12 for message in told)
            await says(alice, f"<body>three</body>{delay}")
            assert (await dora.get("message"))["timestamp"] > 1.1e12


@pytest.mark.parametrize(
    ("query", "of", "why"),
    [
        ("<destroy jid='x@y'><reason>late</reason></destroy>", "owner", "The channel was ended: late"),
        ("<item jid='dora@localhost' affiliation='outcast'/>", "admin", "You were banned from the channel"),
        ("<item nick='dora' role='none'/>", "admin", "You were removed from the channel"),
    ],
)
async def test_who_has_to_go_is_told_why(server: Running, query: str, of: str, why: str) -> None:
    async with xmpp(server, "alice") as alice, paging(server, made("dora")) as one, paging(server, made("dora")) as two:
        await entering(alice, "Alice")
        await setting(alice)
        for page in (one, two):
            assert (await page.subscribe("ab"))["type"] == "subscribed"
        await owning(alice, query, of)
        for page in (one, two):
            assert await page.get("error") == {"type": "error", "code": "removed", "text": why, "channel": "ab"}
            assert (await page.silent()) == []
            await page.publish("ab", "message", 1)
            assert (await page.get("error"))["code"] == "not-subscribed"


async def test_members_only(server: Running) -> None:
    async with xmpp(server, "alice") as alice, paging(server, made("dora")) as dora, paging(server, made("bob")) as bob:
        await entering(alice, "Alice")
        await setting(alice)
        await dora.subscribe("ab")
        await setting(alice, membersonly="1")
        assert (await dora.get("error"))["text"] == "The channel is for its members now"
        assert (await bob.subscribe("ab"))["code"] == "not-allowed"
        await setting(alice, membersonly="0", moderatedroom="1")
        assert (await bob.subscribe("ab"))["type"] == "subscribed"
        await bob.publish("ab", "message", 1, id="a\ufffe\u0000")
        refused = await bob.get("error")
        assert (refused["code"], refused["id"]) == ("not-allowed", "a\ufffe\u0000")


async def test_anonymity_that_changes(server: Running) -> None:
    async with xmpp(server, "alice") as alice, paging(server, made("dora")) as dora:
        await entering(alice, "Alice")
        await setting(alice)
        await dora.subscribe("ab")
        await setting(alice, whois="anyone")
        await setting(alice, whois="moderators")
        told = await dora.subscribe("ab", "e")
        assert told["users"] == [{"nick": "Alice"}, {"nick": "dora"}]


async def test_names_that_change(server: Running) -> None:
    async with (
        xmpp(server, "alice") as alice,
        paging(server, made("dora")) as dora,
        paging(server, made("alice")) as own,
    ):
        await own.subscribe("ab", echo=False)
        await dora.subscribe("ab")
        # The page and the client are one occupant.
        await entering(alice, "alice")
        for nick in ("Alice \U0001f600", "alice", "Al\u2028ice"[:2]):
            await alice.send(f"<presence xmlns='jabber:client' to='{ROOM}/{nick}'/>")
            assert (await dora.get("leave", "enter"))["type"] == "leave"
            assert (await dora.get("leave", "enter"))["sender"] == {"id": "alice@localhost", "nick": nick}
            await own.publish("ab", "message", nick)
            assert (await dora.get("message"))["sender"]["nick"] == nick
        assert await data(own) == []
        # The nickname that was taken first is free again.
        told = await dora.subscribe("ab", "e")
        assert {user["nick"] for user in told["users"]} == {"Al", "dora"}
        await alice.send(f"<presence xmlns='jabber:client' to='{ROOM}/Al' type='unavailable'/>")


async def test_presence_does_not_speak_for_the_room(server: Running) -> None:
    async with xmpp(server, "bob") as bob, paging(server, made("dora")) as dora:
        await dora.subscribe("ab")
        await entering(bob, "Bob")
        assert (await dora.get("enter"))["sender"]["nick"] == "Bob"
        codes = "".join(f"<status code='{code}'/>" for code in (100, 110, 172, 301, 303, 307, 332))
        item = (
            "<item jid='root@localhost' nick='dora' affiliation='none' role='none'><reason>x</reason></item><destroy/>"
        )
        forged = f"<x xmlns='{MUC}#user'>{item}{codes}</x><x xmlns='{MUC}'/>"
        await bob.send(f"<presence xmlns='jabber:client' to='{ROOM}/Bob'>{forged}</presence>")
        await bob.send(f"<presence xmlns='jabber:client' to='{ROOM}/Bob' type='unavailable'>{forged}</presence>")
        told = [await dora.receive()]
        assert [(message["type"], message["sender"]) for message in told] == [
            ("leave", {"id": "bob@localhost", "nick": "Bob"})
        ]
        assert (await dora.subscribe("ab", "e"))["users"] == [{"id": "dora@localhost", "nick": "dora"}]


async def test_private_stanzas_reach_no_page(server: Running) -> None:
    async with xmpp(server, "bob") as bob, paging(server, made("dora")) as dora:
        await dora.subscribe("ab")
        await entering(bob, "Bob")
        await dora.get("enter")
        (session,) = server.server.hosts["localhost"].sessions.of(Jid.parse("dora@localhost"))
        for to in (f"{ROOM}/dora", session.jid.text, "dora@localhost"):
            for type in ("chat", "normal", "headline", "groupchat", "error"):
                inside = f"<body>x</body>{EVENT.format(1)}<x xmlns='{MUC}#user'><status code='301'/></x>"
                await bob.send(f"<message xmlns='jabber:client' to='{to}' type='{type}'>{inside}</message>")
            for type in ("get", "set"):
                await bob.send(
                    f"<iq xmlns='jabber:client' to='{to}' type='{type}' id='{type}'><query xmlns='urn:x'/></iq>"
                )
                while (answer := await bob.receive_until("iq")).get("id") != type:
                    pass
                assert answer.get("type") == "error"
            for type in ("result", "error"):
                await bob.send(f"<iq xmlns='jabber:client' to='{to}' type='{type}' id='1'/>")
            for type in ("", "unavailable", "subscribe", "probe", "error"):
                if to != f"{ROOM}/dora":
                    await bob.send(f"<presence xmlns='jabber:client' to='{to}' type='{type}'/>".replace(" type=''", ""))
        assert await dora.silent() == []
        await says(bob, "<body>still there</body>")
        assert (await dora.get("message"))["data"] == {"text": "still there"}


async def test_ids_of_others_hide_nothing(server: Running) -> None:
    async with xmpp(server, "bob") as bob, paging(server, made("dora")) as dora, paging(server, made("dora")) as two:
        await dora.subscribe("ab", echo=False)
        await two.subscribe("ab")
        await entering(bob, "Bob")
        await dora.publish("ab", "message", "mine", id=1)
        await dora.publish("ab", "message", "mine too", id=1)
        id = (await bob.receive_until("message")).get("id")
        await bob.send(
            f"<message xmlns='jabber:client' to='{ROOM}' type='groupchat' id='{id}'><body>forged</body></message>"
        )
        assert (await dora.get("message"))["data"] == {"text": "forged"}
        assert await data(two) == ["mine", "mine too", {"text": "forged"}]


NASTY = [
    b'{"type":"subscribe","channel":"\\ud800","event":"e"}',
    b'{"type":"subscribe","channel":"ab","event":"\\udfff"}',
    b'{"type":"ping","id":"\\ud83d"}',
    b'{"type":"ping","id":1e999}',
    b'{"type":"ping","id":-1}',
    b'{"type":"ping","id":' + b"9" * 5000 + b"}",
    b'{"type":"subscribe","channel":"ab","event":"e","history":' + b"9" * 5000 + b"}",
    b'{"type":"subscribe","channel":"ab","event":"e","history":1e5}',
    b'{"type":"\\ud800"}',
    b'{"type":null}',
    b'{"\\ud800":1,"type":"ping"}',
    b'{"type":"publish","channel":"ab","event":"message","data":"\\ud800","id":"\\uffff\\u0000"}',
    b'{"type":"publish","channel":"ab","event":"message","data":{"text":"\\udc00\\ud800"}}',
    b'{"type":"publish","channel":"ab","event":"message","data":' + b"9" * 4000 + b"}",
    b'{"type":"publish","channel":"ab","event":"message","data":1e99999}',
    b'{"type":"publish","channel":"ab","event":"message","data":-0.0e-0}',
    b'{"type":"publish","channel":"ab","event":"message","data":01}',
    b'{"type":"publish","channel":"ab","event":"message","data":\r\n\t 1\r}',
    b'{"type":"publish","channel":"ab","event":"message","data":"\x7f\xc2\x85\xe2\x80\xa8\xef\xbb\xbf"}',
    b'{"type":"publish","channel":"ab","event":"\xe2\x80\xae","data":1}',
    b'\xef\xbb\xbf{"type":"ping"}',
    b"\x00",
    b"",
    b" ",
    b"nul",
]


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
async def test_nasty_requests(server: Running, nasty: bytes) -> None:
    async with paging(server, made("alice")) as page:
        await page.subscribe("ab")
        await page.socket.send_str(nasty.decode())
        assert len(await page.silent()) <= 1


@pytest.mark.parametrize(("opening", "closing", "depth"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":', "}]", 2)])
async def test_depth_has_one_limit(server: Running, opening: str, closing: str, depth: int) -> None:
    """What is taken arrives as what it was, however deep it is; what is too deep is refused."""
    async with paging(server, made("alice")) as page:
        await page.subscribe("ab", "e")
        for count, code in ((90, ""), (98, ""), (100, "bad-json"), (900, "bad-json"), (990, "bad-json")):
            for before, after in (("", ""), ('{"text":"]","\\\\":"\\"[","more":', "}")):
                inside = f"{before}{opening * (count // depth)}1{closing * (count // depth)}{after}"
                await page.socket.send_str(f'{{"type":"publish","channel":"ab","event":"e","data":{inside}}}')
                answer = await page.get("message", "error")
                assert (answer.get("code", ""), answer.get("event", "")) == (code, "" if code else "e"), count


@pytest.fixture
def checking(server: Running, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Tokens are checked slowly: one event says that it has begun, the other lets it go on."""
    module: Any = server.server.hosts["localhost"].modules["channels"]
    verify, asked, answer = module.providers.verify_token, asyncio.Event(), asyncio.Event()

    async def slow(token: str) -> Any:
        asked.set()
        await answer.wait()
        return await verify(token)

    monkeypatch.setattr(module.providers, "verify_token", slow)
    return asked, answer


async def test_a_page_that_is_ended_during_its_login(server: Running, checking: Any) -> None:
    asked, answer = checking
    module: Any = server.server.hosts["localhost"].modules["channels"]
    async with paging(server, made("alice")) as page:
        await asked.wait()
        (ours,) = module.pages
        ours.end(ConnectionTimeout("No login in time"))
        await page.end()
        answer.set()


async def test_a_page_that_goes_during_its_login(server: Running, checking: Any) -> None:
    asked, answer = checking
    async with paging(server, made("alice")) as page:
        await asked.wait()
        page.socket._response.connection.transport.abort()  # type: ignore[union-attr]
    answer.set()


async def test_a_page_that_goes_while_it_enters(server: Running) -> None:
    """A hook keeps what it sends to the room for a while."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def wait(event: DirectedPresenceFromUser) -> None:
        asked.set()
        await answer.wait()

    hooks = server.server.hosts["localhost"].hooks
    hooks.add(DirectedPresenceFromUser, Phase.GUARD, wait, "slow")
    async with paging(server, made("alice")) as gone, paging(server, made("bob")) as bob:
        await gone.send(type="subscribe", channel="ab", event="e")
        await asked.wait()
        (session,) = server.server.hosts["localhost"].sessions.of(Jid.parse("alice@localhost"))
        session.stream.end(ConnectionTimeout())
        await gone.end()
        await bob.send(type="subscribe", channel="ab", event="e")
        answer.set()
        told = await bob.get("subscribed")
        await bob.publish("ab", "e", 1)
        assert await data(bob) == [1]
        assert [user["nick"] for user in (await bob.subscribe("ab", "f"))["users"]] == ["bob"], told


async def test_two_pages_that_enter_while_there_is_talk(server: Running) -> None:
    """Both have asked before anybody was in; what is said between their entries is told once."""
    first, second = asyncio.Event(), asyncio.Event()

    async def wait(event: DirectedPresenceFromUser) -> None:
        await (first if event.session.account.local == "dora" else second).wait()

    async with xmpp(server, "alice") as alice, paging(server, made("dora")) as dora, paging(server, made("bob")) as bob:
        await entering(alice, "Alice")
        await setting(alice)
        await says(alice, "<body>early</body>")
        await alice.receive_until("message")
        server.server.hosts["localhost"].hooks.add(DirectedPresenceFromUser, Phase.GUARD, wait, "slow")
        for page in (dora, bob):
            await page.send(type="subscribe", channel="ab", event="message", history=9)
        await until(lambda: left(server)[2] == 3)
        first.set()
        await dora.get("subscribed")
        await says(alice, "<body>between</body>")
        assert [(await dora.get("message"))["data"]["text"] for _ in range(2)] == ["early", "between"]
        second.set()
        assert [(await bob.get("message"))["data"]["text"] for _ in range(2)] == ["early", "between"]
        await says(alice, "<body>late</body>")
        assert [(await page.get("message"))["data"]["text"] for page in (dora, bob)] == ["late", "late"]


async def test_a_room_that_does_not_answer(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has given up is not in the room after all, when it does."""
    answer = asyncio.Event()

    async def wait(event: DirectedPresenceFromUser) -> None:
        await answer.wait()

    module: Any = server.server.hosts["localhost"].modules["channels"]
    server.server.hosts["localhost"].hooks.add(DirectedPresenceFromUser, Phase.GUARD, wait, "slow")
    async with paging(server, made("alice")) as page:
        await page.send(type="subscribe", channel="ab", event="e", id=7)
        await until(lambda: left(server)[1] == 1)
        (ours,) = module.pages
        ours.check(ours._active + 31)
        refused = await page.get("error")
        assert (refused["code"], refused["id"]) == ("unavailable", 7)
        answer.set()
        assert await page.silent() == []
        await until(lambda: left(server) == (1, 0, 1, 0))


async def test_modules_that_are_loaded_again(server: Running) -> None:
    async with paging(server, made("alice")) as page:
        await page.subscribe("ab")
        await server.server.reload_module("muc")
        assert (await page.get("error"))["code"] == "removed"
        assert (await page.subscribe("ab"))["type"] == "subscribed"
        await server.server.reload_module("channels")
        assert (await page.end())[0] == 1001
    async with paging(server, made("alice")) as page:
        assert (await page.subscribe("ab"))["type"] == "subscribed"


async def test_the_server_stops_in_the_middle() -> None:
    async with running(channels_config()) as server:
        async with paging(server, made("alice")) as one, paging(server, made("bob")) as two, paging(server) as stranger:
            await one.subscribe("ab")
            await two.send(type="subscribe", channel="ab", event="e")
            await one.get("enter")
            stopping = asyncio.ensure_future(server.server.stop())
            for page in (one, two, stranger):
                assert (await page.end())[0] == 1001
            await stopping
        assert left(server) == (0, 0, 0, 0)


async def test_pages_that_come_and_go_all_the_time(server: Running) -> None:
    """Many requests in one go: subscriptions are taken back at once, in more channels than there may be."""
    async with paging(server, made("alice")) as alice, paging(server, made("bob")) as bob:
        await bob.subscribe("c0", "e0")
        for number in range(300):
            channel, event = f"c{number % 25}", f"e{number % 60}"
            await alice.send(type="subscribe", channel=channel, event=event, id=number)
            if number % 3:
                await alice.send(type="unsubscribe", channel=channel, **({"event": event} if number % 2 else {}))
        answers = await alice.silent()
        assert [answer["id"] for answer in answers if "id" in answer] == list(range(300))
        codes = {answer["code"] for answer in answers if answer["type"] == "error"}
        assert codes <= {"too-many-channels", "not-subscribed"}
        await alice.socket.close()
        told = [message["type"] for message in await bob.silent()]
        while told.count("leave") < told.count("enter"):
            told.append((await bob.receive())["type"])
        assert told and told == ["enter", "leave"] * (len(told) // 2)


async def test_as_many_channels_and_events_as_there_may_be(server: Running) -> None:
    async with paging(server, made("alice")) as page:
        for channel in range(21):
            for event in range(51):
                await page.send(type="subscribe", channel=f"c{channel}", event=f"{event} \u2603 e\u0301", id=channel)
        answers = [message for message in await page.silent() if message["type"] in ("subscribed", "error")]
        assert [answer.get("code", "") for answer in answers] == (
            ([""] * 50 + ["too-many-events"]) * 20 + ["too-many-channels"] * 51
        )
        await page.publish("c3", "49 \u2603 e\u0301", 1)
        await page.publish("c3", "49 \u2603 \u00e9", 2)
        assert await data(page) == [1]


async def test_one_of_two_tokens_expires(server: Running) -> None:
    async with paging(server, made("alice", lasts=-9)) as short, paging(server, made("alice")) as long:
        await long.subscribe("ab")
        await short.subscribe("ab")
        assert (await short.end())[1].startswith("token-expired")
        told = await long.subscribe("ab", "e")
        assert [user["nick"] for user in told["users"]] == ["alice"]
        assert (await long.silent()) == []
