"""Other people's client libraries, all told what to do in the same words, so that one suite drives them all.

A script of tests/e2e/js or tests/e2e/py translates between these words and one library. It logs in, asks for the roster,
sends presence, and comes back when the connection is lost. Each action is answered with "done" and a result, or with
"failed" and the condition of the stanza error:

    roster                          the items: jid, name, subscription, ask
    set (jid, name) · remove (jid)  change the roster
    subscribe · unsubscribe (jid)   to and from somebody's presence
    approve · deny (jid)            somebody's subscription; to deny one that was approved is to cancel it
    presence (show, status, priority)
    message (to, body, type)        the stanza's id
    unknown (jid)                   a request that nobody understands
    block · unblock (jid)
    blocked                         the block list
    set-vcard (name)
    vcard (jid)                     the full name
    disco (jid)                     features and identities, as category/type
    ping                            the own server
    leave                           log out

What happens is told as it comes:

    online (jid, roster) · offline · refused (condition)
    contact (jid, name, subscription, ask)            a roster push
    presence (from, type, show, status, priority)     type available, unavailable, subscribe, subscribed ...
    message (from, type, body, delay)                 delay is null for what was not delayed
    undelivered (from, id, condition)                 a message that came back
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from browser import chromium
from lines import Script, started
from node import script

Start: TypeAlias = Callable[[str, str, str], AbstractAsyncContextManager[Script]]

# Debian's: nbxmpp is in no virtual environment, as it needs GLib.
SYSTEM_PYTHON: Final = "/usr/bin/python3"
NBXMPP: Final = Path(__file__).parent / "e2e" / "py" / "nbxmpp_client.py"


class Failed(Exception):
    """An action was answered with an error; its text is the condition."""


@dataclass(frozen=True)
class Library:
    """`start` takes a URL, a JID and a password; `untold` are facts that its events do not hold."""

    name: str
    start: Start
    untold: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name


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
        return event["event"] == name and all(
            self._agrees(key.rstrip("_"), value, event.get(key.rstrip("_"))) for key, value in facts.items()
        )

    def _agrees(self, key: str, wanted: Any, told: Any) -> bool:
        if key in self.library.untold:
            assert told is None, f"{self.library} does tell {key}"
            return True
        if key == "from" and ("/" not in wanted or "resource" in self.library.untold):
            return bare(told) == bare(wanted)
        return bool(told == wanted)


def bare(jid: str) -> str:
    return jid.partition("/")[0]


@asynccontextmanager
async def joined(library: Library, url: str, jid: str, password: str) -> AsyncIterator[Person]:
    """Log somebody in until the block ends."""
    async with library.start(url, jid, password) as running:
        person = Person(running, library)
        person.jid = (await person.sees("online"))["jid"]
        yield person


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


@asynccontextmanager
async def _console(*args: str) -> AsyncIterator[Script]:
    with tempfile.TemporaryDirectory() as directory:
        env = {**os.environ, "TMPDIR": directory, "HOME": directory}
        async with script("console.mjs", chromium(), *args, env=env) as running:
            yield running


LIBRARIES: Final = (
    Library("strophe", partial(script, "strophe.mjs")),
    Library("stanza", partial(script, "stanzajs.mjs")),
    Library("xmppjs", partial(script, "xmppjs.mjs")),
    Library("nbxmpp", _nbxmpp),
)
