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

Accounts are alice, bob and carol on localhost. Lines that follow the second one at once are options of modules, as
they stand under [modules] of a configuration. A step is a line, and for `sends` and `receives` one element after it, up
to the next empty line; a stanza is in jabber:client where it says nothing else. A line that begins with # is a remark.
Steps:

    NAME sees NAME          makes the first account a subscriber of the second, before they connect
    NAME dials              opens a WebSocket, and no more: what follows is the stream itself
    JID connects            logs in and binds the resource; the name is the localpart, or "NAME: JID connects"
    JID comes online        the same, then asks for the roster, sends presence and drops what comes of that
    NAME sends              the element, as it stands
    NAME receives           the next element that came; what is left over at the end of the dialogue is a mistake
    NAME receives nothing   whatever was sent so far
    NAME drops all          what has come until now
    NAME leaves             closes the stream, and waits until the server has seen to all that follows
    NAME is cut off         loses the connection without a word
    NAME is disconnected    the server closes the WebSocket, after all that was received

What is received is compared by names, attributes, text and children in order. `{name}` in an attribute or a text stands
for anything the first time, for the same text afterwards, in what is sent too; `{*}` for anything each time. A child
`<any/>` stands for any number of children. Attributes `xml:lang` and the ids of archives (`<stanza-id/>`) need not be
mentioned. In what is sent, `{3 ab}` is ababab.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from clients import FRAMING, Client, Closed, connected
from servers import PASSWORDS, Running
from xmppws.core.roster import RosterItem, Subscription
from xmppws.http.connection import Connection
from xmppws.jid import Jid

FOLDER: Final = Path(__file__).parent / "dialogues"
CLIENT: Final = "jabber:client"
LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
STANZA_ID: Final = "{urn:xmpp:sid:0}stanza-id"
SYNC: Final = "sync-{}"

