"""The console page in Chromium goes on with its session: when it is reloaded, and when it loses the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from msgspec.structs import replace

from browser import Browser, Page, browser
from clients import connected, logged_in
from flaky import Flaky, flaky
from one_trip import condition, show
from resuming import asleep, resumptions_of, sessions_of
from servers import PASSWORDS, Running, config, running
from waiting import until
from xmppws.config import Storage
from xmppws.core.auth import Accounts
from xmppws.core.roster import RosterItem, Subscription

# One browser serves all tests of this file, so they share its event loop.
pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ROOM = "den@conference.localhost"
# Neither this message nor a request to acknowledge another one leaves the page.
SWALLOW = """WebSocket.prototype.send = new Proxy(WebSocket.prototype.send, {
    apply: (send, socket, [text]) => /^<r |not come/.test(text) || send.call(socket, text),
})"""
STORED = "JSON.stringify(sessionStorage) + JSON.stringify(localStorage)"

Open: TypeAlias = Callable[..., Awaitable[Page]]


class Site:
    """A server that can be started again at one address, which is a proxy's."""

    def __init__(self, proxy: Flaky, file: Path, stack: AsyncExitStack) -> None:
        self.proxy = proxy
        self.origin = f"http://127.0.0.1:{proxy.port}"
        self.server: Running
        self._file = file
        self._outer = stack
        self._inner = AsyncExitStack()

    async def start(self, *, is_first: bool = False) -> None:
        """Start it; its accounts are there from the first time on."""
        settings = config(http={"console": True})
        kept = replace(settings, storage=Storage(url=f"sqlite:{self._file}"))
        self._inner = await self._outer.enter_async_context(AsyncExitStack())
        self.server = await self._inner.enter_async_context(running(kept, new_accounts=is_first))
        if is_first:
            roster = self.server.server.hosts["localhost"].stores.map("roster", RosterItem)
            await roster.set("alice", "bob@localhost", RosterItem("Bob", (), Subscription.BOTH))
            await roster.set("bob", "alice@localhost", RosterItem("Alice", (), Subscription.BOTH))
        self.proxy.target = self.server.port

    async def stop(self) -> None:
        self.proxy.target = 0
        await self._inner.aclose()

    def lose(self) -> None:
        """Cut all connections; none comes through before `find`."""
        self.proxy.target = 0
        self.proxy.cut_all()

    def find(self) -> None:
        self.proxy.target = self.server.port

    def bob(self) -> Any:
        """Log bob in, on another way to the server."""
        return logged_in(self.server.url, "bob", PASSWORDS["bob"])


@pytest_asyncio.fixture(loop_scope="module")
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with flaky(Random(0)) as proxy, AsyncExitStack() as stack:
        started = Site(proxy, tmp_path / "x.sqlite", stack)
        await started.start(is_first=True)
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def alice(chromium: Browser, site: Site) -> AsyncIterator[Page]:
    """The page, on which alice has logged in and writes to bob."""
    page = await chromium.open(site.origin, "alice")
    await page.fill("#jid", "alice@localhost")
    await page.fill("#password", PASSWORDS["alice"])
    await page.click("#login button")
    await page.click("#contacts button:has-text('Bob')")
    await page.wait("#ping:has-text('Ping ')")
    yield page
    await chromium.close_pages()


async def write(page: Page, text: str) -> None:
    await page.fill("#body", text)
    await page.press("#body", "Enter")


async def went_on(page: Page) -> None:
    await page.wait("#status:text-is('Online again.')")


async def says(page: Page, *bodies: str) -> None:
    """Make sure that the conversation is this: nothing is missing, and nothing is there twice."""
    await page.wait(f"#log ol:not([hidden]) li:last-child:has-text('{bodies[-1]}')")
    assert await page.texts("#log ol:not([hidden]) .body") == list(bodies)


# --- Reloads ---


async def test_a_reload_goes_on_with_the_session(alice: Page, site: Site) -> None:
    async with site.bob() as bob:
        me = await alice.text("#me")
        await bob.message("alice@localhost", "one")
        await alice.wait("#log li.theirs")
        await write(alice, "two")
        assert await bob.body() == "two"
        await alice.fill("#body", "half a sen")
        await alice.reload()
        await went_on(alice)
        assert await alice.text("#me") == me
        assert await alice.evaluate("document.getElementById('body').value") == "half a sen"
        assert await alice.text("#chat-title") == "bob@localhost"
        await alice.wait("#contacts button[data-presence=online]:has-text('Bob')")
        await bob.message("alice@localhost", "three")
        await says(alice, "one", "two", "three")
        await write(alice, "four")
        assert await bob.body() == "four"
        # It took one request: no roster, no presence, and no password.
        sent = await alice.texts("#frame-list .sent code")
        assert [frame.split(" ")[0] for frame in sent[:3]] == ["<open", "<authenticate", "<iq"]
        assert 'mechanism="HT-SHA-256-NONE"' in sent[1] and "<resume" in sent[1]
        assert not [frame for frame in sent if "jabber:iq:roster" in frame or frame.startswith("<presence")]
        assert PASSWORDS["alice"] not in await alice.evaluate(STORED)
        assert await alice.problems() == []


