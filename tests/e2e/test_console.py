"""The console page, in Chromium."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from browser import Browser, Page, browser
from clients import logged_in
from resuming import asleep, sessions_of
from servers import PASSWORDS, Running, config, running
from xmppws import __version__
from xmppws.config import Host
from xmppws.core.roster import RosterItem, Subscription

# One browser serves all tests of this file, so they share its event loop.
pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

Open: TypeAlias = Callable[..., Awaitable[Page]]

MARKUP = "<b>&amp; <img src=x onerror=alert(1)> 👋"
LAST_MESSAGE_IS_SEEN = """(() => {
    const last = document.querySelector("#log li:last-child").getBoundingClientRect();
    return last.bottom <= document.querySelector("#log").getBoundingClientRect().bottom;
})()"""
# What waits for as long as a ping does waits a fraction of it; all else of the page keeps its time.
IMPATIENT = """
    for (const name of ["setTimeout", "setInterval"]) {
        const original = globalThis[name];
        globalThis[name] = (f, ms, ...rest) => original(f, ms === 10000 || ms === 20000 ? ms / 50 : ms, ...rest);
    }
"""
NO_WEBCRYPTO = "Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined })"


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[Running]:
    async with running(config(http={"console": True})) as started:
        roster = started.server.hosts["localhost"].stores.map("roster", RosterItem)
        for one, other in (("alice", "bob"), ("bob", "alice")):
            await roster.set(one, f"{other}@localhost", RosterItem(other.title(), (), Subscription.BOTH))
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(chromium: Browser, server: Running) -> AsyncIterator[Open]:
    """The page of the server, opened as often as a test wants."""
    yield partial(chromium.open, server.http)
    await chromium.close_pages()


async def log_in(page: Page, username: str, password: str | None = None) -> None:
    await page.fill("#jid", f"{username}@localhost")
    await page.fill("#password", password or PASSWORDS[username])
    await page.click("#login button")


async def write(page: Page, contact: str, *lines: str) -> None:
    await page.click(f"#contacts button:has-text('{contact}')")
    for line in lines:
        await page.fill("#body", line)
        await page.press("#body", "Enter")


def cut(server: Running, username: str) -> None:
    """Reset the TCP connection of a user."""
    (connection,) = (one for one in server.server.endpoint.connections if one.name.startswith(f"{username}@"))
    connection.abort()


async def test_two_people_chat(open_page: Open, server: Running) -> None:
    alice, bob = await open_page("alice"), await open_page("bob")
    assert await alice.text("#endpoint") == server.url
    await log_in(alice, "alice")
    await alice.wait("#contacts button[data-presence=offline]:has-text('Bob')")
    await log_in(bob, "bob")
    await alice.wait("#contacts button[data-presence=online]:has-text('Bob')")

    await write(alice, "Bob", MARKUP, "second")
    await bob.wait("#contacts button:has-text('2')")
    await write(bob, "Alice", "And back")
    await alice.wait("#log li.theirs")
    for page in (alice, bob):
        assert await page.texts("#log .body") == [MARKUP, "second", "And back"]

    await bob.click("#logout")
    await bob.wait("#status:has-text('Logged out.')")
    await alice.wait("#contacts button[data-presence=offline]:has-text('Bob')")
    assert await alice.problems() == await bob.problems() == []


async def test_the_page_connects_to_the_configured_path(chromium: Browser) -> None:
    async with running(config(http={"console": True, "websocket_path": "/chat/ws"})) as server:
        page = await chromium.open(server.http, "alice")
        assert await page.text("#endpoint") == f"ws://127.0.0.1:{server.port}/chat/ws"
        await log_in(page, "alice")
        await page.wait("#bar[data-state=online]")
        await chromium.close_pages()


async def test_an_undelivered_message_says_so(open_page: Open) -> None:
    page = await open_page("alice")
    await log_in(page, "alice")
    await page.fill("#new-jid", "nobody")
    await page.press("#new-jid", "Enter")
    assert await page.text("#chat-title") == "nobody@localhost"
    await page.fill("#body", "Hello?")
    await page.click("#compose button")
    assert "Not delivered. There is no such account" in await page.text("#log li.failed .why")


async def test_requests_are_answered_and_a_forged_roster_push_is_refused(open_page: Open, server: Running) -> None:
    page = await open_page("alice")
    await log_in(page, "alice")
    alice = await page.text("#me:has-text('/')")
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        assert (await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=alice)).get("type") == "result"
        push = "<query xmlns='jabber:iq:roster'><item jid='mallory@localhost' name='Bank'/></query>"
        assert (await bob.iq("set", push, to=alice)).get("type") == "error"
    # Her own client adds one on another resource, and the page learns it.
    async with logged_in(server.url, "alice", PASSWORDS["alice"]) as other:
        await other.iq("set", push.replace("mallory", "carol").replace("Bank", "Carol"))
        await page.wait("#contacts button:has-text('Carol')")
        assert sorted(await page.texts("#contacts .name")) == ["Bob", "Carol"]
        await other.iq("set", push.replace("mallory", "carol").replace("name='Bank'", "subscription='remove'"))
        await page.wait("#contacts:not(:has-text('Carol'))")


async def test_a_wrong_password_and_a_wrong_domain_are_told_in_words(open_page: Open, server: Running) -> None:
    page = await open_page("alice")
    await log_in(page, "alice", "wrong")
    assert await page.text("#login-problem:visible") == "Wrong username or password. (not-authorized)"
    await page.fill("#jid", "alice@elsewhere.example")
    await page.click("#login button")
    await page.wait("#login-problem:has-text('host-unknown: ')")
    await log_in(page, "alice")
    await page.wait("#me:has-text('alice@localhost/')")
    assert not server.server.endpoint.is_crowded("127.0.0.1")
    assert await page.problems() == []


async def test_frames_are_shown_without_secrets(open_page: Open) -> None:
    page = await open_page("alice")
    await log_in(page, "alice")
    await page.wait("#me:has-text('alice@localhost/')")
    await page.click("#frames summary")
    frames = await page.texts("#frame-list code")
    assert frames[0] == '<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>'
    assert any(">alice@localhost/console/" in frame for frame in frames)
    sasl = [re.sub(r' xmlns="[^"]*"', "", frame) for frame in frames if "urn:xmpp:sasl:2" in frame]
    _, request, challenge, response, success = sasl
    assert request.startswith('<authenticate mechanism="SCRAM-SHA-512"><initial-response>(hidden)</initial-response>')
    assert [challenge, response] == ["<challenge>(hidden)</challenge>", "<response>(hidden)</response>"]
    assert "<additional-data>(hidden)</additional-data>" in success and 'token="(hidden)"' in success


async def test_the_page_comes_back_after_its_socket_is_cut(open_page: Open, server: Running, tmp_path: Path) -> None:
    alice, bob = await open_page("alice"), await open_page("bob")
    await log_in(alice, "alice")
    await log_in(bob, "bob")
    await write(alice, "Bob", "before")
    me = await alice.text("#me:has-text('/')")
    cut(server, "alice")
    await alice.wait("#status:has-text('Close code 1006. Reconnecting in')")
    await alice.click("#reconnect")
    await alice.wait("#bar[data-state=online]")
    assert await alice.text("#me") == me
    await write(bob, "Alice", "Welcome back")
    await alice.wait("#log li.theirs")
    assert await alice.texts("#log .body") == ["before", "Welcome back"]

    # By itself, too.
    cut(server, "alice")
    await alice.wait("#bar[data-state=waiting]")
    await alice.screenshot(tmp_path / "waiting.png")
    await alice.wait("#bar[data-state=online]")
    assert not [line for line in await alice.problems() if not line.startswith("WebSocket connection to ")]


async def test_what_is_typed_is_sent_as_stanzas(open_page: Open) -> None:
    page = await open_page("alice")
    await log_in(page, "alice")
    await page.wait("#me:has-text('alice@localhost/')")
    await page.click("#frames summary")
    await page.fill("#stanza", "<iq type='get' id='typed'><ping xmlns='urn:xmpp:ping'/></iq>")
    await page.press("#stanza", "Enter")
    await page.wait('#frame-list .sent:has-text(\'<iq xmlns="jabber:client" type="get" id="typed">\')')
    await page.wait("#frame-list .received:has-text('id=\"typed\"'):has-text('type=\"result\"')")
    await page.fill("#stanza", "<iq type='get'>")
    await page.press("#stanza", "Enter")
    await page.wait("#frame-list .note:has-text('not well-formed')")
    assert await page.evaluate("document.getElementById('stanza').value") == "<iq type='get'>"


async def test_presence_is_shown_again_after_the_connection_was_lost(open_page: Open, server: Running) -> None:
    alice, bob = await open_page("alice"), await open_page("bob")
    await log_in(bob, "bob")
    await log_in(alice, "alice")
    await alice.wait("#bar[data-state=online]")
    await alice.evaluate("document.getElementById('show').value = 'dnd'")
    await alice.fill("#own-status", "Grüße")
    await alice.press("#own-status", "Enter")
    await bob.wait("#contacts button[data-presence=dnd]:has-text('Grüße')")
    # The server has forgotten the session, so that a new one follows.
    cut(server, "alice")
    await asleep(server)
    sessions_of(server)[0].stream.end()
    await bob.wait("#contacts button[data-presence=offline]:has-text('Alice')")
    await bob.wait("#contacts button[data-presence=dnd]:has-text('Grüße')")


async def test_a_roster_change_that_is_refused_says_so(open_page: Open) -> None:
    page = await open_page("alice", script="globalThis.prompt = () => 'x'.repeat(5000)")
    await log_in(page, "alice")
    await page.click("#contacts button:has-text('Bob')")
    await page.click("#actions button:has-text('Rename')")
    await page.wait("#status:has-text('(not-acceptable)')")
    assert await page.texts("#contacts .name") == ["Bob"]


async def test_only_the_servers_word_counts_for_a_delay(open_page: Open, server: Running) -> None:
    page = await open_page("alice")
    await log_in(page, "alice")
    await page.wait("#bar[data-state=online]")
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        delay = "<delay xmlns='urn:xmpp:delay' from='bob@localhost' stamp='2002-09-10T23:08:25Z'/>"
        body = f"<body>old</body>{delay}"
        await bob.send(f"<message xmlns='jabber:client' to='alice@localhost' type='chat'>{body}</message>")
        await page.wait("#contacts button:has-text('1')")
    assert await page.texts("#log .body") == ["old"]
    assert await page.texts("#log .delayed") == []


async def test_a_session_that_was_replaced_does_not_fight_back(open_page: Open, server: Running) -> None:
    page = await open_page("alice")
    await log_in(page, "alice")
    resource = (await page.text("#me:has-text('/')")).partition("/")[2]
    async with logged_in(server.url, "alice", PASSWORDS["alice"], resource=resource):
        await page.wait("#login-problem:has-text('(conflict)')")
        assert server.server.sessions() == 1


async def test_without_webcrypto_the_page_says_so_and_uses_plain(open_page: Open) -> None:
    page = await open_page("alice", script=NO_WEBCRYPTO)
    assert "password is sent as it is" in await page.text("#clear-text:visible")
    await log_in(page, "alice")
    await page.wait("#me:has-text('alice@localhost/')")
    assert any(
        'mechanism="PLAIN"><initial-response>(hidden)' in frame for frame in await page.texts("#frame-list code")
    )


async def test_the_server_tells_what_it_sees(open_page: Open, server: Running) -> None:
    page = await open_page("alice")
    await page.wait("#seen-summary:has-text('127.0.0.1 · secure · localhost')")
    await page.click("#seen summary")
    facts = dict(zip(await page.texts("#facts dt"), await page.texts("#facts dd"), strict=True))
    assert facts["Your address"] == "127.0.0.1The address of the peer."
    assert facts["Secure"] == "yesBecause consider_websocket_secure says so."
    assert facts["Headers"].startswith(f"Host: 127.0.0.1:{server.port}")
    assert server.url in facts["WebSocket"] and server.url in facts["host-meta"]
    assert facts["Server"] == f"xmppws {__version__}"
    assert await page.texts("#warnings li") == await page.problems() == []


async def test_what_is_wrong_on_the_way_is_warned_of(chromium: Browser, tmp_path: Path) -> None:
    hosts = {"one.example": Host(), "two.example": Host()}
    options = {
        "extraHTTPHeaders": {"X-Forwarded-For": "unknown", "Cookie": "secret=1", "Authorization": "Basic c2VjcmV0"}
    }
    async with running(config(hosts=hosts, http={"console": True, "consider_websocket_secure": False})) as server:
        page = await chromium.open(server.http, "alice", options=options)
        await page.wait("#seen-summary:has-text('4 warnings')")
        warnings = await page.texts("#warnings li")
        told = ["No virtual host here", "plain http", "a hop that is no address", "Clients cannot look the endpoint up"]
        assert [part for part in told if not any(part in warning for warning in warnings)] == []
        await page.click("#seen summary")
        await page.screenshot(tmp_path / "warnings.png")
        whoami = await page.evaluate("fetch('/console/whoami.json').then(answer => answer.text())")
        assert "c2VjcmV0" not in whoami and "secret" not in whoami
        await chromium.close_pages()


async def test_a_dead_link_is_noticed_by_pings(open_page: Open, server: Running) -> None:
    page = await open_page("alice", script=IMPATIENT)
    await log_in(page, "alice")
    await page.wait("#ping:has-text('Ping ')")
    (connection,) = server.server.endpoint.connections
    connection.pause_reading()
    await page.wait("#status:has-text('no answer to a ping for 10 s')")
    await page.click("#reconnect")
    await page.wait("#bar[data-state=online]")
    connection.abort()


async def test_secrets_of_sasl2_are_hidden_too(open_page: Open) -> None:
    page = await open_page("alice")
    hidden = await page.evaluate(
        """import("/console/frames.js").then(({ withoutSecrets }) => [
            `<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>SECRET</initial-response>`
                + `<user-agent id='x'/><fast xmlns='urn:xmpp:fast:0' count='1'/></authenticate>`,
            `<challenge xmlns='urn:xmpp:sasl:2'>SECRET</challenge>`,
            `<response xmlns='urn:xmpp:sasl:2'>SECRET</response>`,
            `<next xmlns='urn:xmpp:sasl:2' task='UPGR'><task-data><x>SECRET</x></task-data></next>`,
            `<success xmlns='urn:xmpp:sasl:2'><additional-data>SECRET</additional-data>`
                + `<token xmlns='urn:xmpp:fast:0' expiry='e' token='SECRET'/></success>`,
            `<iq xmlns='jabber:client'><query xmlns='jabber:iq:register'><password>SECRET</password></query></iq>`,
        ].map(withoutSecrets))"""
    )
    assert all("(hidden)" in frame and "SECRET" not in frame for frame in hidden)
    assert 'mechanism="PLAIN"' in hidden[0] and '<fast xmlns="urn:xmpp:fast:0" count="1"/>' in hidden[0]


async def test_the_keyboard_reaches_everything_in_order(open_page: Open) -> None:
    page = await open_page("alice")
    await page.evaluate("document.querySelector('.skip').focus()")
    order = []
    for _ in range(5):
        await page.press(":focus", "Tab")
        order.append(await page.evaluate("document.activeElement.id || document.activeElement.firstChild.data.trim()"))
    assert order == ["jid", "password", "Log in", "What the server sees", "Frames"]
    await page.press(".skip", "Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await log_in(page, "alice")
    # After the log-in the focus is where the next thing is done.
    await page.wait("#new-jid:focus")
    await page.press("#new-jid", "Shift+Tab")
    assert "Bob" in await page.text("#contacts button:focus")


async def test_scram_computes_what_rfc_7677_shows(open_page: Open) -> None:
    page = await open_page("alice")
    proof = await page.evaluate(
        """import("/console/scram.js").then(async ({ Scram }) => {
            const scram = new Scram("SCRAM-SHA-256", "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
            const challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
            const final = await scram.final(challenge);
            scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
            return [scram.first(), final];
        })"""
    )
    assert proof == [
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    ]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"colorScheme": "light", "viewport": {"width": 1100, "height": 720}}),
        ("dark", {"colorScheme": "dark", "viewport": {"width": 1100, "height": 720}}),
        ("phone", {"colorScheme": "light", "viewport": {"width": 360, "height": 700}, "hasTouch": True}),
    ],
)
async def test_the_page_fits_the_window(
    name: str, options: dict[str, Any], open_page: Open, server: Running, tmp_path: Path
) -> None:
    page = await open_page("alice", options=options)
    await log_in(page, "alice", "wrong")
    await page.wait("#login-problem")
    await page.screenshot(tmp_path / f"{name}-login.png")
    await page.wait("#seen-summary:has-text('127.0.0.1 · secure · localhost')")
    await log_in(page, "alice")
    async with logged_in(server.url, "bob", PASSWORDS["bob"]) as bob:
        await page.wait("#contacts button[data-presence=online]")
        await write(page, "Bob", "Hello", "A longer line, so that it is seen how it wraps: " + "word " * 30, MARKUP)
        await bob.message("alice@localhost", "https://example.com/" + "a" * 120)
        await page.wait("#log li.theirs")
        await page.screenshot(tmp_path / f"{name}-chat.png")
        await page.click("#frames summary")
        await page.screenshot(tmp_path / f"{name}-frames.png")
        await page.click("#seen summary")
        await page.wait("#facts dt:has-text('host-meta')")
        await page.screenshot(tmp_path / f"{name}-seen.png")
        assert await page.evaluate(LAST_MESSAGE_IS_SEEN)
    sizes = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert sizes == [options["viewport"]["width"], options["viewport"]["height"]]
