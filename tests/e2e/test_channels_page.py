"""The example page of contrib/channels in Chromium, beside the console page and another XMPP client in one room."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from aiohttp import web
from msgspec.structs import replace

from browser import Browser, Page, browser
from clients import CLIENT, logged_in
from pages import channels_config, made, paging
from servers import PASSWORDS, Running, program, running
from xmppws.config import Config
from xmppws.errors import Reason, StreamPolicyViolation

# One browser serves all tests of this file, so they share its event loop.
pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

Open: TypeAlias = Callable[..., Awaitable[Page]]

EXAMPLE = Path(__file__).parents[2] / "contrib" / "channels"
ROOM = "^team+^one@conference.localhost"
MARKUP = "<b>&amp; <img src=x onerror=alert(1)> 👋"
# What a test need not wait for: the pause before a page tries again.
IMPATIENT = (
    "const wait = setTimeout; globalThis.setTimeout = (f, ms, ...rest) => wait(f, ms > 400 ? ms / 20 : ms, ...rest);"
)


def settings() -> Config:
    made = channels_config()
    return replace(made, http=replace(made.http, console=True))


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[Running]:
    async with running(settings()) as started:
        yield started


@asynccontextmanager
async def static() -> AsyncIterator[str]:
    """Serve the example's files, as any server of files does, and return the origin."""

    async def index(request: web.Request) -> web.FileResponse:
        return web.FileResponse(EXAMPLE / "index.html")

    application = web.Application()
    application.add_routes([web.get("/", index), web.static("/", EXAMPLE)])
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origin() -> AsyncIterator[str]:
    async with static() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(chromium: Browser, origin: str) -> AsyncIterator[Open]:
    """The example, opened as often as a test wants, and the console with `origin`."""

    async def open_page(name: str, at: str = origin, **options: Any) -> Page:
        return await chromium.open(at, name, **options)

    yield open_page
    await chromium.close_pages()


async def join(page: Page, server: str, token: str, channel: str = "Team One") -> None:
    await page.fill("#server", server)
    await page.fill("#channel", channel)
    await page.fill("#token", token)
    await page.press("#token", "Enter")


async def joined(page: Page, server: str, token: str, channel: str = "Team One") -> None:
    await join(page, server, token, channel)
    await page.wait("body[data-state=in] #room")


async def say(page: Page, *lines: str) -> None:
    for line in lines:
        await page.fill("#text", line)
        await page.press("#text", "Enter")


async def console(page: Page, name: str, password: str, room: str = ROOM) -> None:
    await page.fill("#jid", f"{name}@localhost")
    await page.fill("#password", password)
    await page.click("#login button")
    await page.fill("#room", room)
    await page.press("#room", "Enter")
    await page.wait("#contacts button[data-presence=online] .state:has-text('here')")


def unexpected(problems: list[str]) -> list[str]:
    # The sockets go elsewhere than the files: that is what the example is for.
    return [line for line in problems if not line.startswith(("connected ws://127.0.0.1:", "WebSocket connection to "))]


