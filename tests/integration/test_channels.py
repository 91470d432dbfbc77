"""Pages of the module channels on real sockets, beside XMPP clients in the same rooms."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from clients import CLIENT, Client, logged_in
from pages import channels_config, made, paging
from servers import PASSWORDS, Running, running
from xmppws.jid import Jid
from xmppws.modules.muc.privileges import Affiliation
from xmppws.modules.muc.room import Standing

ROOM = "^team+^one@conference.localhost"


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(channels_config()) as started:
        yield started


def plain(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "timestamp"}


async def test_pages_publish_to_each_other(server: Running) -> None:
    async with paging(server, made("alice", device="desk")) as alice, paging(server, made("bob")) as bob:
        assert await alice.subscribe("Team One", "signal:all") == {
            "type": "subscribed",
            "channel": "Team One",
            "event": "signal:all",
            "users": [{"id": "alice@localhost", "nick": "alice"}],
        }
        told = await bob.subscribe("Team One", "signal:all", id=7)
        assert [user["nick"] for user in told["users"]] == ["alice", "bob"] and told["id"] == 7
        assert plain(await alice.receive()) == {
            "type": "enter",
            "channel": "Team One",
            "sender": {"id": "bob@localhost", "nick": "bob"},
        }
        data = {"type": "discover", "from": 1.0, "userType": "desktop"}
        await bob.publish("Team One", "signal:all", data)
        for page in (alice, bob):
            message = await page.receive()
            assert message.pop("timestamp") > 1e12
            assert message == {
                "type": "message",
                "channel": "Team One",
                "event": "signal:all",
                "data": data,
                "sender": {"id": "bob@localhost", "nick": "bob"},
            }
        await bob.publish("Team One", "signal:alice", 1)
        assert await alice.silent() == []
        await bob.socket.close()
        assert plain(await alice.receive())["type"] == "leave"


async def entering(client: Client, nick: str, room: str = ROOM) -> None:
    await client.send(
        f"<presence xmlns='jabber:client' to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>"
        "<history maxstanzas='0'/></x></presence>"
    )
    while (await client.receive_until("message")).find(f"{CLIENT}subject") is None:
        pass


def written(client: Client, body: str, more: str = "", room: str = ROOM) -> Any:
    return client.send(
        f"<message xmlns='jabber:client' to='{room}' type='groupchat'><body>{body}</body>{more}</message>"
    )


def event(name: str, data: str) -> str:
    return f"<event xmlns='urn:xmppws:channels:0' name='{name}'><json xmlns='urn:xmpp:json:0'>{data}</json></event>"


async def test_a_page_and_an_xmpp_client_in_one_room(server: Running) -> None:
    async with (
        paging(server, made("dora")) as page,
        logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob,
    ):
        await page.subscribe("Team One", "message")
        await page.subscribe("Team One", "signal")
        await entering(bob, "Bobby")
        assert (await page.get("enter"))["sender"] == {"id": "bob@localhost", "nick": "Bobby"}

        await page.publish("Team One", "message", {"text": "h\u00e9 <you> \u0001"})
        await page.publish("Team One", "signal", {"a": [1, 2.50, "\uffff"]})
        first, second = await bob.receive_until("message"), await bob.receive_until("message")
        assert first.get("from") == f"{ROOM}/dora" and first.findtext(f"{CLIENT}body") == "h\u00e9 <you> \ufffd"
        json_text = second.findtext("{urn:xmppws:channels:0}event/{urn:xmpp:json:0}json")
        assert json_text == '{"a": [1, 2.5, "\\uffff"]}'
        assert second.findtext(f"{CLIENT}body") == 'signal: {"a": [1, 2.5, "\\uffff"]}'
        assert [(await page.get("message"))["data"] for _ in range(2)] == [
            {"text": "h\u00e9 <you> \u0001"},
            {"a": [1, 2.5, "\uffff"]},
        ]

        await written(bob, "hi &amp; bye")
        await written(bob, "for others", event("signal", '{"b": 1.0}'))
        await written(bob, "unread", event("other", "1"))
        await written(bob, "not JSON", event("signal", "{"))
        assert [(m["event"], m["data"]) for m in await page.silent() if m["type"] == "message"] == [
            ("message", {"text": "hi & bye"}),
            ("signal", {"b": 1.0}),
            ("message", {"text": "not JSON"}),
        ]


async def test_everything_arrives_once_and_in_order(server: Running) -> None:
    async with (
        paging(server, made("alice")) as one,
        paging(server, made("alice")) as two,
        paging(server, made("dora")) as dora,
        logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob,
    ):
        for page in (one, two, dora):
            await page.subscribe("Team One", "n")
        await entering(bob, "bob")
        for number in range(50):
            await one.publish("Team One", "n", ["one", number])
            await dora.publish("Team One", "n", ["dora", number])
            await written(bob, "x", event("n", f'["bob", {number}]'))
        seen = []
        for page in (one, two, dora):
            got = [(await page.get("message"))["data"] for _ in range(150)]
            assert not [message for message in await page.silent() if message["type"] == "message"]
            seen.append(got)
        assert seen[0] == seen[1] == seen[2]
        for who in ("one", "dora", "bob"):
            assert [number for name, number in seen[0] if name == who] == list(range(50))
        at_bob: list[str | None] = []
        while len(at_bob) < 150:
            message = await bob.receive_until("message")
            at_bob.append(message.findtext("{urn:xmppws:channels:0}event/{urn:xmpp:json:0}json"))
        assert at_bob == [f'["{name}", {number}]' for name, number in seen[0]]


REFUSED: list[tuple[bytes | dict[str, Any], str]] = [
    (b"{", "bad-json"),
    (b'{"type":"ping"} ', ""),
    (b"[]", "bad-request"),
    (b'"ping"', "bad-request"),
    (b'{"type":"ping","id":NaN}', "bad-json"),
    (b'{"type":"ping","type":"ping"}', "duplicate-key"),
    (b'{"type":"publish","channel":"ab","event":"e","data":{"a":{"b":1,"b":2}}}', "duplicate-key"),
    (b"[" * 60_000, "bad-json"),
    (b'{"type":"dance"}', "bad-request"),
    ({"type": "subscribe", "channel": "ab"}, "bad-request"),
    ({"type": "subscribe", "channel": "ab", "event": "e", "history": -1}, "bad-request"),
    ({"type": "subscribe", "channel": 12, "event": "e"}, "bad-request"),
    ({"type": "subscribe", "channel": "a", "event": "e"}, "bad-channel"),
    ({"type": "subscribe", "channel": "a" * 13, "event": "e"}, "bad-channel"),
    ({"type": "subscribe", "channel": "a/b", "event": "e"}, "bad-channel"),
    ({"type": "subscribe", "channel": "\u00e4\u00e4", "event": "e"}, "bad-channel"),
    ({"type": "subscribe", "channel": "ab\n", "event": "e"}, "bad-channel"),
    ({"type": "subscribe", "channel": "ab", "event": ""}, "bad-event"),
    ({"type": "subscribe", "channel": "ab", "event": "e\n"}, "bad-event"),
    ({"type": "subscribe", "channel": "ab", "event": "e" * 129}, "bad-event"),
    ({"type": "publish", "channel": "ab", "event": "e"}, "bad-request"),
    ({"type": "publish", "channel": "ab", "event": "e", "data": 1}, "not-subscribed"),
    ({"type": "unsubscribe", "channel": "ab"}, "not-subscribed"),
    ({"type": "auth", "token": "x"}, "bad-request"),
    ({"type": "ping", "id": "x" * 65}, "bad-request"),
    ({"type": "publish", "channel": "ab", "event": "e", "data": "x" * 65_536}, "message-too-large"),
]


@pytest.mark.parametrize(("request_", "code"), REFUSED, ids=[f"{n}-{code}" for n, (_, code) in enumerate(REFUSED)])
async def test_what_is_refused(server: Running, request_: bytes | dict[str, Any], code: str) -> None:
    async with paging(server, made("alice")) as page:
        if isinstance(request_, dict):
            await page.send(**request_)
        else:
            await page.socket.send_str(request_.decode())
        answer = await page.receive()
        assert answer.get("code", "") == code, answer
        assert await page.silent() == []


async def test_the_rest_of_the_limits() -> None:
    limits: dict[str, Any] = {"max_rooms": 2, "max_room_users": 2, "max_page_channels": 1, "max_page_events": 2}
    async with (
        running(channels_config(**limits, muc={"max_sessions": 2})) as server,
        paging(server, made("alice")) as alice,
        paging(server, made("bob")) as bob,
        paging(server, made("carol")) as carol,
        paging(server, made("alice")) as second,
        paging(server, made("alice")) as third,
    ):
        assert (await alice.subscribe("one", "a"))["type"] == "subscribed"
        assert (await alice.subscribe("one", "b"))["type"] == "subscribed"
        assert (await alice.subscribe("one", "b"))["type"] == "subscribed"
        assert (await alice.subscribe("one", "c", id="x")).items() >= {"code": "too-many-events", "id": "x"}.items()
        assert (await alice.subscribe("two"))["code"] == "too-many-channels"
        assert (await bob.subscribe("one"))["type"] == "subscribed"
        full = await carol.subscribe("one")
        assert full == {
            "type": "error",
            "code": "channel-full",
            "text": "The channel has all the users it may have",
            "channel": "one",
            "event": "message",
        }
        # A user is in it once, with as many pages as the rooms let in.
        assert (await second.subscribe("one"))["type"] == "subscribed"
        assert (await third.subscribe("one"))["code"] == "too-many-pages"
        assert (await carol.subscribe("two"))["type"] == "subscribed"
        assert (await third.subscribe("three"))["code"] == "too-many-rooms"
        await carol.send(type="unsubscribe", channel="two")
        assert (await carol.get("unsubscribed")) == {"type": "unsubscribed", "channel": "two"}
        assert (await third.subscribe("three"))["type"] == "subscribed"


async def test_pages_of_one_user_are_one_user(server: Running) -> None:
    async with paging(server, made("bob")) as bob, paging(server, made("alice", device="tab")) as one:
        await bob.subscribe("ab", "e")
        await one.subscribe("ab", "e")
        assert (await bob.receive())["type"] == "enter"
        async with paging(server, made("alice", device="tab")) as two:
            told = await two.subscribe("ab", "e")
            assert [user["nick"] for user in told["users"]] == ["bob", "alice"]
            await two.publish("ab", "e", 1)
            assert (await one.receive())["data"] == (await two.receive())["data"] == 1
        await one.publish("ab", "e", 2)
        assert [message["data"] for message in (await bob.receive(), await bob.receive())] == [1, 2]
        await one.send(type="unsubscribe", channel="ab", event="e")
        assert (await one.get("unsubscribed"))["event"] == "e"
        assert (await bob.receive())["type"] == "leave"
        await one.publish("ab", "e", 3)
        assert (await one.get("error"))["code"] == "not-subscribed"


async def test_echo_is_an_option() -> None:
    async with running(channels_config(echo=False)) as server:
        async with paging(server, made("alice")) as one, paging(server, made("alice")) as two:
            await one.subscribe("ab", "e")
            await two.subscribe("ab", "e", echo=True)
            await one.publish("ab", "e", "of one")
            await two.publish("ab", "e", "of two")
            assert [(await two.receive())["data"] for _ in range(2)] == ["of one", "of two"]
            assert [message["data"] for message in await one.silent()] == ["of two"]


async def test_history_is_given_on_subscribing(server: Running) -> None:
    async with paging(server, made("alice")) as alice, paging(server, made("bob")) as bob:
        await alice.subscribe("ab", "e")
        for number in range(5):
            await alice.publish("ab", "e", number)
        await alice.publish("ab", "f", "of another event")
        await alice.silent()
        await bob.subscribe("ab", "e", history=3)
        told = [await bob.receive() for _ in range(3)]
        assert [message["data"] for message in told] == [2, 3, 4]
        assert told[0]["sender"] == {"id": "alice@localhost", "nick": "alice"}
        assert (await bob.subscribe("ab", "f", history=50))["type"] == "subscribed"
        assert (await bob.receive())["data"] == "of another event"
        await alice.publish("ab", "e", 5)
        assert [message["data"] for message in await bob.silent()] == [5]


async def test_history_from_before_the_first_page(server: Running) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob:
        await bob.send(
            f"<presence xmlns='jabber:client' to='{ROOM}/Bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await bob.send(
            f"<iq xmlns='jabber:client' type='set' id='1' to='{ROOM}'>"
            "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>"
        )
        await bob.receive_until("iq")
        await written(bob, "early")
        assert await bob.body() == "early"
        async with paging(server, made("alice")) as alice:
            told = await alice.subscribe("Team One", history=9)
            # The room is semi-anonymous, so nobody is told who Bob is.
            assert told["users"] == [{"nick": "Bob"}, {"nick": "alice"}]
            message = await alice.receive()
            assert (message["data"], message["sender"]) == ({"text": "early"}, {"nick": "Bob"})


async def test_a_name_that_somebody_else_has(server: Running) -> None:
    async with (
        paging(server, made("dora")) as dora,
        paging(server, made("alice")) as alice,
        logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob,
    ):
        await dora.subscribe("Team One")
        await entering(bob, "alice")
        told = await alice.subscribe("Team One")
        assert {"id": "alice@localhost", "nick": "alice (2)"} in told["users"]
        await written(bob, "I am alice")
        await alice.publish("Team One", "message", 1)
        senders = [(await dora.get("message"))["sender"] for _ in range(2)]
        assert senders == [
            {"id": "bob@localhost", "nick": "alice"},
            {"id": "alice@localhost", "nick": "alice (2)"},
        ]


async def test_who_is_removed_is_told(server: Running) -> None:
    async with (
        paging(server, made("alice")) as alice,
        logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob,
    ):
        room = server.server.hosts["localhost"].modules["muc"].rooms  # type: ignore[attr-defined]
        await alice.subscribe("Team One")
        room[Jid.parse(ROOM)].standings[Jid.parse("bob@localhost")] = Standing(Affiliation.OWNER)
        await entering(bob, "bob")
        await bob.send(
            f"<iq xmlns='jabber:client' type='set' id='k' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#admin'>"
            "<item nick='alice' role='none'><reason>noise</reason></item></query></iq>"
        )
        assert await alice.get("error") == {
            "type": "error",
            "code": "removed",
            "text": "You were removed from the channel: noise",
            "channel": "Team One",
        }
        await alice.publish("Team One", "message", 1)
        assert (await alice.receive())["code"] == "not-subscribed"


async def test_the_life_of_a_token(server: Running) -> None:
    async with paging(server, made("alice", lasts=-60)) as page:
        refused = await page.receive()
        assert (refused["code"], refused["text"]) == ("token-invalid", "The token is refused: it has expired (exp)")
        assert await page.end() == (1008, "token-invalid: The token is refused: it has expired (exp)")
    async with paging(server, "not.a.token") as page:
        assert (await page.receive())["code"] == "token-invalid"
        assert (await page.end())[0] == 1008
    async with paging(server) as page:
        assert (await page.subscribe("ab"))["code"] == "not-authenticated"
        await page.send(type="auth", token=made("alice", lasts=30, room="ab"), id=1)
        told = await page.receive()
        assert (told["type"], told["user"], told["id"]) == ("authenticated", "alice@localhost", 1)
        assert (await page.subscribe("cd"))["code"] == "not-allowed"
        assert (await page.subscribe("ab"))["type"] == "subscribed"
    # A server's clock may be behind by `leeway`, 10 s; then the token is over, and so is the page.
    async with paging(server, made("alice", lasts=-9)) as page:
        await page.subscribe("ab")
        code, reason = await page.end()
        assert (code, reason.split(":")[0]) == (1008, "token-expired")
    sessions = server.server.hosts["localhost"].sessions
    assert len(sessions) == 0


async def test_a_page_that_wants_nothing_is_ended() -> None:
    async with running(channels_config(idle_timeout=1.0)) as server:
        async with paging(server, made("alice")) as idle, paging(server, made("bob")) as busy:
            await busy.subscribe("ab")
            code, reason = await idle.end()
            assert (code, reason.split(":")[0]) == (1008, "idle")
            assert await busy.silent() == []


async def test_nothing_is_left_of_pages(server: Running) -> None:
    module = server.server.hosts["localhost"].modules["channels"]
    rooms = server.server.hosts["localhost"].modules["muc"].rooms  # type: ignore[attr-defined]
    async with paging(server, made("alice")) as alice, paging(server, made("bob")) as bob:
        await alice.subscribe("ab")
        await bob.subscribe("ab")
        assert (len(module.pages), len(module._channels), len(rooms)) == (2, 1, 1)  # type: ignore[attr-defined]
        await alice.socket.close()
        assert (await bob.get("leave"))["sender"]["nick"] == "alice"
        await bob.send(type="unsubscribe", channel="ab")
        await bob.get("unsubscribed")
        assert (len(module.pages), len(module._channels), len(rooms)) == (1, 0, 0)  # type: ignore[attr-defined]


async def test_stanzas_that_pages_cannot_read_are_answered(server: Running) -> None:
    async with (
        paging(server, made("dora")) as page,
        logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob,
    ):
        await page.subscribe("Team One")
        (session,) = server.server.hosts["localhost"].sessions.of(Jid.parse("dora@localhost"))
        await bob.message(session.jid.text, "psst")
        assert (await bob.receive_until("message")).get("type") == "error"
        await bob.send(
            f"<iq xmlns='jabber:client' type='get' id='1' to='{session.jid.text}'>"
            "<query xmlns='jabber:iq:version'/></iq>"
        )
        assert (await bob.receive_until("iq")).get("type") == "error"
        assert await page.silent() == []


async def test_pages_need_a_secure_connection() -> None:
    settings = channels_config()
    settings = replace(settings, http=replace(settings.http, consider_websocket_secure=False))
    async with running(settings) as server, aiohttp.ClientSession() as session:
        url = f"{server.http}/ws"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
        assert refused.value.status == 403
        async with session.ws_connect(url, headers={"X-Forwarded-Proto": "https"}) as socket:
            await socket.send_str("{}")
            assert "bad-request" in (await socket.receive(timeout=10)).data


async def test_what_is_not_utf8_ends_the_page(server: Running) -> None:
    async with paging(server, made("alice")) as page:
        await page.socket._writer.send_frame(b"\xff", aiohttp.WSMsgType.TEXT)
        assert (await page.end())[0] == 1007


async def test_tokens_stand_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown, wrong = made("alice"), made("alice", lasts=-99)
    async with running(channels_config()) as server, paging(server, shown) as page, paging(server, wrong) as refused:
        await page.subscribe("ab")
        await refused.end()
        async with aiohttp.ClientSession() as session:
            for path in ("/ws", "/wss", "/health"):
                async with session.get(f"{server.http}{path}", params={"token": shown}):
                    pass
    ours = [record for record in caplog.records if record.name.startswith("xmppws")]
    assert any("login=success" in record.getMessage() for record in ours)
    for record in ours:
        everything = f"{record.getMessage()} {vars(record)}"
        assert not any(part in everything for token in (shown, wrong) for part in token.split(".")[1:])