async def test_messages_come_while_the_page_is_reloaded(alice: Page, site: Site) -> None:
    async with site.bob() as bob:
        (session,), me = sessions_of(site.server), await alice.text("#me")
        done = asyncio.Event()
        sent: list[str] = []

        async def talk() -> None:
            while not done.is_set():
                sent.append(f"number {len(sent)}")
                await bob.message("alice@localhost", sent[-1])
                # No faster than anybody acknowledges.
                await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=me)

        talking = asyncio.create_task(talk())
        for _ in range(3):
            before = len(sent)
            await until(lambda least=before + 5: len(sent) > least)  # type: ignore[misc]
            await alice.reload()
            await went_on(alice)
        done.set()
        await talking
        await bob.message("alice@localhost", "last")
        await alice.wait("#log li:has-text('last')")
        assert (await alice.texts("#log .body"))[-400:] == [*sent, "last"][-400:]
        assert sessions_of(site.server) == (session,)


async def test_a_message_that_the_server_has_not_read_is_sent_again(alice: Page, site: Site) -> None:
    async with site.bob() as bob:
        (connection,) = (one for one in site.server.server.endpoint.connections if one.name.startswith("alice@"))
        connection.pause_reading()
        await write(alice, "unread")
        await alice.reload()
        await went_on(alice)
        await write(alice, "read")
        assert [await bob.body(), await bob.body()] == ["unread", "read"]
        await says(alice, "unread", "read")


