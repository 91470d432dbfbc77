"""Colibri WebSockets on real sockets: conferences allocated over XMPP, and what their endpoints tell each other."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest

from clients import Client, logged_in
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Config, Host

SERVICE = "colibri.localhost"
COLIBRI2 = "{jitsi:colibri2}"
WEB_SOCKET = "{http://jitsi.org/protocol/colibri}web-socket"
NAMES = "<capability name='source-names'/>"
ICE = "<transport><transport xmlns='urn:xmpp:jingle:transports:ice-udp:1'>{}</transport></transport>"
DIALS = "<web-socket xmlns='http://jitsi.org/protocol/colibri' url='{}'/>"


def settings(**options: Any) -> Config:
    host = Host(
        http_host=("localhost", "127.0.0.1"),
        modules_enabled=("default", "colibri"),
        modules={"colibri": {"focus": ["alice@localhost"], "tls": False, **options}},
    )
    return config(hosts={"localhost": host})


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(settings()) as started:
        yield started


@asynccontextmanager
async def focus(server: Running) -> AsyncIterator[Focus]:
    async with logged_in(server.url, "alice", PASSWORDS["alice"], mechanism="PLAIN") as client:
        yield Focus(client, server)


class Focus:
    """Allocates conferences, as Jicofo does."""

    def __init__(self, client: Client, server: Running) -> None:
        self.client = client
        self.server = server

    async def modify(self, content: str = "", **attributes: str) -> ElementTree.Element:
        said = "".join(f" {name}='{value}'" for name, value in {"meeting-id": "m1", **attributes}.items())
        request = f"<conference-modify xmlns='jitsi:colibri2'{said}>{content}</conference-modify>"
        return await self.client.iq("get", request, to=SERVICE)

    async def endpoint(self, id: str, **attributes: str) -> str:
        """Create an endpoint, and return its path and query."""
        (url,) = urls(
            await self.modify(f"<endpoint id='{id}' create='true'>{NAMES}{ICE.format('')}</endpoint>", **attributes)
        )
        return path_of(url)

    async def relay(self, id: str, mesh: str, dials: str = "", **attributes: str) -> list[str]:
        transport = ICE.format(DIALS.format(dials) if dials else "")
        answer = await self.modify(f"<relay id='{id}' mesh-id='{mesh}' create='true'>{transport}</relay>", **attributes)
        return [path_of(url) for url in urls(answer)]


def urls(answer: ElementTree.Element) -> list[str]:
    assert answer.get("type") == "result", ElementTree.tostring(answer)
    return [each.get("url") or "" for each in answer.iter(WEB_SOCKET) if each.get("url")]


def path_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    assert scheme in ("ws", "wss")
    return "/" + rest.partition("/")[2]


def reason(answer: ElementTree.Element) -> tuple[str, str]:
    """Return condition and Colibri's reason of an error."""
    (error,) = answer.findall("{jabber:client}error")
    (own,) = error.findall(f"{COLIBRI2}error")
    return error[0].tag.rpartition("}")[2], own.get("reason") or ""


