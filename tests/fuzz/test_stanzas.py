"""Whatever clients say, every request has one answer, all of it is well-formed, and no handler fails."""

from __future__ import annotations

import logging
from collections import Counter
from random import Random
from xml.etree import ElementTree

import pytest

from fakes import World, got
from stanza_fuzz import ROOM, stanza
from xmppws.core.session import Session
from xmppws.errors import StreamError

REQUESTS = 40
NAMES = ("alice@localhost/one", "alice@localhost/two", "bob@localhost/one")

# Played one by one. A seed that finds something comes here.
CORPUS = range(5)


async def play(seed: int) -> Counter[str]:
    """Let three clients say what a seed gives; return what came back, by kind and type."""
    random = Random(seed)
    world = World(names=("alice", "bob", "carol"))
    sessions = [world.session(name, priority=random.choice((None, 0, -1, 5))) for name in NAMES]
    await world.dispatch.drain()
    if random.random() < 0.5:
        await meet(world, random.sample(sessions, random.randrange(1, 4)))
    seen: Counter[str] = Counter()
    for _ in range(REQUESTS):
        sender = random.choice(sessions)
        text = stanza(random)
        for session in sessions:
            got(session)
        try:
            await world.says(sender, text)
        except StreamError:
            seen["stream error"] += 1
            continue
        answers = [answer for session in sessions for answer in check(session)]
        seen.update(f"{answer.tag.rpartition('}')[2]} {answer.get('type')}" for answer in answers)
        check_answer(text, sender, answers)
    return seen


async def meet(world: World, sessions: list[Session]) -> None:
    """Let clients enter a room."""
    for session, nick in zip(sessions, ("Alice", "👋", "x"), strict=False):
        x = "<x xmlns='http://jabber.org/protocol/muc'/>"
        await world.says(session, f"<presence xmlns='jabber:client' to='{ROOM}/{nick}'>{x}</presence>")
        submit = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        await world.says(session, f"<iq xmlns='jabber:client' type='set' id='1' to='{ROOM}'>{submit}</iq>")


def check(session: Session) -> list[ElementTree.Element]:
    """Return what a client got: well-formed, for it, and from somebody."""
    elements = [ElementTree.fromstring(text) for text in got(session)]
    for element in elements:
        assert element.tag.startswith("{jabber:client}")
        assert element.get("to", session.jid.text).partition("/")[0] == session.account.text, element.attrib
    return elements


def check_answer(text: str, sender: Session, answers: list[ElementTree.Element]) -> None:
    """See that an IQ request has exactly one answer, unless another client is to give it."""
    said = ElementTree.fromstring(text)
    if said.tag != "{jabber:client}iq" or said.get("type") not in ("get", "set") or not said.get("id"):
        return
    if said.get("to", "").lower() in NAMES:
        return
    if said.get("to", "").startswith(f"{ROOM}/") and any(answer.get("type") in ("get", "set") for answer in answers):
        return  # Another occupant is to answer.
    to_sender = [one for one in answers if one.get("id") == said.get("id") and one.get("type") in ("result", "error")]
    assert len(to_sender) == 1, text
    assert to_sender[0].get("to") == sender.jid.text


@pytest.mark.parametrize("seed", CORPUS)
async def test_seed(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    await play(seed)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_short(caplog: pytest.LogCaptureFixture) -> None:
    seen: Counter[str] = Counter()
    for seed in range(100, 220):
        seen += await play(seed)
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == [], seed
    # Otherwise this says little.
    for wanted in (
        "iq result",
        "iq error",
        "iq set",
        "message error",
        "message chat",
        "presence None",
        "presence subscribe",
        "presence unavailable",
        "message groupchat",
    ):
        assert seen[wanted] > 10, (wanted, seen)


@pytest.mark.soak
async def test_long(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(1_000, 101_000):
        await play(seed)
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == [], seed