async def test_rooms_are_still_there(alice: Page, site: Site) -> None:
    await alice.fill("#room", "den")
    await alice.press("#room", "Enter")
    await alice.wait("#contacts .state:has-text('1 here')")
    await alice.reload()
    await went_on(alice)
    async with site.bob() as bob:
        entering = (
            f"<presence xmlns='jabber:client' to='{ROOM}/Bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await bob.send(entering)
        await alice.wait("#contacts .state:has-text('2 here')")
        await write(alice, "in the room")
        await alice.wait("#log .mine:has-text('in the room')")
        await alice.reload()
        await went_on(alice)
        await alice.wait("#contacts .state:has-text('2 here')")
        await says(alice, "in the room")


async def test_a_reload_while_the_server_restarts(alice: Page, site: Site) -> None:
    await write(alice, "before")
    me = await alice.text("#me")
    await site.stop()
    await alice.wait("#bar[data-state=waiting]")
    reloaded = asyncio.create_task(alice.reload())
    await site.start()
    await reloaded
    await went_on(alice)
    assert await alice.text("#me") == me
    async with site.bob() as bob:
        await bob.message(me, "after")
        await says(alice, "before", "after")


# --- Without a reload ---


async def test_a_restart(alice: Page, site: Site) -> None:
    me = await alice.text("#me")
    await write(alice, "before")
    await site.stop()
    await alice.wait("#bar[data-state=waiting]")
    await site.start()
    await alice.click("#reconnect")
    await went_on(alice)
    async with site.bob() as bob:
        await bob.message(me, "after")
        await says(alice, "before", "after")


async def test_what_came_meanwhile_comes_with_the_session(alice: Page, site: Site) -> None:
    async with site.bob() as bob:
        site.lose()
        await asleep(site.server)
        await bob.message("alice@localhost", "missed")
        site.find()
        await says(alice, "missed")
        await went_on(alice)


async def test_a_session_that_is_lost_is_made_up_for_from_the_archive(alice: Page, site: Site) -> None:
    async with site.bob() as bob, logged_in(site.server.url, "alice", PASSWORDS["alice"]) as other:
        await bob.message("alice@localhost", "seen")
        await alice.wait("#log li.theirs")
        await write(alice, "heard")
        assert await bob.body() == "heard"
        me = await alice.text("#me")
        site.lose()
        await asleep(site.server)
        for number in range(60):
            await bob.message("alice@localhost", f"missed {number}")
        while await other.body() != "missed 59":
            pass
        await other.message("bob@localhost", "by the other client")
        assert await bob.body() == "by the other client"
        (session,) = (each for each in sessions_of(site.server) if each.jid.text == me)
        session.stream.end()
        site.find()
        expected = ["seen", "heard", *[f"missed {number}" for number in range(60)], "by the other client"]
        await says(alice, *expected)
        assert await alice.text("#me") != me
        await bob.message("alice@localhost", "now")
        await says(alice, *expected, "now")
        await alice.reload()
        await went_on(alice)
        await says(alice, *expected, "now")


async def test_messages_that_nobody_acknowledged_are_sent_once(alice: Page, site: Site) -> None:
    """One has come to the server and the other has not when both, and the session, are lost."""
    async with site.bob() as bob:
        await alice.evaluate(SWALLOW)
        for text in ("come", "not come"):
            await write(alice, text)
        assert await bob.body() == "come"
        site.lose()
        await asleep(site.server)
        sessions_of(site.server)[0].stream.end()
        await until(lambda: len(resumptions_of(site.server)) == 0)
        reloaded = asyncio.create_task(alice.reload())
        site.find()
        await reloaded
        await alice.wait("#status:text-is('Online.')")
        assert await bob.body() == "not come"
        await write(alice, "and now")
        assert await bob.body() == "and now"
        await says(alice, "come", "not come", "and now")


async def test_the_archive_is_shown_after_a_log_in(chromium: Browser, site: Site) -> None:
    async with site.bob() as bob:
        await bob.message("alice@localhost", "while she was away")
        await bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        page = await chromium.open(site.origin, "late")
        await page.fill("#jid", "alice")
        await page.fill("#password", PASSWORDS["alice"])
        await page.click("#login button")
        await page.wait("#contacts button[data-presence=online]:has-text('1')")
        assert await page.texts("#log .body") == ["while she was away"]
        assert await page.texts("#log .delayed") != []
        await chromium.close_pages()


# --- The token ---


async def stored(page: Page) -> dict[str, str]:
    account: dict[str, str] = await page.evaluate("JSON.parse(sessionStorage['xmppws.login']).account")
    return account


async def refused(site: Site, account: dict[str, str]) -> str:
    """Return why a token is refused, "" if it is not."""
    async with connected(site.server.url) as client:
        ended = await show(client, account["token"], agent=account["agent"])
        return "" if ended.tag.endswith("}success") else condition(ended)


async def test_logging_out_makes_the_token_useless(alice: Page, site: Site) -> None:
    account = await stored(alice)
    assert account["token"] and not await refused(site, account)
    await write(alice, "secret")
    await alice.click("#logout")
    await alice.wait("#status:text-is('Logged out.')")
    assert await refused(site, account) == "not-authorized"
    assert len(sessions_of(site.server)) == 0
    assert await alice.evaluate(STORED) == "{}{}"
    await alice.reload()
    await alice.wait("#login")
    assert await alice.texts("#log .body") == []


async def test_logging_out_without_the_server_says_what_is_left(alice: Page, site: Site) -> None:
    await site.stop()
    await alice.wait("#bar[data-state=waiting]")
    await alice.click("#logout")
    await alice.wait("#login")
    assert await alice.evaluate(STORED) == "{}{}"
    site.proxy.target = 1
    await alice.wait("#status:has-text('Logged out. The server could not be told')")


async def test_a_token_that_is_refused_is_asked_for_a_password(alice: Page, site: Site) -> None:
    (provider,) = (each for each in site.server.server.hosts["localhost"].providers if isinstance(each, Accounts))
    await write(alice, "before")
    await provider.set_password("alice", "another")
    await alice.reload()
    await alice.wait("#login-problem:has-text('The server wants the password again.')")
    assert await alice.evaluate("document.getElementById('jid').value") == "alice@localhost"
    await alice.fill("#password", "another")
    await alice.click("#login button")
    await alice.wait("#bar[data-state=online]")
    await says(alice, "before")


async def test_two_tabs_do_not_take_each_others_session(alice: Page, site: Site, chromium: Browser) -> None:
    """The second one begins with what the first has stored."""
    async with site.bob() as bob:
        second = await chromium.duplicate(alice, site.origin, "second")
        await second.wait("#status:text-is('Online.')")
        assert await second.text("#me") != await alice.text("#me")
        for page in (alice, second):
            await page.reload()
            await went_on(page)
        assert len(sessions_of(site.server)) == 2
        await second.click("#contacts button:has-text('Bob')")
        await write(alice, "from the first")
        assert await bob.body() == "from the first"
        await bob.message("alice@localhost", "to both")
        for page in (alice, second):
            await says(page, "from the first", "to both")
