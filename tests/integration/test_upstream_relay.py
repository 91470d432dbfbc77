"""What passes between a browser and the server behind: a real WebSocket, and a server that says what a test says."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from clients import FRAMING, Client, connected
from fake_upstream import (
    BIND,
    DOMAIN,
    PLAIN,
    SASL,
    STREAM,
    SUCCESS,
    FakePeer,
    FakeUpstream,
    fake_upstream,
    in_front_of,
    stops_reading,
)
from servers import Running, running
from waiting import until
from xmppws.core.admin import Row
from xmppws.core.watch import Direction, Happening, Watch
from xmppws.errors import Reason, StreamPolicyViolation
from xmppws.http.connection import Connection
from xmppws.routers.upstream.router import UpstreamRouter

SASL2 = "urn:xmpp:sasl:2"
FAST = "urn:xmpp:fast:0"
SM = "urn:xmpp:sm:3"
OPEN = f"<open xmlns='{FRAMING}' to='{DOMAIN}' version='1.0'/>"
CREDENTIALS = base64.b64encode(b"\0alice\0secret").decode()
AUTH = f"<auth xmlns='{SASL}' mechanism='PLAIN'>{CREDENTIALS}</auth>"
NOT_AUTHORIZED = f"<failure xmlns='{SASL}'><not-authorized/></failure>"


@dataclass
class Relayed:
    """A client of our server, and the same as the server behind has it."""

    fake: FakeUpstream
    server: Running
    client: Client
    peer: FakePeer

    @property
    def router(self) -> UpstreamRouter:
        return self.server.server.routers.upstreams[DOMAIN]

    async def passes_up(self, text: str, end: str = "/>") -> None:
        """Let the client send an element, and the server get it, up to its end."""
        await self.client.send(text)
        assert (await self.peer.hears(end)).startswith(text.partition(" ")[0])

    async def passes_down(self, text: str) -> str:
        """Let the server say something, and return what the client gets."""
        self.peer.says(text)
        return await self.client.receive_text()


@asynccontextmanager
async def greeted(features: str = PLAIN, **more: Any) -> AsyncIterator[Relayed]:
    """Run all, up to the features that the client gets first; at the end nothing is left of the connection."""
    async with fake_upstream() as fake, running(in_front_of(fake, **more)) as server:
        async with connected(server.url, DOMAIN) as client:
            await client.send(OPEN)
            peer = await fake.accept()
            await peer.greets(features)
            assert (await client.receive()).tag == f"{{{FRAMING}}}open"
            relayed = Relayed(fake, server, client, peer)
            yield relayed
        await until(lambda: relayed.router.connections.value == 0)


@asynccontextmanager
async def logged_in(**more: Any) -> AsyncIterator[Relayed]:
    async with greeted(**more) as relayed:
        await relayed.client.receive()
        await log_in(relayed)
        yield relayed


async def log_in(relayed: Relayed) -> None:
    await relayed.client.send(AUTH)
    await relayed.peer.hears("</auth>")
    assert "<success" in await relayed.passes_down(SUCCESS)
    await relayed.client.send(OPEN)
    await relayed.peer.greets(BIND)
    assert (await relayed.client.receive()).tag == f"{{{FRAMING}}}open"
    assert "<bind" in await relayed.client.receive_text()


@contextmanager
def log_of(caplog: pytest.LogCaptureFixture, name: str) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, name):
        yield caplog


# What is offered


OFFERED = f"""<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>\
<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>\
<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>\
<authentication xmlns='{SASL2}'><mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>\
<inline><bind xmlns='urn:xmpp:bind:0'><inline><feature var='{SM}'/></inline></bind><sm xmlns='{SM}'/>\
<fast xmlns='{FAST}' tls-0rtt='true'><mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-UNIQ</mechanism>\
<mechanism>HT-SHA-256-EXPR</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>\
<register xmlns='http://jabber.org/features/iq-register'/><unheard-of xmlns='urn:example'>&lt;ä</unheard-of>"""


async def test_nothing_is_offered_that_a_browser_cannot_use() -> None:
    async with greeted(OFFERED) as relayed:
        text = await relayed.client.receive_text()
        for gone in ("starttls", "compress", "-PLUS", "EXTERNAL", "sasl-cb", "ENDP", "UNIQ", "EXPR"):
            assert gone not in text
        for kept in ("SCRAM-SHA-1<", "PLAIN<", "SCRAM-SHA-256<", "HT-SHA-256-NONE<", "urn:xmpp:bind:0", "tls-0rtt"):
            assert kept in text
        assert "<register " in text and "&lt;ä</unheard-of>" in text


@pytest.mark.parametrize(
    "tag",
    [
        "<stream:features>%s</stream:features>",
        f"<s:features\n\txmlns:s='{STREAM}'>%s</s:features>",
        f"<features\txmlns='{STREAM}'>%s</features>",
        f"<features\nxmlns='{STREAM}'\n>%s</features>",
    ],
)
async def test_features_after_sasl2_are_translated_too(tag: str) -> None:
    async with greeted() as relayed:
        await relayed.client.receive()
        text = await relayed.passes_down(tag % OFFERED)
        assert "HT-SHA-256-NONE" in text and "ENDP" not in text and "starttls" not in text


@pytest.mark.parametrize("mechanism", ["EXTERNAL", "external", " EXTERNAL", "SCRAM-SHA-1-PLUS", "HT-SHA-256-ENDP"])
@pytest.mark.parametrize("namespace", [SASL, SASL2])
async def test_what_is_not_offered_cannot_be_used(mechanism: str, namespace: str) -> None:
    # With EXTERNAL the server would let in whoever our own certificate is for.
    async with greeted(OFFERED) as relayed:
        await relayed.client.receive()
        name = "auth" if namespace == SASL else "authenticate"
        await relayed.client.send(f"<{name} xmlns='{namespace}' mechanism='{mechanism}'>=</{name}>")
        failure = await relayed.client.receive()
        assert failure.tag == f"{{{namespace}}}failure"
        assert failure[0].tag == f"{{{SASL}}}invalid-mechanism"
        # The client may try another, and nothing of the first has come to the server.
        await relayed.client.send(AUTH)
        assert (await relayed.peer.hears("</auth>")).startswith("<auth")


@pytest.mark.parametrize(
    "element",
    [
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
    ],
)
async def test_a_client_cannot_change_the_connection_behind(element: str) -> None:
    async with greeted() as relayed:
        await relayed.client.receive()
        await relayed.client.send(element)
        assert (await relayed.client.expect_end())[0] == "unsupported-stanza-type"
        assert await relayed.peer.hears_the_end() == ""


@pytest.mark.parametrize("when", ["at once", "logged in"])
async def test_a_second_open_without_a_login_is_refused(when: str) -> None:
    async with greeted() as relayed:
        await relayed.client.receive()
        if when == "logged in":
            await log_in(relayed)
        await relayed.client.send(OPEN)
        condition, text, _ = await relayed.client.expect_end()
        assert condition == "bad-format" and "second" in text


async def test_another_version_is_refused() -> None:
    async with fake_upstream() as fake, running(in_front_of(fake)) as server, connected(server.url, DOMAIN) as client:
        await client.send(f"<open xmlns='{FRAMING}' to='{DOMAIN}' version='0.9'/>")
        assert (await client.expect_end())[0] == "unsupported-version"
        assert fake.accepted == 0


# What passes


async def test_elements_pass_as_they_are() -> None:
    async with logged_in() as relayed:
        body = "<body>Grüße &lt;&amp;&gt; 👋</body><x  xmlns='urn:example' a='&quot;'></x >"
        down = await relayed.passes_down(f"<message from='bob@{DOMAIN}/a' to='alice@{DOMAIN}/b'>{body}</message>")
        # RFC 7395 section 3.3.3: only what the stream's header had declared is added.
        head = f"<message xmlns=\"jabber:client\" from='bob@{DOMAIN}/a' to='alice@{DOMAIN}/b'>"
        assert down == f"{head}{body}</message>"
        await relayed.client.send(f"<message xmlns='jabber:client' to='bob@{DOMAIN}'>{body}</message>")
        assert "Grüße &lt;&amp;&gt; 👋</body>" in await relayed.peer.hears("</message>")


async def test_plain_stanzas_pass_as_they_came_and_others_are_written_anew() -> None:
    async with logged_in() as relayed:
        await relayed.client.send("<message xmlns='jabber:client'><body>1</body></message>")
        assert await relayed.peer.hears("</message>") == "<message xmlns='jabber:client'><body>1</body></message>"
        await relayed.client.send("<message xmlns='jabber:client'><![CDATA[2]]></message>")
        assert await relayed.peer.hears("</message>") == '<message xmlns="jabber:client">2</message>'
        before = relayed.router.to_server.value
        await relayed.client.send("<message xmlns='jabber:client'><body>3</message>")
        assert (await relayed.client.expect_end())[0] == "not-well-formed"
        assert relayed.router.to_server.value == before


class Seen:
    """A watcher that keeps the messages it sees."""

    def __init__(self) -> None:
        self.messages: list[tuple[Direction, bytes]] = []

    def message(self, id: str, direction: Direction, message: bytes) -> None:
        self.messages.append((direction, message))

    def happening(self, id: str, what: Happening, facts: Row) -> None:
        pass


async def test_who_watches_sees_plain_stanzas_too() -> None:
    async with logged_in() as relayed:
        (connection,) = relayed.server.server.endpoint.connections
        assert isinstance(connection, Connection)
        seen = Seen()
        connection.watch = Watch()
        connection.watch.watchers.append(seen)
        await relayed.passes_up("<message xmlns='jabber:client'><body>1</body></message>", "</message>")
        await relayed.passes_down("<message xmlns='jabber:client'><body>2</body></message>")
        assert seen.messages == [
            (Direction.IN, b"<message xmlns='jabber:client'><body>1</body></message>"),
            (Direction.OUT, b"<message xmlns='jabber:client'><body>2</body></message>"),
        ]


async def test_the_language_is_told_to_the_server() -> None:
    async with fake_upstream() as fake, running(in_front_of(fake)) as server, connected(server.url, DOMAIN) as client:
        await client.send(OPEN.replace("/>", " xml:lang='de'/>"))
        header = await (await fake.accept()).hears_the_header()
        assert f'to="{DOMAIN}"' in header and 'xml:lang="de"' in header


async def test_many_elements_of_one_read_keep_their_order() -> None:
    async with logged_in() as relayed:
        count = 5000
        relayed.peer.says("".join(f"<message id='{number}'/>" for number in range(count)))
        for number in range(count):
            assert (await relayed.client.receive()).get("id") == str(number)
        received = relayed.router.to_clients.value
        assert received > count


async def test_what_was_sent_before_the_end_arrives() -> None:
    async with logged_in() as relayed:
        count = 3000
        relayed.peer.says("".join(f"<message id='{number}'/>" for number in range(count)) + "</stream:stream>")
        for number in range(count):
            assert (await relayed.client.receive()).get("id") == str(number)
        condition, text, _ = await relayed.client.expect_end()
        assert condition == "remote-connection-failed" and text.startswith("upstream-closed: ")


async def test_the_server_is_told_that_the_client_has_closed_its_stream() -> None:
    async with logged_in() as relayed:
        await relayed.client.close()
        assert await relayed.peer.hears_the_end() == "</stream:stream>"


async def test_a_socket_that_is_cut_closes_no_stream() -> None:
    # So that the server keeps the session for the client's return (XEP-0198).
    async with logged_in() as relayed:
        response = relayed.client.socket._response
        assert response.connection is not None and response.connection.transport is not None
        response.connection.transport.abort()
        assert await relayed.peer.hears_the_end() == ""


# SASL2, Bind 2, FAST, stream management


AUTHENTICATE = f"""<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>{CREDENTIALS}</initial-response>\
<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>Web</software></user-agent>\
<bind xmlns='urn:xmpp:bind:0'><tag>Web</tag><enable xmlns='{SM}' resume='true'/></bind>\
<request-token xmlns='{FAST}' mechanism='HT-SHA-256-NONE'/></authenticate>"""


@pytest.mark.parametrize("inline", ["enabled", "resumed"])
async def test_sasl2_with_all_inline(inline: str, caplog: pytest.LogCaptureFixture) -> None:
    within = {
        "enabled": f"<bound xmlns='urn:xmpp:bind:0'><enabled xmlns='{SM}' id='1' resume='true'/></bound>",
        "resumed": f"<resumed xmlns='{SM}' h='3' previd='1'/>",
    }[inline]
    success = f"""<success xmlns='{SASL2}'><authorization-identifier>alice@{DOMAIN}/Web</authorization-identifier>\