async def test_pages_the_console_and_an_xmpp_client_share_a_room(open_page: Open, server: Running) -> None:
    alice, bob, carol = await open_page("alice"), await open_page("bob"), await open_page("carol", server.http)
    await joined(alice, server.http, made("alice"))
    await joined(bob, server.http, made("bob"))
    await console(carol, "carol", PASSWORDS["carol"])
    async with logged_in(server.url, "dora", made("dora"), mechanism="PLAIN") as dora:
        enter = (
            f"<presence xmlns='jabber:client' to='{ROOM}/Dora'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await dora.send(enter)
        for page in (alice, bob):
            await page.wait("#people li:has-text('dora@localhost')")
            assert await page.texts("#people .id") == [
                f"{name}@localhost" for name in ("alice", "bob", "carol", "dora")
            ]
        await carol.wait("#contacts .state:has-text('4 here')")

        await say(alice, MARKUP, "second")
        await bob.wait("#entries li:has-text('second')")
        await say(bob, "of Bob")
        await carol.wait("#log li:has-text('of Bob')")
        await carol.fill("#body", "of Carol")
        await carol.press("#body", "Enter")
        await alice.wait("#entries li:has-text('of Carol')")
        await dora.send(f"<message xmlns='jabber:client' to='{ROOM}' type='groupchat'><body>of Dora</body></message>")
        await alice.click("#reactions button[value='🎉']")

        lines = [MARKUP, "second", "of Bob", "of Carol", "of Dora", "🎉"]
        for page, entries in ((alice, "#entries li"), (bob, "#entries li"), (carol, "#log li")):
            await page.wait(f"{entries}:has-text('🎉')")
            assert await page.texts(f"{entries} .body") == lines
        assert await alice.texts("#entries .mine .body") == [MARKUP, "second", "🎉"]
        assert await alice.texts("#entries .nick") == ["alice", "alice", "bob", "carol", "Dora", "alice"]
        assert await carol.texts("#log .mine .body") == ["of Carol"]
        assert await carol.texts("#log .nick") == ["alice", "alice", "bob", "carol", "Dora", "alice"]
        seen: list[str] = []
        while len(seen) < len(lines):
            body = (await dora.receive_until("message")).findtext(f"{CLIENT}body")
            seen += [body] if body else []
        assert seen == lines
    await alice.wait("#people:not(:has-text('Dora'))")
    await carol.click("#actions button:has-text('Leave')")
    await alice.wait("#people:not(:has-text('carol'))")
    await carol.wait("#log .note:has-text('You have left the room.')")
    for page in (alice, bob, carol):
        assert unexpected(await page.problems()) == []


async def test_events_are_exact(open_page: Open, server: Running) -> None:
    alice, bob = await open_page("alice"), await open_page("bob")
    await joined(alice, server.http, made("alice"))
    await joined(bob, server.http, made("bob"))
    await bob.click("#show-reactions")
    await alice.click("#reactions button[value='👍']")
    await alice.wait("#entries li.reaction")
    await say(alice, "text")
    await bob.wait("#entries li:has-text('text')")
    assert await bob.texts("#entries .body") == ["text"]
    await bob.click("#show-reactions")
    await alice.click("#reactions button[value='👋']")
    await bob.wait("#entries li.reaction:has-text('👋')")


async def test_two_tabs_and_what_was_said_before(open_page: Open, server: Running) -> None:
    first, second = await open_page("first"), await open_page("second")
    token = made("alice")
    await joined(first, server.http, token)
    await say(first, "one")
    await first.click("#reactions button[value='👋']")
    await say(first, "two")
    await first.wait("#entries li:has-text('two')")
    await joined(second, server.http, token)
    await second.wait("#entries li:has-text('two')")
    await say(second, "three")
    for page in (first, second):
        await page.wait("#entries li:has-text('three')")
        assert await page.texts("#entries .body") == ["one", "👋", "two", "three"]
        assert await page.texts("#people .nick") == ["alice (you)"]


async def test_a_page_comes_back_and_shows_everything_once(open_page: Open, server: Running) -> None:
    page = await open_page("alice", script=IMPATIENT)
    await joined(page, server.http, made("alice"))
    await say(page, "before")
    await page.wait("#entries li:has-text('before')")
    # An XMPP client keeps the room, whose history is told again in other words.
    async with logged_in(server.url, "bob", PASSWORDS["bob"], mechanism="PLAIN") as bob:
        await bob.send(
            f"<presence xmlns='jabber:client' to='{ROOM}/Bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await page.wait("#people li:has-text('Bob')")
        (connection,) = (one for one in server.server.endpoint.connections if one.name.startswith("alice@"))
        connection.abort()
        await bob.message(ROOM, "meanwhile", type="groupchat")
        await page.wait("#entries li:has-text('meanwhile')")
        await page.wait("body[data-state=in]")
        await say(page, "after")
        await page.wait("#entries li:has-text('after')")
    assert await page.texts("#entries .body") == ["before", "meanwhile", "after"]


async def test_what_ends_a_page_is_told_in_words(open_page: Open, server: Running) -> None:
    page = await open_page("alice", script=IMPATIENT)
    await join(page, server.http, "no.token.atall")
    await page.wait("#problem:has-text('The server does not accept the token.')")
    assert (await page.text("#problem")).endswith(
        "It says: The token is refused: it is no signed token (token-invalid)."
    )
    await join(page, server.http, made("alice"), "a/b")
    await page.wait("#problem:has-text('2 to 12 letters')")
    await join(page, server.http, made("alice", room="other"))
    await page.wait("#problem:has-text('You may not be in this room.')")
    await joined(page, server.http, made("alice"))
    (session,) = server.server.hosts["localhost"].sessions
    session.stream.end(StreamPolicyViolation("noise", Reason.KICKED))
    await page.wait("#problem:has-text('An administrator ended your connection. It says: noise (kicked)')")
    # Of a connection that fails a browser tells no more.
    await join(page, "http://127.0.0.1:9", made("alice"))
    await page.wait("#status:has-text('cannot be reached')")
    await page.click("#leave")
    await page.wait("#join:not([inert])")
    assert server.server.sessions() == 0


async def test_a_full_room_is_tried_again(open_page: Open) -> None:
    async with running(channels_config(max_room_users=1)) as server, paging(server, made("bob")) as bob:
        await bob.subscribe("Team One")
        page = await open_page("alice", script=IMPATIENT)
        await join(page, server.http, made("alice"))
        await page.wait("#status:has-text('The room is full.')")
        await bob.socket.close()
        await page.wait("body[data-state=in]")


async def mint(file: Path, jid: str) -> str:
    command = (sys.executable, "-m", "xmppws", "token", jid, "-c", str(file))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode().strip()


def demo(file: Path, origin: str, port: int = 0) -> None:
    """Write the example's configuration for a port, and for files that are served elsewhere."""
    text = (EXAMPLE / "demo.toml").read_text(encoding="utf-8")
    text = text.replace('"var"', f'"{file.parent}/var"').replace("http://127.0.0.1:8000", origin)
    # Port 0 is one that is free, and no origin.
    text = text.replace('["127.0.0.1:5280"]', f'["127.0.0.1:{port}"]').replace(":5280", f":{port or 1}")
    file.write_text(f"{text}[metrics]\nlisten = []\n", encoding="utf-8")


async def test_the_demo_survives_a_restart_of_the_server(open_page: Open, origin: str, tmp_path: Path) -> None:
    file = tmp_path / "demo.toml"
    demo(file, origin)
    page = await open_page("alice", script=IMPATIENT)
    async with program(file) as server:
        port = server.port
        await joined(page, f"http://127.0.0.1:{port}", await mint(file, "alice@localhost"))
        await say(page, "before")
        await page.wait("#entries li:has-text('before')")
    await page.wait("body[data-state=waiting]")
    demo(file, origin, port)
    async with program(file):
        await page.wait("body[data-state=in]")
        await say(page, "after")
        await page.wait("#entries li:has-text('after')")
        console_page = await open_page("carol", f"http://127.0.0.1:{port}")
        # The console shows a token as the password.
        await console(console_page, "carol", await mint(file, "carol@localhost"))
        await page.wait("#people li:has-text('carol@localhost')")
    assert await page.texts("#entries .body") == ["before", "after"]


async def test_a_page_of_another_origin_is_refused(open_page: Open, tmp_path: Path) -> None:
    file = tmp_path / "demo.toml"
    demo(file, "http://127.0.0.1:8000")
    async with program(file) as server:
        page = await open_page("alice")
        await join(page, f"http://127.0.0.1:{server.port}", await mint(file, "alice@localhost"))
        await page.wait("#status:has-text('allowed_origins')")
        assert await server.logged("allowed_origins does not list")


async def test_the_address_names_the_room_and_no_token(open_page: Open, origin: str, server: Running) -> None:
    page = await open_page("alice")
    token = made("alice")
    await page.evaluate(f"location.assign('{origin}/?again#server={server.http}&channel=Team+One&token={token}')")
    await page.wait("#join button:focus")
    assert token not in await page.evaluate("location.href")
    await page.click("#join button")
    await page.wait("body[data-state=in]")
    assert (await page.evaluate("location.hash")).endswith("&channel=Team+One")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"colorScheme": "light", "viewport": {"width": 1100, "height": 720}}),
        ("dark", {"colorScheme": "dark", "viewport": {"width": 1100, "height": 720}}),
        ("phone", {"colorScheme": "light", "viewport": {"width": 360, "height": 700}, "hasTouch": True}),
        ("phone-dark", {"colorScheme": "dark", "viewport": {"width": 360, "height": 700}, "hasTouch": True}),
    ],
)
async def test_the_page_fits_the_window(
    name: str, options: dict[str, Any], open_page: Open, server: Running, tmp_path: Path
) -> None:
    page, room = await open_page("alice", options=options), await open_page("carol", server.http, options=options)
    await join(page, server.http, "wrong")
    await page.wait("#problem:visible")
    await page.screenshot(tmp_path / f"{name}-join.png")
    await joined(page, server.http, made("alice"))
    await console(room, "carol", PASSWORDS["carol"])
    async with paging(server, made("bob")) as bob:
        await bob.subscribe("Team One")
        await bob.publish("Team One", "message", {"text": "A longer line, so that it wraps: " + "word " * 30})
        await bob.publish("Team One", "message", {"text": "https://example.com/" + "a" * 120})
        await say(page, "Hello", MARKUP)
        await page.click("#reactions button[value='🎉']")
        for each, entries in ((page, "#entries li"), (room, "#log li")):
            await each.wait(f"{entries}:has-text('🎉')")
            await each.screenshot(tmp_path / f"{name}-{'page' if each is page else 'console'}.png")
            sizes = await each.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
            assert sizes == [options["viewport"]["width"], options["viewport"]["height"]]
    (connection,) = (one for one in server.server.endpoint.connections if one.name.startswith("alice@"))
    connection.abort()
    await page.wait("body[data-state=waiting]")
    await page.screenshot(tmp_path / f"{name}-waiting.png")


