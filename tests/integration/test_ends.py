"""How streams end: each mistake gets its condition, its reason id and its close code, and nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import struct
from contextlib import suppress

import pytest

from clients import FRAMING, Closed, connected, logged_in
from raw import OPEN, Raw, closing, frame, raw
from servers import PASSWORDS, config, running
from waiting import until
from xmppws.config import Host

MESSAGES = {
    "two elements": ("<a/><b/>", "not-well-formed", "not-well-formed", 1000),
    "half an element": ("<message xmlns='jabber:client'>", "not-well-formed", "not-well-formed", 1000),
    "no '<' first": (" <presence xmlns='jabber:client'/>", "not-well-formed", "not-xml", 1007),
    "nothing": ("", "not-well-formed", "not-xml", 1007),
    "DTD": ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "restricted-xml", "restricted-xml", 1000),
    "unknown entity": ("<a>&b;</a>", "not-well-formed", "not-well-formed", 1000),
    "comment": ("<a><!-- b --></a>", "restricted-xml", "restricted-xml", 1000),
    "instruction": ("<?php echo?><a/>", "restricted-xml", "restricted-xml", 1000),
    "other encoding": ("<?xml version='1.0' encoding='latin-1'?><a/>", "restricted-xml", "restricted-xml", 1000),
    "deep": ("<a>" * 101 + "</a>" * 101, "policy-violation", "too-deep", 1008),
    "names": ("<a>" + "".join(f"<n{n:x}/>" for n in range(1500)) + "</a>", "policy-violation", "too-many-names", 1008),
    "xml:foo": ("<a xml:foo='b'/>", "bad-format", "bad-format", 1000),
    "framing of another namespace": ("<open xmlns='jabber:client'/>", "invalid-namespace", "invalid-namespace", 1000),
    "stanza before login": ("<presence xmlns='jabber:client'/>", "not-authorized", "not-authorized", 1000),
    "too large for a stranger": ("<a>" + "b" * 17000 + "</a>", "policy-violation", "stanza-too-large", 1009),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_bad_message_ends_the_stream_and_no_other(name: str) -> None:
    text, condition, reason, code = MESSAGES[name]
    async with running(config(close_timeout=1)) as server, logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        async with connected(server.url) as client:
            await client.open()
            await client.send(text)
            assert_end(await client.expect_end(), condition, reason, code)
        assert (await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")).get("type") == "result"


def assert_end(end: tuple[str, str, int | None], condition: str, reason: str, code: int) -> None:
    assert end[0] == condition
    assert re.match(rf"{reason}: \S", end[1]), end[1]
    assert end[2] == code
    assert "Traceback" not in end[1] and "xmppws" not in end[1]


FRAMES = {
    "not masked": (frame(b"<a/>", masked=False), 1002),
    "reserved bit": (frame(b"<a/>", reserved=4), 1002),
    "reserved opcode": (frame(b"<a/>", opcode=3), 1002),
    "reserved control opcode": (frame(b"", opcode=11), 1002),
    "long control frame": (frame(b"a" * 126, opcode=9), 1002),
    "fragmented control frame": (frame(b"a", opcode=9, final=False), 1002),
    "continuation of nothing": (frame(b"<a/>", opcode=0), 1002),
    "beginning inside a message": (frame(b"<a", final=False) + frame(b"<a/>"), 1002),
    "binary": (frame(b"<a/>", opcode=2), 1003),
    "bad close code": (frame(struct.pack(">H", 1005), opcode=8), 1002),
    "half a close code": (frame(b"a", opcode=8), 1002),
    "close reason that is not UTF-8": (frame(struct.pack(">H", 1000) + b"\xff", opcode=8), 1007),
    "not UTF-8": (frame(b"<a>\xff</a>"), 1007),
    "1 TiB announced": (b"\x81\xff" + struct.pack(">Q", 1 << 40) + b"abcd", 1009),
    "random bytes": (b"\x00\x13\x37" + bytes(range(200)), 1002),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_a_bad_frame_fails_the_connection_with_its_code(name: str) -> None:
    data, code = FRAMES[name]
    async with running(config(close_timeout=0.1)) as server, raw(server.port) as client:
        await client.upgrade(frame(OPEN))
        client.write(data)
        answered, reason = closing(await client.frames())
        assert answered == code
        assert reason


async def test_an_error_while_opening_comes_after_our_open() -> None:
    hosts = {"a.example": Host(http_host=("127.0.0.1",)), "b.example": Host(http_host=("127.0.0.1",))}
    wrong = {"to='c.example'": "host-unknown", "to='a@b@c'": "improper-addressing", "": "improper-addressing"}
    for to, condition in wrong.items():
        async with running(config(hosts=hosts)) as server, connected(server.url) as client:
            await client.send(f"<open xmlns='{FRAMING}' {to} version='1.0'/>")
            opened = await client.receive()
            assert opened.tag == f"{{{FRAMING}}}open" and opened.get("id")
            end = await client.expect_end()
            assert_end(end, condition, condition, 1000)


async def test_several_hosts_on_one_name_are_chosen_by_to() -> None:
    hosts = {"a.example": Host(http_host=("127.0.0.1",)), "b.example": Host(http_host=("127.0.0.1",))}
    async with running(config(hosts=hosts)) as server:
        for domain in hosts:
            async with logged_in(server.url, "alice", PASSWORDS["alice"], domain=domain) as client:
                assert client.jid.startswith(f"alice@{domain}/")


async def test_a_stream_that_is_not_secure_is_told_what_helps() -> None:
    settings = config(http={"consider_websocket_secure": False})
    async with running(settings) as server, connected(server.url) as client:
        await client.send(OPEN.decode())
        await client.receive()
        condition, text, code = await client.expect_end()
        assert (condition, code) == ("policy-violation", 1008)
        assert "trusted_proxies" in text and "consider_websocket_secure" in text
    async with running(settings) as server, connected(server.url, headers={"X-Forwarded-Proto": "https"}) as client:
        assert (await client.open()).tag.endswith("features")


async def test_a_wrong_version_and_a_second_open() -> None:
    async with running() as server:
        async with connected(server.url) as client:
            await client.send(f"<open xmlns='{FRAMING}' to='localhost'/>")
            await client.receive()
            assert_end(await client.expect_end(), "unsupported-version", "unsupported-version", 1000)
        async with connected(server.url) as client:
            await client.open()
            await client.send(OPEN.decode())
            assert_end(await client.expect_end(), "bad-format", "bad-format", 1000)


async def test_a_client_that_closes_gets_a_close() -> None:
    async with running() as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as client:
        await client.send(f"<close xmlns='{FRAMING}'/>")
        assert (await client.receive()).tag == f"{{{FRAMING}}}close"
        with pytest.raises(Closed) as closed:
            await client.receive()
        assert closed.value.code == 1000
        await nobody_left(server.server)


async def test_stanzas_in_the_name_of_somebody_else() -> None:
    async with running() as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as client:
        await client.send("<message xmlns='jabber:client' from='bob@localhost' to='carol@localhost'/>")
        assert_end(await client.expect_end(), "invalid-from", "invalid-from", 1000)
    async with running() as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as client:
        await client.send("<foo xmlns='jabber:client'/>")
        assert_end(await client.expect_end(), "unsupported-stanza-type", "unsupported-stanza-type", 1000)


async def test_a_newer_session_takes_the_resource() -> None:
    async with running() as server, logged_in(server.url, "alice", PASSWORDS["alice"], resource="web") as older:
        async with logged_in(server.url, "alice", PASSWORDS["alice"], resource="web") as newer:
            assert_end(await older.expect_end(), "conflict", "replaced", 1000)
            assert newer.jid == "alice@localhost/web"
            await newer.message(newer.jid, "still here")
            assert await newer.body() == "still here"


async def test_too_many_wrong_passwords() -> None:
    async with running() as server, connected(server.url) as client:
        await client.open()
        for _ in range(3):
            failure = await client.authenticate("alice", "wrong")
            assert failure[0].tag.endswith("}not-authorized")
        assert_end(await client.expect_end(), "policy-violation", "too-many-attempts", 1008)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
async def test_every_mechanism_logs_in_and_refuses(mechanism: str) -> None:
    async with running() as server:
        async with logged_in(server.url, "bob", PASSWORDS["bob"], mechanism=mechanism) as client:
            assert client.jid.startswith("bob@localhost/")
        async with connected(server.url) as client:
            await client.open()
            for name in ("bob", "nobody"):
                failure = await client.authenticate(name, "wrong", mechanism)
                assert failure[0].tag.endswith("}not-authorized"), name


async def test_a_stranger_who_does_not_log_in() -> None:
    async with running(config(auth_timeout=0.3)) as server, connected(server.url) as client:
        await client.open()
        assert_end(await client.expect_end(), "connection-timeout", "auth-timeout", 1000)


async def test_pings_answered_and_not() -> None:
    settings = config(ping_interval=0.5, pong_timeout=0.5, close_timeout=0.1)
    login = "alice", PASSWORDS["alice"]
    async with running(settings) as server, logged_in(server.url, *login, autoping=False) as client:
        (connection,) = server.server.endpoint.connections
        ping = await client.socket.receive(10)
        assert ping.type.name == "PING"
        await client.socket.pong(ping.data)
        await until(lambda: connection.keepalive.round_trip is not None)
        # This one is left unanswered: aiohttp hands it out as a message, and answers nothing itself.
        assert (await client.socket.receive(10)).type.name == "PING"
        assert_end(await client.expect_end(), "connection-timeout", "pong-timeout", 1000)


async def test_a_page_that_only_pongs_is_probed() -> None:
    settings = config(ping_interval=60, pong_timeout=1, read_timeout=0.5, close_timeout=0.1)
    async with running(settings) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as client:
        probe = await client.receive_until("iq")
        assert probe.get("type") == "get" and probe[0].tag == "{urn:xmpp:ping}ping"
        await client.send(f"<iq xmlns='jabber:client' type='result' id='{probe.get('id')}' to='localhost'/>")
        assert (await client.receive_until("iq")).get("id") != probe.get("id")
        assert_end(await client.expect_end(), "connection-timeout", "read-timeout", 1000)


async def test_a_reset_and_a_half_closed_socket_end_the_session(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as server, logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        for abort in (True, False):
            async with raw_session(server.port) as client:
                if abort:
                    sock = client.writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.writer.transport.abort()
                else:
                    client.writer.write_eof()
                await until(lambda: len(server.server.endpoint.connections) == 1)
        assert (await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")).get("type") == "result"


async def test_what_was_sent_before_the_socket_was_cut_is_handled() -> None:
    async with running() as server, logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        async with raw_session(server.port) as client:
            roster = b"<iq xmlns='jabber:client' type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"
            message = b"<message xmlns='jabber:client' to='bob@localhost' type='chat'><body>last words</body></message>"
            # The roster has to be waited for, so the message is still unread when the socket ends.
            client.write(frame(roster) + frame(message))
            client.writer.write_eof()
        assert await bob.body() == "last words"


async def test_a_slow_reader_costs_a_bounded_amount_of_memory() -> None:
    settings = config(max_send_buffer=64 * 1024, ping_interval=60, slow_reader_wait=0)
    async with running(settings) as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
        async with raw_session(server.port, small=True) as client:
            (slow,) = [c for c in server.server.endpoint.connections if c.name == "bob@localhost"]
            body = "x" * 8000
            for _ in range(2000):
                await alice.message("bob@localhost", body)
                if slow.ended is not None:
                    break
            await until(lambda: slow.ended is not None)
            assert slow.ended is not None and slow.ended.reason.id == "slow-reader"
            assert (await alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")).get("type") == "result"
            client.writer.transport.abort()


async def test_a_client_that_does_not_read_its_answers_is_not_read() -> None:
    attributes = b"xmlns='jabber:client' type='get' to='localhost' id='" + b"p" * 4000 + b"'"
    ping = frame(b"<iq " + attributes + b"><ping xmlns='urn:xmpp:ping'/></iq>")
    async with running(config(ping_interval=60)) as server, raw_session(server.port, small=True) as client:
        (connection,) = server.server.endpoint.connections
        sent = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                while sent < 20_000:
                    client.write(ping)
                    await client.writer.drain()
                    sent += 1
        assert sent < 20_000, "the server reads on although nothing of its answers is read"
        assert connection.ended is None
        # Once the client reads, all answers come, in order and none twice.
        async with asyncio.timeout(20):
            for _ in range(sent):
                assert (await client.frame())[1].startswith(b"<iq ")


async def test_stopping_says_system_shutdown() -> None:
    async with running() as server, logged_in(server.url, "alice", PASSWORDS["alice"]) as client:
        stopping = asyncio.ensure_future(server.server.endpoint.stop(5))
        assert_end(await client.expect_end(), "system-shutdown", "shutdown", 1001)
        await stopping


async def test_a_flood_of_half_open_connections_leaves_others_alone() -> None:
    async with running(config(handshake_timeout=1, max_connections=300)) as server:
        async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
            streams = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", server.port) for _ in range(290)))
            for _, writer in streams:
                writer.write(b"GET /xmpp-websocket HTTP/1.1\r\n")
            await bob.message(bob.jid, "alive")
            assert await bob.body() == "alive"
            async with asyncio.timeout(10):
                for reader, writer in streams:
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
                    writer.close()
            assert server.server.endpoint.admission.connections == 1


async def nobody_left(server) -> None:  # type: ignore[no-untyped-def]
    await until(lambda: server.sessions() == 0 and not server.endpoint.connections)


class raw_session:
    """A raw connection on which bob has logged in. `small` makes its receive buffer as small as can be."""

    def __init__(self, port: int, *, small: bool = False) -> None:
        self.port = port
        self.small = small

    async def __aenter__(self) -> Raw:
        sock = socket.socket()
        if self.small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        client = Raw(reader, writer)
        await client.upgrade(frame(OPEN))
        for data, answers in (
            (b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plain("bob") + b"</auth>", 3),
            (OPEN, 2),
            (b"<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", 1),
            (b"<presence xmlns='jabber:client'/>", 1),
        ):
            client.write(frame(data))
            for _ in range(answers):
                last = (await client.frame())[1]
        assert last.startswith(b"<presence")
        self.writer = writer
        return client

    async def __aexit__(self, *exc: object) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


def plain(username: str) -> bytes:
    return base64.b64encode(f"\0{username}\0{PASSWORDS[username]}".encode())