<token xmlns='{FAST}' token='t' expiry='2030-01-01T00:00:00Z'/>{within}</success>"""
    with log_of(caplog, "xmppws.login"):
        async with greeted(OFFERED) as relayed:
            await relayed.client.receive()
            await relayed.client.send(AUTHENTICATE)
            heard = await relayed.peer.hears("</authenticate>")
            for passed in ("<user-agent", "<tag>Web</tag>", "request-token", "urn:xmpp:bind:0"):
                assert passed in heard
            assert await relayed.passes_down(success) == success
            features = await relayed.passes_down(f"<stream:features>{OFFERED}</stream:features>")
            assert "starttls" not in features and "register" in features
            # No new stream: what the client says next is a stanza.
            await relayed.passes_up("<message xmlns='jabber:client' id='1'/>")
            (connection,) = relayed.server.server.endpoint.connections
            assert connection.name == f"alice@{DOMAIN}"
    assert "login=success" in caplog.text and "user='alice' mechanism=PLAIN" in caplog.text


async def test_logins_are_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with log_of(caplog, "xmppws.login"):
        async with greeted() as relayed:
            await relayed.client.receive()
            await relayed.client.send(AUTH)
            await relayed.peer.hears("</auth>")
            assert "not-authorized" in await relayed.passes_down(NOT_AUTHORIZED)
            await relayed.client.send(AUTH.replace("'PLAIN'", "'of-mine'"))
            await relayed.peer.hears("</auth>")
            await relayed.passes_down(NOT_AUTHORIZED.replace("not-authorized", "of-mine"))
            await log_in(relayed)
            assert relayed.router.traffic.logins == {
                ("PLAIN", "not-authorized"): 1,
                ("other", "other"): 1,
                ("PLAIN", "success"): 1,
            }
    assert "login=not-authorized address=127.0.0.1 host=example.test user='alice' mechanism=PLAIN" in caplog.text
    assert "secret" not in caplog.text and CREDENTIALS not in caplog.text


async def test_nobody_logs_in_under_another_name() -> None:
    # What the server says to the second would be taken for its answer to the first.
    async with greeted() as relayed:
        await relayed.client.receive()
        await relayed.client.send(AUTH)
        await relayed.peer.hears("</auth>")
        bob = base64.b64encode(b"\0bob\0secret").decode()
        await relayed.client.send(AUTH.replace(CREDENTIALS, bob))
        assert (await relayed.client.expect_end())[0] == "unsupported-stanza-type"
        assert bob not in await relayed.peer.hears_the_end()


async def test_a_login_can_be_aborted() -> None:
    async with greeted(PLAIN.replace("PLAIN", "SCRAM-SHA-1")) as relayed:
        await relayed.client.receive()
        first = base64.b64encode(b"n,,n=alice,r=1").decode()
        await relayed.client.send(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{first}</auth>")
        await relayed.peer.hears("</auth>")
        assert "challenge" in await relayed.passes_down(f"<challenge xmlns='{SASL}'>abcd</challenge>")
        await relayed.passes_up(f"<abort xmlns='{SASL}'/>")
        await relayed.passes_down(NOT_AUTHORIZED.replace("not-authorized", "aborted"))
        await log_in(relayed)


# Signs of life


QUICK = {"read_timeout": 0.3, "ping_interval": 0.1, "pong_timeout": 5.0}


async def test_a_ping_of_ours_is_answered_to_us() -> None:
    async with logged_in(c2s=QUICK) as relayed:
        ping = await relayed.client.receive()
        assert (ping.get("type"), ping.get("from"), ping[0].tag) == ("get", DOMAIN, "{urn:xmpp:ping}ping")
        await relayed.client.send(f"<iq xmlns='jabber:client' type='result' id='{ping.get('id')}'/>")
        await relayed.client.send("<message xmlns='jabber:client' id='next'/>")
        assert "result" not in await relayed.peer.hears("next")


@pytest.mark.parametrize("version", ["2", "3"])
async def test_who_counts_stanzas_is_asked_for_the_count(version: str) -> None:
    async with logged_in(c2s=QUICK) as relayed:
        sm = f"urn:xmpp:sm:{version}"
        await relayed.passes_up(f"<enable xmlns='{sm}' resume='true'/>")
        enabled = f"<enabled xmlns='{sm}' id='1' resume='true'/>"
        assert await relayed.passes_down(enabled) == enabled
        asked = await relayed.client.receive()
        assert asked.tag == f"{{{sm}}}r"
        await relayed.passes_up(f"<a xmlns='{sm}' h='0'/>")


async def test_an_answer_that_the_client_has_counted_is_passed_on() -> None:
    # The client counts all that it sends after <enable/> (XEP-0198 section 4), so the server has to get all of it.
    async with logged_in(c2s=QUICK) as relayed:
        ping = await relayed.client.receive()
        await relayed.client.send(f"<enable xmlns='{SM}'/>")
        await relayed.client.send(f"<iq xmlns='jabber:client' type='result' id='{ping.get('id')}'/>")
        await relayed.peer.hears("<enable")
        assert str(ping.get("id")) in await relayed.peer.hears("<iq", timeout=5) + await relayed.peer.hears("/>")


async def test_strangers_are_not_pinged() -> None:
    async with greeted(c2s={**QUICK, "auth_timeout": 1.0}) as relayed:
        await relayed.client.receive()
        condition, text, _ = await relayed.client.expect_end()
        assert condition == "connection-timeout" and text.startswith("auth-timeout: ")
        assert await relayed.peer.hears_the_end() == ""


# The end


ENDS = {
    "lost": ("", "remote-connection-failed", "upstream-lost"),
    "closed": ("</stream:stream>", "remote-connection-failed", "upstream-closed"),
    "conflict": (
        "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Replaced by /home/x</text></stream:error></stream:stream>",
        "conflict",
        "upstream-closed",
    ),
    "of its own": (
        "<stream:error><out-of-tea xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        "remote-connection-failed",
        "upstream-closed",
    ),
    "empty": ("<stream:error/></stream:stream>", "remote-connection-failed", "upstream-closed"),
    "broken": ("<message></presence></message>", "remote-connection-failed", "upstream-error"),
    "DTD": ("<!DOCTYPE a [<!ENTITY b 'c'>]>", "remote-connection-failed", "upstream-error"),
    "comment": ("<!-- a -->", "remote-connection-failed", "upstream-error"),
    "too large": (f"<message>{'x' * 20_000}</message>", "remote-connection-failed", "upstream-error"),
    "too deep": ("<a>" * 200 + "</a>" * 200, "remote-connection-failed", "upstream-error"),
    # Read by more than the reader of the stream, as it means something to us.
    "names": (
        "<failure>" + "".join(f"<n{number:x}/>" for number in range(2000)) + "</failure>",
        "remote-connection-failed",
        "upstream-error",
    ),
    "xml:foo": (f"<success xmlns='{SASL}' xml:foo='a'/>", "remote-connection-failed", "upstream-error"),
    "text": ("hello", "remote-connection-failed", "upstream-error"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_the_end_of_the_stream_behind_ends_that_of_the_client(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    said, condition, reason = ENDS[name]
    async with logged_in(max_stanza_size=16_000) as relayed:
        (connection,) = relayed.server.server.endpoint.connections
        relayed.peer.says(said)
        if not said:
            relayed.peer.aborts()
        ended = await relayed.client.expect_end()
        assert (ended[0], ended[2]) == (condition, 1000)
        assert ended[1].startswith(f"{reason}: ")
        assert connection.ended is not None
        assert (connection.ended.reason.id, connection.ended.by) == (reason, "upstream")
        await until(lambda: relayed.router.connections.value == 0)
    assert "Traceback" not in caplog.text
    if name not in ("closed",):
        assert f"host={DOMAIN} upstream: " in caplog.text


async def test_a_server_that_greets_and_closes() -> None:
    async with fake_upstream() as fake, running(in_front_of(fake)) as server, connected(server.url, DOMAIN) as client:
        await client.send(OPEN)
        peer = await fake.accept()
        await peer.hears_the_header()
        peer.says(f"<stream:stream xmlns='jabber:client' xmlns:stream='{STREAM}' version='1.0'>")
        peer.says(f"<stream:features>{PLAIN}</stream:features></stream:stream>")
        condition, text, _ = await client.expect_end()
        assert condition == "remote-connection-failed" and text.startswith("upstream-closed: ")


async def test_a_client_that_closes_while_its_stream_is_opened_anew(caplog: pytest.LogCaptureFixture) -> None:
    async with greeted() as relayed:
        await relayed.client.receive()
        await relayed.client.send(AUTH)
        await relayed.peer.hears("</auth>")
        await relayed.passes_down(SUCCESS)
        await relayed.client.send(OPEN)
        await relayed.peer.hears_the_header()
        (connection,) = relayed.server.server.endpoint.connections
        connection.fail(StreamPolicyViolation("Kicked", Reason.KICKED))
        await relayed.peer.hears_the_end()
    assert "opened anew" not in caplog.text


async def test_a_server_that_does_not_open_the_stream_anew() -> None:
    async with greeted(connect_timeout=0.5) as relayed:
        await relayed.client.receive()
        await relayed.client.send(AUTH)
        await relayed.peer.hears("</auth>")
        await relayed.passes_down(SUCCESS)
        await relayed.client.send(OPEN)
        condition, text, _ = await relayed.client.expect_end()
        assert condition == "remote-connection-failed" and text.startswith("upstream-lost: ")


async def test_a_client_that_goes_away_while_the_server_is_silent() -> None:
    async with greeted(connect_timeout=0.5) as relayed:
        await relayed.client.receive()
        await relayed.client.send(AUTH)
        await relayed.peer.hears("</auth>")
        await relayed.passes_down(SUCCESS)
        await relayed.client.send(OPEN)
        await relayed.peer.hears_the_header()
        await relayed.client.socket.close()
        await relayed.peer.hears_the_end()


# Pressure


async def test_a_client_that_does_not_read_stops_its_server() -> None:
    async with logged_in() as relayed:
        client, peer = relayed.client, relayed.peer
        response = client.socket._response
        assert response.connection is not None and response.connection.transport is not None
        stops_reading(response.connection.transport)
        count, filling = 2000, "x" * 10_000
        for number in range(count):
            peer.says(f"<message id='{number}'><body>{filling}</body></message>")
        (connection,) = relayed.server.server.endpoint.connections
        before = -1
        while before != peer.unsent:
            before = peer.unsent
            await asyncio.sleep(0.2)
        # The kernel's buffers have some; we hold less than a few reads.
        assert peer.unsent > count * 10_000 / 2
        assert connection.waiting < 600_000
        response.connection.transport.resume_reading()
        for number in range(count):
            assert (await client.receive()).get("id") == str(number)


async def test_a_server_that_does_not_read_stops_its_clients() -> None:
    async with logged_in() as relayed:
        client, peer = relayed.client, relayed.peer
        peer.stops_reading()
        count, filling = 2000, "x" * 10_000
        sending = asyncio.ensure_future(send_all(client, count, filling))
        link = relayed.router
        before = -1.0
        while before != link.to_server.value or before < 10:
            before = link.to_server.value
            await asyncio.sleep(0.2)
        assert before < count and not sending.done()
        peer.reads_again()
        for number in range(count):
            assert f"id='{number}'" in await peer.hears("</message>")
        await sending


async def send_all(client: Client, count: int, filling: str) -> None:
    for number in range(count):
        await client.send(f"<message xmlns='jabber:client' id='{number}'><body>{filling}</body></message>")
