"""Dialogues: what clients send and what they receive, as text, played against the real server.

A dialogue is a file of tests/dialogues/. Its first line says what it shows, its second one of which specification:

    A subscription is asked for and granted
    RFC 6121 section 3.1

    alice@localhost/one comes online
    bob@localhost/one comes online

    alice sends
    <presence to='bob@localhost' type='subscribe'/>

    bob receives
    <presence from='alice@localhost' to='bob@localhost' type='subscribe'/>

    bob receives nothing

Accounts are alice, bob and carol on localhost. A step is a line, and for `sends` and `receives` one element after it,
up to the next empty line; a stanza is in jabber:client where it says nothing else. Steps:

    NAME dials              opens a WebSocket, and no more: what follows is the stream itself
    JID connects            logs in and binds the resource; the name is the localpart, or "NAME: JID connects"
    JID comes online        the same, then asks for the roster, sends presence and drops what comes of that
    NAME sends              the element, as it stands
    NAME receives           the next element that came; what is left over at the end of the dialogue is a mistake
    NAME receives nothing   whatever was sent so far
    NAME drops all          what has come until now
    NAME leaves             closes the stream, and waits until the server has seen to all that follows
    NAME is cut off         loses the connection without a word

What is received is compared by names, attributes, text and children in order. `{name}` in an attribute or a text stands
for anything the first time, for the same text afterwards, in what is sent too; `{*}` for anything each time. A child
`<any/>` stands for all further children. Attributes `xml:lang` need not be mentioned.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from clients import Client, connected
from servers import PASSWORDS, Running

FOLDER: Final = Path(__file__).parent / "dialogues"
CLIENT: Final = "jabber:client"
LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
SYNC: Final = "sync-{}"

_STEP: Final = re.compile(
    r"(?:(?P<alias>\w+): )?(?P<who>\S+) "
    r"(?P<what>dials|connects|comes online|sends|receives nothing|receives|drops all|leaves|is cut off)"
)


_HEADING: Final = """# What the specifications say, as dialogues

Each is played against the real server by tests/integration/test_dialogues.py; tests/dialogue.py says how to write one.
Made by `make docs`.
"""


@dataclass(frozen=True)
class Step:
    """One step, with the line it stands on."""

    line: int
    who: str
    what: str
    alias: str
    xml: str


@dataclass(frozen=True)
class Dialogue:
    """A file of dialogue."""

    name: str
    title: str
    source: str
    steps: tuple[Step, ...]


class Mismatch(AssertionError):
    """A dialogue went otherwise than it says."""


def dialogues() -> list[Dialogue]:
    """Return all dialogues, sorted by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def read(path: Path) -> Dialogue:
    """Read a file; raise ValueError with file and line for what is no dialogue."""
    lines = path.read_text().splitlines()
    return Dialogue(path.stem, lines[0], lines[1], tuple(_steps(path, lines)))


def table() -> str:
    """Return the text of tests/dialogues/README.md."""
    rows = defaultdict(list)
    for dialogue in dialogues():
        rows[dialogue.source].append(f"[{dialogue.title}]({dialogue.name}.txt)")
    lines = [f"| {source} | {'<br>'.join(titles)} |" for source, titles in sorted(rows.items(), key=_order)]
    return "\n".join([_HEADING, "| specification | dialogues |", "|---|---|", *lines, ""])


def _order(row: tuple[str, list[str]]) -> list[tuple[int, str]]:
    # Numbers by value: section 8.5 before section 8.10, XEP-0030 before XEP-0191.
    return [(int(part) if part.isdigit() else 0, part) for part in re.split(r"[ .-]", row[0])]


def _steps(path: Path, lines: list[str]) -> Iterator[Step]:
    number = 2
    while number < len(lines):
        line, start = lines[number].strip(), number + 1
        number += 1
        if not line:
            continue
        match = _STEP.fullmatch(line)
        if match is None:
            raise ValueError(f"{path.name}:{start}: no step: {line}")
        body = []
        if match["what"] in ("sends", "receives"):
            while number < len(lines) and lines[number].strip():
                body.append(lines[number].strip())
                number += 1
            if not body:
                raise ValueError(f"{path.name}:{start}: no element follows: {line}")
        yield Step(start, match["who"], match["what"], match["alias"] or "", "".join(body))