class Endpoint:
    """A client's socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"colibriClass": kind, **fields}))

    async def receive(self) -> dict[str, Any]:
        message = await self.socket.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return dict(json.loads(message.data))

    async def hears_nothing(self) -> None:
        """Make sure that nothing came: a hello is answered next."""
        await self.send("ClientHello")
        assert (await self.receive())["colibriClass"] == "ServerHello"

    async def end(self) -> tuple[int, str]:
        message = await self.socket.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return message.data, message.extra or ""


@asynccontextmanager
async def dialled(server: Running, path: str) -> AsyncIterator[Endpoint]:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://127.0.0.1:{server.port}{path}") as socket:
            endpoint = Endpoint(socket)
            assert await endpoint.receive() == {"colibriClass": "ServerHello"}
            yield endpoint


async def refused(server: Running, path: str) -> tuple[int, str]:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{server.port}{path}", headers=headers) as response:
            return response.status, (await response.text()).strip()


# --- Messages ---


async def test_endpoints_tell_each_other(server: Running) -> None:
    async with AsyncExitStack() as stack:
        jicofo = await stack.enter_async_context(focus(server))
        paths = [await jicofo.endpoint("a", create="true"), await jicofo.endpoint("b"), await jicofo.endpoint("c")]
        a, b, c = [await stack.enter_async_context(dialled(server, path)) for path in paths]
        # To one, whoever it says it is from; to all others.
        payload = {"type": "x", "n": [1, 2.5, None]}
        await a.send("EndpointMessage", to="b", **{"from": "c"}, msgPayload=payload)
        await a.send("EndpointMessage", to="", msgPayload="ä")
        await a.send("EndpointStats", bitrate={"upload": 1})
        expected = {
            "colibriClass": "EndpointMessage",
            "to": "b",
            "from": "a",
            "msgPayload": {"type": "x", "n": [1, 2.5, None]},
        }
        assert await b.receive() == expected
        for other in (b, c):
            assert await other.receive() == {
                "colibriClass": "EndpointMessage",
                "to": "",
                "from": "a",
                "msgPayload": "ä",
            }
            assert await other.receive() == {"colibriClass": "EndpointStats", "bitrate": {"upload": 1}, "from": "a"}
        await a.hears_nothing()
        # To nobody who is there.
        await a.send("EndpointMessage", to="nobody", msgPayload=1)
        for each in (a, b, c):
            await each.hears_nothing()


async def test_who_is_connected(server: Running) -> None:
    async with focus(server) as jicofo:
        first, second = await jicofo.endpoint("a", create="true"), await jicofo.endpoint("b")
        async with dialled(server, first) as a:
            async with dialled(server, second):
                await a.hears_nothing()
            lost = {"colibriClass": "EndpointConnectivityStatusChangeEvent", "endpoint": "b", "active": "false"}
            assert await a.receive() == lost
            # The same URL is good again.
            async with dialled(server, second):
                assert await a.receive() == {**lost, "active": "true"}


async def test_a_newer_socket_takes_the_place_of_the_older(server: Running) -> None:
    async with focus(server) as jicofo:
        path, other = await jicofo.endpoint("a", create="true"), await jicofo.endpoint("b")
        async with dialled(server, other) as b, dialled(server, path) as older, dialled(server, path) as newer:
            assert await older.end() == (1000, "replaced")
            await b.send("EndpointMessage", to="a", msgPayload=1)
            assert (await newer.receive())["msgPayload"] == 1
            await b.hears_nothing()


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "1", "{}", '{"colibriClass":1}', '{"colibriClass":"EndpointMessage","colibriClass":"x"}'),
        *('{"colibriClass":"Unknown"}', '{"colibriClass":"EndpointMessage","to":"","x":NaN}', "[" * 5000),
        '{"colibriClass":"LastNChangedEvent","lastN":5}',
    ],
)
async def test_what_is_no_message_is_ignored(server: Running, text: str) -> None:
    async with focus(server) as jicofo:
        paths = await jicofo.endpoint("a", create="true"), await jicofo.endpoint("b")
        async with dialled(server, paths[0]) as a, dialled(server, paths[1]) as b:
            await a.socket.send_str(text)
            await a.hears_nothing()
            await b.hears_nothing()


async def test_a_message_that_is_too_large_ends_the_socket(server: Running) -> None:
    async with focus(server) as jicofo, dialled(server, await jicofo.endpoint("a", create="true")) as a:
        await a.send("EndpointMessage", to="", msgPayload="x" * 70_000)
        assert (await a.end())[0] == 1009


# --- Conferences ---


async def test_an_end(server: Running) -> None:
    async with focus(server) as jicofo:
        paths = await jicofo.endpoint("a", create="true"), await jicofo.endpoint("b")
        async with dialled(server, paths[0]) as a, dialled(server, paths[1]) as b:
            await jicofo.modify("<endpoint id='a' expire='true'/>")
            assert await a.end() == (1001, "endpoint closed")
            # What is over can be ended again, and is not there.
            assert urls(await jicofo.modify("<endpoint id='a' expire='true'/>")) == []
            assert await refused(server, paths[0]) == (403, "authentication failed")
            assert urls(await jicofo.modify(expire="true")) == []
            assert await b.end() == (1001, "endpoint closed")
        assert reason(await jicofo.modify(expire="true")) == ("item-not-found", "conference_not_found")
        module: Any = server.server.hosts["localhost"].modules["colibri"]
        assert (module._conferences, module._by_meeting, len(module._dialler)) == ({}, {}, 0)


async def test_what_cannot_be_allocated(server: Running) -> None:
    transport, none = ICE.format(""), {"meeting-id": "m2"}
    async with focus(server) as jicofo:
        await jicofo.endpoint("a", create="true")
        new = "<endpoint id='{}' create='true'>{}</endpoint>"
        cases = [
            ("", {"create": "true"}, ("conflict", "conference_already_exists")),
            (new.format("b", NAMES + transport), none, ("item-not-found", "conference_not_found")),
            (new.format("a", NAMES + transport), {}, ("conflict", "conference_already_exists")),
            (new.format("b", NAMES), {}, ("bad-request", "unspecified")),
            (new.format("b", transport), {}, ("bad-request", "unspecified")),
            (new.format("b/c", NAMES + transport), {}, ("bad-request", "unspecified")),
            (new.format("b", NAMES) * 2, {}, ("feature-not-implemented", "feature_not_implemented")),
            ("<endpoint id='x'/>", {}, ("item-not-found", "unknown_endpoint")),
            ("<relay id='x' create='true'/>", {}, ("bad-request", "unspecified")),
            ("<endpoint id='a'/><relay id='x'/>", {}, ("feature-not-implemented", "feature_not_implemented")),
            ("", {"meeting-id": ""}, ("bad-request", "unspecified")),
        ]
        for content, attributes, expected in cases:
            assert reason(await jicofo.modify(content, **attributes)) == expected, content
        # A conference whose first part cannot be is not there either.
        await jicofo.modify(new.format("b", NAMES), **{"meeting-id": "m3"}, create="true")
        assert reason(await jicofo.modify(**{"meeting-id": "m3"})) == ("item-not-found", "conference_not_found")


async def test_only_the_focus_allocates(server: Running) -> None:
    async with logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob:
        answer = await Focus(bob, server).modify(create="true")
        assert answer.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}forbidden") is not None


async def test_so_many_and_no_more() -> None:
    async with running(settings(max_conferences=1, max_endpoints=1, max_relays=1)) as server, focus(server) as jicofo:
        await jicofo.endpoint("a", create="true")
        await jicofo.relay("r", "m")
        constraint = ".//{urn:ietf:params:xml:ns:xmpp-stanzas}resource-constraint"
        transport = ICE.format("")
        for content in (
            f"<endpoint id='b' create='true'>{NAMES}{transport}</endpoint>",
            f"<relay id='s' create='true'>{transport}</relay>",
        ):
            assert (await jicofo.modify(content)).find(constraint) is not None
        assert (await jicofo.modify(**{"meeting-id": "m2"}, create="true")).find(constraint) is not None


async def test_each_domain_has_a_url() -> None:
    options = {"domains": ["one.example:443", "two.example"], "relay_domains": ["r.example"], "server_id": "jvb1"}
    async with running(settings(**options | {"tls": True})) as server, focus(server) as jicofo:
        answer = await jicofo.modify(
            f"<endpoint id='a' create='true'>{NAMES}{ICE.format('')}</endpoint>", create="true"
        )
        first, second = urls(answer)
        assert first.startswith("wss://one.example:443/colibri-ws/jvb1/") and "/a?pwd=" in first
        assert second == first.replace("one.example:443", "two.example")
        answer = await jicofo.modify(f"<relay id='r' create='true'>{ICE.format('')}</relay>")
        assert urls(answer)[0].startswith("wss://r.example/colibri-relay-ws/jvb1/")


# --- Secrets ---


async def test_who_is_refused(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with focus(server) as jicofo:
        path = await jicofo.endpoint("a", create="true")
        (relay,) = await jicofo.relay("r", "m")
        place, _, secret = path.partition("?pwd=")
        other = await jicofo.endpoint("b")
        failed = (403, "authentication failed")
        wrong = [f"{place}?pwd={secret[:-1]}x", place, f"{place}?x=1&pwd={secret}", f"{path}&room=x", f"{place}?pwd="]
        wrong += [f"{other.partition('?')[0]}?pwd={secret}", path.replace("/a?", "/nobody?")]
        wrong += [path.replace(place.split("/")[3], "none"), path.replace("colibri-ws", "colibri-relay-ws")]
        wrong += [relay.replace("colibri-relay-ws", "colibri-ws")]
        assert [await refused(server, each) for each in wrong] == [failed] * len(wrong)
        assert await refused(server, path.replace("default-id", "jvb7")) == (404, "server ID mismatch")
        assert (await refused(server, "/colibri-ws/default-id/x"))[0] == 404
        async with dialled(server, path):
            pass
    assert secret not in caplog.text


# --- Relays ---


async def test_relays_of_other_meshes(server: Running) -> None:
    async with AsyncExitStack() as stack:
        jicofo = await stack.enter_async_context(focus(server))
        a = await stack.enter_async_context(dialled(server, await jicofo.endpoint("a", create="true")))
        relays = {}
        for id, mesh in (("r1", "m1"), ("r2", "m1"), ("r3", "m2")):
            (path,) = await jicofo.relay(id, mesh)
            relays[id] = await stack.enter_async_context(dialled(server, path))
        far = "<endpoints><endpoint id='far'/></endpoints>"
        await jicofo.modify(f"<relay id='r3'>{far}</relay>")
        # From one of ours: to all relays; from a relay: to ours, and to relays of other meshes.
        await a.send("EndpointMessage", to="", msgPayload=1)
        for relay in relays.values():
            assert (await relay.receive())["from"] == "a"
        await relays["r1"].send("EndpointMessage", to="", msgPayload=2, **{"from": "x"})
        for peer in (a, relays["r3"]):
            assert (await peer.receive())["from"] == "x"
        await relays["r2"].hears_nothing()
        # To one: here, or where it is known to be.
        await relays["r1"].send("EndpointMessage", to="a", msgPayload=3, **{"from": "x"})
        assert (await a.receive())["msgPayload"] == 3
        await a.send("EndpointMessage", to="far", msgPayload=4)
        assert (await relays["r3"].receive())["msgPayload"] == 4
        await relays["r1"].send("EndpointMessage", to="far", msgPayload=5, **{"from": "x"})
        for relay in relays.values():
            await relay.hears_nothing()
        await jicofo.modify("<relay id='r1' expire='true'/>")
        assert await relays["r1"].end() == (1001, "relay_closed")


async def test_two_bridges_of_one_conference() -> None:
    """One dials the other, again when the connection is lost, and no more when it is told that it is over."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(settings(server_id=id))) for id in ("jvb1", "jvb2")]
        focuses = [await stack.enter_async_context(focus(server)) for server in servers]
        paths = [await each.endpoint(id, create="true") for each, id in zip(focuses, "ab", strict=True)]
        a, b = [
            await stack.enter_async_context(dialled(server, path)) for server, path in zip(servers, paths, strict=True)
        ]
        (path,) = await focuses[1].relay("jvb1", "m1")
        url = f"ws://127.0.0.1:{servers[1].port}{path}"
        answer = await focuses[0].modify(
            f"<relay id='jvb2' mesh-id='m2' create='true'>{ICE.format(DIALS.format(url.replace('&', '&amp;')))}</relay>"
        )
        assert [each.get("active") for each in answer.iter(WEB_SOCKET)] == ["true"]
        modules: list[Any] = [server.server.hosts["localhost"].modules["colibri"] for server in servers]
        relays = [next(iter(module._conferences.values())).relays for module in modules]
        for number in range(2):
            await until(lambda: all(relay.channel is not None for each in relays for relay in each.values()))
            await a.send("EndpointMessage", to="", msgPayload=number)
            assert (await b.receive())["from"] == "a"
            await b.send("EndpointMessage", to="", msgPayload=number)
            assert (await a.receive())["from"] == "b"
            if not number:
                await lose(relays[1]["jvb1"])
        await focuses[1].modify("<relay id='jvb1' expire='true'/>")
        await until(lambda: not len(modules[0]._dialler))