async def test_the_console_makes_a_room_and_comes_back_to_it(open_page: Open, server: Running) -> None:
    carol, bob = await open_page("carol", server.http), await open_page("bob", server.http)
    room = "den@conference.localhost"
    await console(carol, "carol", PASSWORDS["carol"], "den")
    await console(bob, "bob", PASSWORDS["bob"], room)
    await carol.wait("#contacts .state:has-text('2 here')")
    for page, text in ((carol, "one"), (bob, "two")):
        await page.fill("#body", text)
        await page.press("#body", "Enter")
        await page.wait(f"#log .mine:has-text('{text}')")
    (connection,) = (one for one in server.server.endpoint.connections if one.name.startswith("carol@"))
    connection.abort()
    await carol.wait("#bar[data-state=waiting]")
    await bob.fill("#body", "meanwhile")
    await bob.press("#body", "Enter")
    await carol.click("#reconnect")
    await carol.wait("#log li:has-text('meanwhile')")
    assert await carol.texts("#log .body") == ["one", "two", "meanwhile"]
    await carol.wait("#contacts .state:has-text('2 here')")
    await bob.click("#actions button:has-text('Leave')")
    await bob.wait("#log .note:has-text('You have left the room.')")
    await bob.fill("#body", "still here?")
    await bob.press("#body", "Enter")
    await bob.wait("#log .note:has-text('Not delivered. You are not in the room.')")
    await bob.click("#actions button:has-text('Join again')")
    await carol.wait("#contacts .state:has-text('2 here')")
    await bob.fill("#body", "here again")
    await bob.press("#body", "Enter")
    await bob.wait("#log .mine:has-text('here again')")
    assert await bob.texts("#log .body") == ["one", "two", "meanwhile", "here again"]