class Stage:
    """A dialogue that is being played."""

    def __init__(self, dialogue: Dialogue, server: Running, connections: AsyncExitStack) -> None:
        self._connections = connections
        self._dialogue = dialogue
        self._server = server
        self._clients: dict[str, Client] = {}
        self._inboxes: dict[str, list[ElementTree.Element]] = {}
        self._known: dict[str, str] = {}
        self._syncs = 0

    async def play(self) -> None:
        """Play it to its end; raise `Mismatch`."""
        for step in self._dialogue.steps:
            try:
                await self._take(step)
            except (Mismatch, TimeoutError, AssertionError, KeyError) as error:
                raise Mismatch(f"{self._dialogue.name}.txt:{step.line}: {step.who} {step.what}: {error!s}") from error
        await self._settle()
        for name, inbox in self._inboxes.items():
            if inbox:
                raise Mismatch(f"{self._dialogue.name}.txt: {name} also received {_text(inbox[0])}")

    async def _take(self, step: Step) -> None:
        what, who = step.what, step.who
        if what == "dials":
            await self._dial(who, "localhost")
        elif what in ("connects", "comes online"):
            await self._connect(step.alias or who.partition("@")[0], who, online=what == "comes online")
        elif what == "sends":
            await self._clients[who].send(_sendable(self._filled(step.xml)))
        elif what == "leaves":
            await self._clients.pop(who).close()
            await self._settle()
        elif what == "is cut off":
            self._cut(self._clients.pop(who))
            await self._settle()
        else:
            await self._settle()
            await self._compare(step)

    async def _dial(self, name: str, domain: str) -> Client:
        client = await self._connections.enter_async_context(connected(self._server.url, domain))
        self._clients[name], self._inboxes[name] = client, []
        return client

    async def _connect(self, name: str, jid: str, *, online: bool) -> None:
        account, _, resource = jid.partition("/")
        username, _, domain = account.partition("@")
        client = await self._dial(name, domain)
        await client.login(username, PASSWORDS[username], resource=resource, presence=False)
        if online:
            await client.iq("get", "<query xmlns='jabber:iq:roster'/>")
            await client.send("<presence xmlns='jabber:client'/>")
            await self._settle()
            self._inboxes[name].clear()

    def _cut(self, client: Client) -> None:
        for connection in self._server.server.endpoint.connections:
            if connection.name == client.jid:
                connection.abort()

    async def _compare(self, step: Step) -> None:
        inbox = self._inboxes[step.who]
        if step.what == "drops all":
            inbox.clear()
        elif step.what == "receives nothing":
            if inbox:
                raise Mismatch(f"came: {_text(inbox[0])}")
        else:
            if not inbox and not self._clients[step.who].jid:
                inbox.append(await self._clients[step.who].receive())
            if not inbox:
                raise Mismatch("nothing came")
            expected = ElementTree.fromstring(_sendable(step.xml))
            received = inbox.pop(0)
            try:
                self._match(expected, received)
            except Mismatch as error:
                raise Mismatch(f"{error}\n  came: {_text(received)}") from None

    async def _settle(self) -> None:
        """Wait until the server has done all that follows from what was sent, and take in what came of it."""
        await self._take_in()
        await self._server.server.dispatch.drain()
        await self._take_in()

    async def _take_in(self) -> None:
        for name, client in self._clients.items():
            if not client.jid:
                continue  # Nobody answers a ping before the login.
            self._syncs += 1
            id = SYNC.format(self._syncs)
            await client.send(f"<iq xmlns='{CLIENT}' type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>")
            while (element := await client.receive()).get("id") != id:
                self._inboxes[name].append(element)

    def _filled(self, xml: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: self._known[match[1]], xml)

    def _match(self, expected: ElementTree.Element, received: ElementTree.Element) -> None:
        if expected.tag != received.tag:
            raise Mismatch(f"expected <{expected.tag}>, came <{received.tag}>")
        for name in {*expected.keys(), *received.keys()} - {LANG}:
            self._match_text(f"{name} of <{expected.tag}>", expected.get(name), received.get(name))
        self._match_text(f"text of <{expected.tag}>", (expected.text or "").strip(), (received.text or "").strip())
        children = list(expected)
        rest = bool(children) and children[-1].tag.rpartition("}")[2] == "any"
        if rest:
            children.pop()
        if len(received) < len(children) or (len(received) > len(children) and not rest):
            raise Mismatch(f"<{expected.tag}> has {len(received)} children, expected {len(children)}")
        for one, other in zip(children, received, strict=False):
            self._match(one, other)

    def _match_text(self, where: str, expected: str | None, received: str | None) -> None:
        if expected is not None and received is not None:
            if expected == "{*}":
                return
            if re.fullmatch(r"\{\w+\}", expected):
                expected = self._known.setdefault(expected[1:-1], received)
        if expected != received:
            raise Mismatch(f"{where}: expected {expected!r}, came {received!r}")


def _sendable(xml: str) -> str:
    """Put a stanza into jabber:client where it says nothing else."""
    return re.sub(r"^<(message|presence|iq)(?![^>]*xmlns=['\"]jabber:client)", rf"<\1 xmlns='{CLIENT}'", xml)


def _text(element: ElementTree.Element) -> str:
    return ElementTree.tostring(element, encoding="unicode")


if __name__ == "__main__":
    print(table(), end="")