async def lose(relay: Any) -> None:
    """Cut its connection, and wait until it is noticed."""
    lost = relay.channel
    lost._socket.abort()
    await until(lambda: relay.channel is not lost)


# --- Other bridges ---


async def test_urls_of_other_bridges_are_passed_on() -> None:
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(running(settings(server_id="jvb1")))
        front = await stack.enter_async_context(
            running(settings(bridges=[f"jvb1=127.0.0.1:{bridge.port}", "jvb2=127.0.0.1:1"]))
        )
        jicofo = await stack.enter_async_context(focus(bridge))
        path, other = await jicofo.endpoint("a", create="true"), await jicofo.endpoint("b")
        b = await stack.enter_async_context(dialled(bridge, other))
        async with dialled(front, path) as a:
            await a.send("EndpointMessage", to="b", msgPayload="x")
            assert (await b.receive())["from"] == "a"
            await b.send("EndpointMessage", to="a", msgPayload="y")
            assert (await a.receive())["msgPayload"] == "y"
        assert (await b.receive())["active"] == "false"
        async with dialled(front, path) as a:
            assert (await b.receive())["active"] == "true"
            await jicofo.modify("<endpoint id='a' expire='true'/>")
            assert await a.end() == (1001, "endpoint closed")
        assert (await refused(front, path))[0] == 403
        assert (await refused(front, path.replace("jvb1", "jvb2")))[0] == 502
        assert await refused(front, path.replace("jvb1", "jvb3")) == (404, "server ID mismatch")
