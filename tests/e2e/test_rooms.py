"""A room that other people's client libraries use together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import permutations
from pathlib import Path

import pytest

from browser import Chromium
from libraries import LIBRARIES, Library, Person, joined
from servers import PASSWORDS, config, running

pytestmark = pytest.mark.e2e

ROOM = "coven@conference.localhost"
TEXT = 'Grüße <b>&amp;</b> "quoted" 👋'
WITH_ROOMS = [library for library in LIBRARIES if library.name in ("strophe", "stanza", "xmppjs")]

Join = Callable[[str, Library], Awaitable[Person]]


@pytest.fixture
async def join(tmp_path: Path) -> AsyncIterator[Join]:
    chromium = Chromium(tmp_path)
    async with running(config()) as server, AsyncExitStack() as people:

        async def join(name: str, library: Library) -> Person:
            person = joined(library, chromium, server.url, f"{name}@localhost", PASSWORDS[name])
            return await people.enter_async_context(person)

        yield join


@pytest.mark.parametrize(("one", "other"), list(permutations(WITH_ROOMS, 2)), ids=lambda library: library.name)
async def test_two_meet_in_a_room(one: Library, other: Library, join: Join) -> None:
    alice, bob = await join("alice", one), await join("bob", other)
    await alice.ask("enter", jid=ROOM, nick="First Witch")
    await alice.sees("presence", from_=f"{ROOM}/First Witch", type="available")
    await alice.ask("open", jid=ROOM)
    await alice.ask("message", to=ROOM, body="before", kind="groupchat")
    await alice.sees("message", from_=f"{ROOM}/First Witch", body="before")
    await bob.ask("enter", jid=ROOM, nick="Böb")
    await bob.sees("presence", from_=f"{ROOM}/First Witch", type="available")
    await bob.sees("presence", from_=f"{ROOM}/Böb", type="available")
    assert (await bob.sees("message", from_=f"{ROOM}/First Witch", body="before"))["delay"] is not None
    await alice.sees("presence", from_=f"{ROOM}/Böb", type="available")
    for speaker, nick in ((alice, "First Witch"), (bob, "Böb")):
        await speaker.ask("message", to=ROOM, body=TEXT, kind="groupchat")
        for person in (alice, bob):
            await person.sees("message", from_=f"{ROOM}/{nick}", kind="groupchat", body=TEXT, delay=None)
    await bob.ask("exit", jid=ROOM, nick="Böb")
    await alice.sees("presence", from_=f"{ROOM}/Böb", type="unavailable")
    await bob.sees("presence", from_=f"{ROOM}/Böb", type="unavailable")
    await bob.ask("enter", jid=ROOM, nick="Böb")
    await alice.sees("presence", from_=f"{ROOM}/Böb", type="available")
    await alice.ask("kick", jid=ROOM, nick="Böb", reason="Avaunt")
    await bob.sees("presence", from_=f"{ROOM}/Böb", type="unavailable")
    id = await bob.ask("message", to=ROOM, body="Hello?", kind="groupchat")
    await bob.sees("undelivered", from_=ROOM, id=id, condition="not-acceptable")
    await alice.sees_no("message", body="Hello?")
    await alice.ask("leave")
    await alice.sees("offline")