_STEP: Final = re.compile(
    r"(?:(?P<alias>\w+): )?(?P<who>\S+) (?:sees (?P<whom>\w+)|(?P<what>dials|connects|comes online|sends|receives"
    r"|receives nothing|drops all|leaves|is cut off|is disconnected))"
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
    alias: str = ""
    xml: str = ""
    whom: str = ""


@dataclass(frozen=True)
class Dialogue:
    """A file of dialogue."""

    name: str
    title: str
    source: str
    steps: tuple[Step, ...]
    modules: dict[str, Any] = field(default_factory=dict)


class Mismatch(AssertionError):
    """A dialogue went otherwise than it says."""


def dialogues() -> list[Dialogue]:
    """Return all dialogues, sorted by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def read(path: Path) -> Dialogue:
    """Read a file; raise ValueError with file and line for what is no dialogue."""
    lines = path.read_text().splitlines()
    head = lines.index("") if "" in lines else len(lines)
    if head < 2:
        raise ValueError(f"{path.name}:1: a title and a source come first, then an empty line")
    modules = tomllib.loads("\n".join(lines[2:head]))
    return Dialogue(path.stem, lines[0], lines[1], tuple(_steps(path, lines, head)), modules)


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


def _steps(path: Path, lines: list[str], number: int) -> Iterator[Step]:
    while number < len(lines):
        line, start = lines[number].strip(), number + 1
        number += 1
        if not line or line.startswith("#"):
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
        if match["what"] == "receives":
            try:
                ElementTree.fromstring("".join(body))
            except ElementTree.ParseError as error:
                raise ValueError(f"{path.name}:{start}: {error}: {line}") from None
        what, whom = match["what"] or "sees", match["whom"] or ""
        yield Step(start, match["who"], what, match["alias"] or "", "".join(body), whom)


class Stage:
    """A dialogue that is being played."""

    def __init__(self, dialogue: Dialogue, server: Running, connections: AsyncExitStack) -> None:
        self._connections = connections
        self._dialogue = dialogue
        self._server = server
        self._clients: dict[str, Client] = {}
        self._inboxes: dict[str, list[ElementTree.Element]] = {}
        # Whose stream the server has closed: they are asked for nothing any more.
        self._closed: set[str] = set()
        self._known: dict[str, str] = {}
        self._syncs = 0

    async def play(self) -> None:
        """Play it to its end; raise `Mismatch`."""
        for step in self._dialogue.steps:
            try:
                await self._take(step)
            except (Mismatch, TimeoutError, AssertionError, KeyError, Closed) as error:
                raise Mismatch(f"{self._dialogue.name}.txt:{step.line}: {step.who} {step.what}: {error!r}") from error
        await self._settle()
        for name, inbox in self._inboxes.items():
            if inbox:
                raise Mismatch(f"{self._dialogue.name}.txt: {name} also received {_text(inbox[0])}")

    async def _take(self, step: Step) -> None:
        what, who = step.what, step.who
        if what == "sees":
            await self._subscribe(who, step.whom)
        elif what == "dials":
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
        elif what == "is disconnected":
            await self._disconnected(who)
        else:
            await self._settle()
            await self._compare(step)

    async def _subscribe(self, subscriber: str, contact: str) -> None:
        rosters = self._server.server.hosts["localhost"].stores.map("roster", RosterItem)
        for owner, other, half in (
            (subscriber, contact, Subscription.TO),
            (contact, subscriber, Subscription.FROM),
        ):
            known = await rosters.get(owner, f"{other}@localhost")
            whole = known is not None and known.subscription is not half
            subscription = Subscription.BOTH if whole else half
            await rosters.set(owner, f"{other}@localhost", RosterItem(subscription=subscription))

    async def _dial(self, name: str, domain: str) -> Client:
        self._closed.discard(name)
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
        session = self._server.server.hosts["localhost"].sessions.find(Jid.parse(client.jid))
        assert session is not None and isinstance(session.stream, Connection)
        session.stream.abort()

    async def _disconnected(self, name: str) -> None:
        if not self._inboxes[name]:
            try:
                self._inboxes[name].append(await self._clients[name].receive())
            except Closed:
                del self._clients[name]
                return
        raise Mismatch(f"came: {_text(self._inboxes[name][0])}")

    async def _compare(self, step: Step) -> None:
        inbox = self._inboxes[step.who]
        if step.what == "drops all":
            inbox.clear()
        elif step.what == "receives nothing":
            if inbox:
                raise Mismatch(f"came: {_text(inbox[0])}")
        else:
            if not inbox and not self._is_asked(step.who):
                inbox.append(await self._clients[step.who].receive())
            if not inbox:
                raise Mismatch("nothing came")
            received = inbox.pop(0)
            try:
                self._match(ElementTree.fromstring(_sendable(step.xml)), received)
            except Mismatch as error:
                raise Mismatch(f"{error}\n  came: {_text(received)}") from None

    async def _settle(self) -> None:
        """Wait until the server has done all that follows from what was sent, and take in what came of it."""
        await self._take_in()
        await self._server.server.dispatch.drain()
        await self._take_in()

    async def _take_in(self) -> None:
        for name, client in self._clients.items():
            if self._is_asked(name):
                self._syncs += 1
                id = SYNC.format(self._syncs)
                await client.send(f"<iq xmlns='{CLIENT}' type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>")
                await self._take_in_until(name, id)

    async def _take_in_until(self, name: str, id: str) -> None:
        while (element := await self._clients[name].receive()).get("id") != id:
            self._inboxes[name].append(element)
            if element.tag == f"{{{FRAMING}}}close":
                self._closed.add(name)
                return

    def _is_asked(self, name: str) -> bool:
        # Nobody answers a ping before the login.
        return bool(self._clients[name].jid) and name not in self._closed

    def _filled(self, xml: str) -> str:
        xml = re.sub(r"\{(\d+) (\w+)\}", lambda match: int(match[1]) * match[2], xml)
        return re.sub(r"\{(\w+)\}", lambda match: self._known[match[1]], xml)

    def _match(self, expected: ElementTree.Element, received: ElementTree.Element) -> None:
        if expected.tag != received.tag:
            raise Mismatch(f"expected <{expected.tag}>, came <{received.tag}>")
        for name in {*expected.keys(), *received.keys()} - ({LANG} - {*expected.keys()}):
            self._match_text(f"{name} of <{expected.tag}>", expected.get(name), received.get(name))
        self._match_text(f"text of <{expected.tag}>", (expected.text or "").strip(), (received.text or "").strip())
        self._match_children(expected.tag, list(expected), _named(expected, received))

    def _match_children(
        self, where: str, expected: Sequence[ElementTree.Element], received: Sequence[ElementTree.Element]
    ) -> None:
        for index, child in enumerate(expected):
            if child.tag.rpartition("}")[2] == "any":
                self._match_after(where, expected[index + 1 :], received[index:])
                return
            if index == len(received):
                break
            self._match(child, received[index])
        if len(expected) != len(received):
            raise Mismatch(f"<{where}> has {len(received)} children, expected {len(expected)}")

    def _match_after(
        self, where: str, expected: Sequence[ElementTree.Element], received: Sequence[ElementTree.Element]
    ) -> None:
        """Match from any place on."""
        known = dict(self._known)
        for index in range(len(received)) if expected else ():
            try:
                self._match_children(where, expected, received[index:])
                return
            except Mismatch:
                self._known = dict(known)
        if expected:
            raise Mismatch(f"<{where}> has no such children: {' '.join(map(_text, expected))}")

    def _match_text(self, where: str, expected: str | None, received: str | None) -> None:
        if expected is not None and received is not None:
            if expected == "{*}":
                return
            if re.fullmatch(r"\{\w+\}", expected):
                expected = self._known.setdefault(expected[1:-1], received)
        if expected != received:
            raise Mismatch(f"{where}: expected {expected!r}, came {received!r}")


def _named(expected: ElementTree.Element, received: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the children that came, but the id of an archive only where a dialogue names one."""
    is_named = expected.find(STANZA_ID) is not None
    return [child for child in received if is_named or child.tag != STANZA_ID]


def _sendable(xml: str) -> str:
    """Put a stanza into jabber:client where it says nothing else."""
    return re.sub(r"^<(message|presence|iq)(?![^>]*xmlns=['\"]jabber:client)", rf"<\1 xmlns='{CLIENT}'", xml)


def _text(element: ElementTree.Element) -> str:
    return ElementTree.tostring(element, encoding="unicode")


if __name__ == "__main__":
    print(table(), end="")
