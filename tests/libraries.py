"""Other people's client libraries, all told what to do in the same words, so that one suite drives them all.

A script of tests/e2e/js or tests/e2e/py translates between these words and one library. It logs in, asks for the
roster, sends presence, and comes back when the connection is lost. Each action is answered with "done" and a result, or
with "failed" and the condition of the stanza error:

    roster                          the items: jid, name, subscription, ask
    set (jid, name) · remove (jid)  change the roster
    subscribe · unsubscribe (jid)   to and from somebody's presence
    approve · deny (jid)            somebody's subscription; to deny one that was approved is to cancel it
    presence (show, status, priority)
    message (to, body, kind)        the stanza's id; the kind is the type of the stanza
    unknown (jid)                   a request that nobody understands
    block · unblock (jid)
    blocked                         the block list
    set-vcard (name)
    vcard (jid)                     the full name
    disco (jid)                     features and identities, as category/type
    ping                            the own server
    enter · exit (jid, nick)        a room; not nbxmpp and the console
    open (jid)                      to others a room that one has made
    kick (jid, nick, reason)
    leave                           log out

What happens is told as it comes:

    online (jid, roster) · offline · refused (condition)
    contact (jid, name, subscription, ask)            a roster push
    presence (from, type, show, status, priority)     type available, unavailable, subscribe, subscribed ...
    message (from, kind, body, delay)                 delay is null for what was not delayed
    undelivered (from, id, condition)                 a message that came back
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from browser import Chromium
from lines import Script, started
from node import script

Run: TypeAlias = Callable[..., AbstractAsyncContextManager[Script]]

# Debian's: nbxmpp is in no virtual environment, as it needs GLib.
SYSTEM_PYTHON: Final = "/usr/bin/python3"
NBXMPP: Final = Path(__file__).parent / "e2e" / "py" / "nbxmpp_client.py"


class Failed(Exception):
    """An action was answered with an error; its text is the condition."""


@dataclass(frozen=True)
class Library:
    """`run` takes a URL, a JID and a password, and where Chromium listens if the library is a page.

    `untold` are facts that its events do not hold; "resources" among them means that it tells bare JIDs only.
    """

    name: str
    run: Run
    untold: frozenset[str] = frozenset()
    is_page: bool = False

    def __str__(self) -> str:
        return self.name

    def start(self, chromium: Chromium, url: str, jid: str, password: str) -> AbstractAsyncContextManager[Script]:
        """Run the library until the block ends; skip the test where it cannot run."""
        return self.run(url, jid, password, *([chromium.url] if self.is_page else []))


class Person:
    """Somebody who uses a library."""

    def __init__(self, script: Script, library: Library) -> None:
        self.script = script
        self.library = library
        self.jid = ""
        self._events: list[dict[str, Any]] = []

    @property
    def bare(self) -> str:
        return bare(self.jid)

    async def ask(self, action: str, **facts: Any) -> Any:
        """Have something done, and return its result. Raises `Failed`."""
        await self.script.do(action, **facts)
        answer = await self._take(lambda event: event["event"] in ("done", "failed"))
        if answer["event"] == "failed":
            raise Failed(answer["condition"])
        return answer["result"]

    async def sees(self, event: str, **facts: Any) -> dict[str, Any]:
        """Wait for an event with these facts, `from_` for "from"; what the library does not tell is not compared.

        A bare JID stands for all its resources. Each event is seen once; others wait.
        """
        return await self._take(partial(self._fits, event, facts))

    async def sees_no(self, event: str, **facts: Any) -> None:
        """Make sure that what the server has sent so far holds no such event."""
        await self.ask("ping")
        found = [each for each in self._events if self._fits(event, facts, each)]
        assert not found, found

    async def forget(self) -> None:
        """Take what has happened so far as seen."""
        await self.ask("ping")
        self._events.clear()

    async def _take(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(20):
                while (found := next((each for each in self._events if fits(each)), None)) is None:
                    self._events.append(await self.script.next())
        except TimeoutError:
            raise AssertionError(f"{self.jid} ({self.library}) waited in vain; it saw {self._events}") from None
        self._events.remove(found)
        return found

    def _fits(self, name: str, facts: dict[str, Any], event: dict[str, Any]) -> bool:
        wanted = ((key.rstrip("_"), value) for key, value in facts.items())
        return event["event"] == name and all(self._agrees(key, value, event.get(key)) for key, value in wanted)

    def _agrees(self, key: str, wanted: Any, told: Any) -> bool:
        if key in self.library.untold:
            assert told is None, f"{self.library} does tell {key}"
            return True
        if key == "from" and ("/" not in wanted or "resources" in self.library.untold):
            return bare(told) == bare(wanted)
        return bool(told == wanted)


def bare(jid: str) -> str:
    return jid.partition("/")[0]


@asynccontextmanager
async def joined(library: Library, chromium: Chromium, url: str, jid: str, password: str) -> AsyncIterator[Person]:
    """Log somebody in until the block ends."""
    async with library.start(chromium, url, jid, password) as running:
        person = Person(running, library)
        person.jid = (await person.sees("online"))["jid"]
        yield person


def _xmppjs(*args: str) -> AbstractAsyncContextManager[Script]:
    # Its SCRAM takes seconds of CPU: a promise for each of the iterations.
    return script("xmppjs.mjs", *args, "PLAIN")


def _nbxmpp(*args: str) -> AbstractAsyncContextManager[Script]:
    if problem := _nbxmpp_is_missing():
        pytest.skip(f"{problem}; to run this test: apt-get install -y --no-install-recommends python3-nbxmpp")
    # GLib would look for proxies and settings on the session bus.
    env = {**os.environ, "GIO_USE_PROXY_RESOLVER": "dummy", "GSETTINGS_BACKEND": "memory"}
    return started(SYSTEM_PYTHON, str(NBXMPP), *args, name="nbxmpp", env=env)


@cache
def _nbxmpp_is_missing() -> str:
    if shutil.which(SYSTEM_PYTHON) is None:
        return f"{SYSTEM_PYTHON} is missing"
    code = subprocess.run([SYSTEM_PYTHON, "-c", "import nbxmpp"], capture_output=True, check=False).returncode
    return "nbxmpp is missing" if code else ""


LIBRARIES: Final = (
    Library("strophe", partial(script, "strophe.mjs")),
    Library("stanza", partial(script, "stanzajs.mjs")),
    Library("xmppjs", _xmppjs),
    Library("nbxmpp", _nbxmpp),
    # The page shows people, not resources, and tells no kinds of messages apart.
    Library(
        "console",
        partial(script, "console.mjs"),
        untold=frozenset({"resources", "priority", "kind"}),
        is_page=True,
    ),
)
XMPPJS_WITH_SCRAM: Final = Library("xmppjs-scram", partial(script, "xmppjs.mjs"))
