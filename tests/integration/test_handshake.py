"""The WebSocket handshake: taken only when right, and refused with a sentence that says what is missing."""

from __future__ import annotations

import pytest

from clients import connected, logged_in
from raw import OPEN, frame, head, raw
from servers import PASSWORDS, config, running
from xmppws.config import Host

REFUSALS = {
    "no Upgrade": (head(Upgrade=None), 426, "Upgrade: websocket", "proxy_http_version 1.1"),
    "other Upgrade": (head(Upgrade="h2c"), 426, "Upgrade: websocket", "'Upgrade: websocket' is missing"),
    "HTTP/1.0": (head(version="1.0"), 426, "Upgrade: websocket", "HTTP/1.0"),
    "no Connection": (head(Connection="keep-alive"), 400, "", "'Connection: Upgrade' is missing"),
    "wrong version": (head(Sec_WebSocket_Version="8"), 426, "Sec-WebSocket-Version: 13", "must be 13"),
    "no subprotocol": (head(Sec_WebSocket_Protocol=None), 400, "", "Sec-WebSocket-Protocol: xmpp"),
    "other subprotocol": (head(Sec_WebSocket_Protocol="mqtt, XMPP"), 400, "", "Sec-WebSocket-Protocol: xmpp"),
    "no key": (head(Sec_WebSocket_Key=None), 400, "", "Sec-WebSocket-Key"),
    "short key": (head(Sec_WebSocket_Key="YWJj"), 400, "", "16 bytes"),
    "key that is not base64": (head(Sec_WebSocket_Key="?" * 24), 400, "", "base64"),
    "body": (head(Content_Length="3") + b"abc", 400, "", "no body"),
    "POST": (head(method="POST", Content_Length="0"), 405, "Allow: GET", "GET"),
    "no Host": (head(Host=None), 400, "", "Host"),
    "two Hosts": (head(Host="localhost\r\nHost: evil"), 400, "", "Host"),
    "unknown Host": (head(Host="other.example"), 404, "", "other.example"),
    "Host that is none": (head(Host="a b"), 400, "", "Host"),
    "foreign Origin": (head(Origin="https://evil.example"), 403, "", "https://evil.example"),
    "null Origin": (head(Origin="null"), 403, "", "null"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_handshake_is_explained(name: str) -> None:
    request, status, header, sentence = REFUSALS[name]
    hosts = {
        "localhost": Host(allowed_origins=("https://chat.example",)),
        "two.example": Host(),
    }
    async with running(config(hosts=hosts)) as server, raw(server.port) as client:
        client.write(request)
        answered, text, body = await client.refusal()
        assert answered == status
        assert header.lower() in text.lower()
        assert "content-type: text/plain" in text.lower()
        assert sentence in body
        # One sentence for a person, and no names of other hosts.
        assert len(body) < 300 and "two.example" not in body
        assert await client.is_closed()


async def test_the_right_handshake() -> None:
    async with running() as server, raw(server.port) as client:
        client.write(head(Sec_WebSocket_Protocol="foo, xmpp", Upgrade="WebSocket", Connection="keep-alive, Upgrade"))
        status, text = await client.response()
        assert status == 101
        # The key and the answer of RFC 6455 section 1.3.
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in text
        assert "sec-websocket-protocol: xmpp\r\n" in text.lower()
        assert "extensions" not in text.lower()


async def test_bytes_behind_the_request_head_are_not_lost() -> None:
    async with running() as server, raw(server.port) as client:
        opening = frame(OPEN)
        await client.upgrade(opening[:7])
        client.write(opening[7:] + frame(b"x", opcode=9))
        assert (await client.frame())[1].startswith(b"<open ")
        assert (await client.frame())[1].startswith(b"<stream:features")
        assert await client.frame() == (10, b"x")


async def test_a_request_before_the_upgrade_on_one_connection() -> None:
    async with running() as server, raw(server.port) as client:
        client.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" + head() + frame(OPEN))
        assert (await client.refusal())[0] == 200
        assert (await client.response())[0] == 101
        assert (await client.frame())[1].startswith(b"<open ")


@pytest.mark.parametrize("origin", ["https://chat.example", "HTTPS://Chat.Example", None])
async def test_allowed_origins(origin: str | None) -> None:
    hosts = {"localhost": Host(http_host=("127.0.0.1",), allowed_origins=("https://chat.example",))}
    async with running(config(hosts=hosts)) as server, raw(server.port) as client:
        client.write(head(Host="127.0.0.1", Origin=origin))
        assert (await client.response())[0] == 101


async def test_every_origin_but_null_by_default() -> None:
    async with running() as server:
        for origin, status in (("https://anywhere.example", 101), ("null", 403)):
            async with raw(server.port) as client:
                client.write(head(Origin=origin))
                assert (await client.response())[0] == status


async def test_an_unknown_host_is_served_by_the_only_virtual_host_and_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as server:
        for _ in range(2):
            async with connected(server.url, headers={"Host": "proxy.internal"}) as client:
                await client.open()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in warnings if "proxy.internal" in text]) == 1


async def test_too_many_strangers_of_one_address() -> None:
    async with running(config(max_unauthenticated_per_address=2)) as server:
        async with raw(server.port) as first, raw(server.port) as second, raw(server.port) as third:
            await first.upgrade()
            await second.upgrade()
            third.write(head())
            status, text, body = await third.refusal()
            assert status == 429 and "retry-after: " in text.lower() and "address" in body
        # Those that have left, or logged in, do not count.
        async with logged_in(server.url, "alice", PASSWORDS["alice"]):
            async with raw(server.port) as fourth, raw(server.port) as fifth:
                await fourth.upgrade()
                await fifth.upgrade()


async def test_a_request_that_is_no_http_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as server, raw(server.port) as client:
        client.write(b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n")
        assert (await client.refusal())[0] == 400
    logged = [record for record in caplog.records if record.name == "xmppws.http"]
    assert [record.levelname for record in logged] == ["WARNING"] and not logged[0].exc_info


async def test_too_many_connections_are_refused_before_their_request() -> None:
    async with running(config(max_connections=1)) as server, raw(server.port) as first:
        await first.upgrade()
        async with raw(server.port) as second:
            status, text, body = await second.refusal()
            assert status == 503 and "retry-after: " in text.lower() and "connections" in body
            assert await second.is_closed()


async def test_a_head_that_drips_meets_its_deadline() -> None:
    async with running(config(handshake_timeout=0.3)) as server, raw(server.port) as client:
        client.write(b"GET /xmpp-websocket HTTP/1.1\r\nHost: loc")
        assert await client.is_closed()


async def test_a_websocket_that_says_nothing_meets_the_same_deadline() -> None:
    async with running(config(handshake_timeout=0.3, close_timeout=0.1)) as server, raw(server.port) as client:
        await client.upgrade()
        frames = await client.frames()
        assert b"connection-timeout" in frames[1][1] and b"handshake-timeout: " in frames[1][1]
        assert frames[-1][0] == 8 and frames[-1][1][:2] == (1008).to_bytes(2, "big")


async def test_the_root_of_other_paths_names_the_endpoint() -> None:
    async with running() as server, raw(server.port) as client:
        client.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, text, body = await client.refusal()
        assert status == 404 and "/xmpp-websocket" in body
        assert "aiohttp" not in text and "Python" not in text


async def test_connections_that_wait_for_another_request_do_not_wait_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xmppws.app._KEEPALIVE_TIMEOUT", 0.3)
    async with running() as server, raw(server.port) as client:
        client.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.refusal())[0] == 200
        assert await client.is_closed()
