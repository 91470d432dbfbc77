"""The specifications' examples, played against the real server; the table of them is tests/dialogues/README.md."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dialogue import FOLDER, Dialogue, Mismatch, Stage, Step, dialogues, read, table
from servers import config, running
from xmppws.config import ConfigError, Host


@pytest.mark.parametrize("dialogue", dialogues(), ids=lambda dialogue: dialogue.name)
async def test_dialogue(dialogue: Dialogue) -> None:
    await play(dialogue)


async def play(dialogue: Dialogue) -> None:
    hosts = {"localhost": Host(http_host=("localhost", "127.0.0.1"), modules=dialogue.modules)}
    async with running(config(hosts=hosts)) as server, AsyncExitStack() as connections:
        await Stage(dialogue, server, connections).play()


def test_the_table_is_up_to_date() -> None:
    assert (FOLDER / "README.md").read_text() == table(), "run: make docs"


ADDRESSES = "from='alice@localhost/a' to='bob@localhost/b'"


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (f"<message {ADDRESSES} type='chat'><body>Hello</body></message>", None),
        ("<message from='alice@localhost/a' to='{*}' type='{type}'><any/></message>", None),
        (f"<message {ADDRESSES}><body>Hello</body></message>", "type of"),
        (f"<message {ADDRESSES} type='chat' id='1'><body>Hello</body></message>", "id of"),
        (f"<message {ADDRESSES} type='chat'><body>Hi</body></message>", "text of"),
        (f"<message {ADDRESSES} type='chat'/>", "1 children"),
        (f"<presence {ADDRESSES}/>", "expected <{jabber:client}presence>"),
        (f"<message {ADDRESSES} type='chat'><any/><body>Hello</body><any/></message>", None),
        (f"<message {ADDRESSES} type='chat'><any/><thread>1</thread></message>", "no such children"),
        (f"<message {ADDRESSES} type='chat' xml:lang='de'><any/></message>", "lang of"),
        ("", "also received"),
    ],
)
async def test_a_dialogue_can_fail(xml: str, why: str | None) -> None:
    said = "<message to='bob@localhost/b' type='chat'><body>Hello</body></message>"
    steps = [
        Step(1, "alice@localhost/a", "connects", "", ""),
        Step(2, "bob@localhost/b", "connects", "", ""),
        Step(3, "alice", "sends", "", said),
        *([Step(4, "bob", "receives", "", xml)] if xml else []),
    ]
    dialogue = Dialogue("made", "", "", tuple(steps))
    if why is None:
        await play(dialogue)
    else:
        with pytest.raises(Mismatch, match="made") as raised:
            await play(dialogue)
        assert why in str(raised.value)


async def test_a_connection_that_stays_is_not_disconnected() -> None:
    said = "<message to='alice@localhost/a'/>"
    steps = (
        Step(1, "alice@localhost/a", "connects"),
        Step(2, "alice", "sends", xml=said),
        Step(3, "alice", "is disconnected"),
    )
    with pytest.raises(Mismatch, match=r"made.txt:3: .*came: <.*message"):
        await play(Dialogue("made", "", "", steps))


async def test_the_settings_of_a_dialogue_are_those_of_its_server() -> None:
    with pytest.raises(ConfigError):
        await play(Dialogue("made", "", "", (), {"offline": {"max_messages": 0}}))


@pytest.mark.parametrize("text", ["alice waves", "alice sends", "alice receives\n<message>"])
def test_what_is_no_dialogue_is_explained(text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text(f"A title\nRFC 1\n\n{text}\n")
    with pytest.raises(ValueError, match=r"file.txt:4: "):
        read(file)
    file.write_text(f"A title\n\n{text}\n")
    with pytest.raises(ValueError, match=r"file.txt:1: "):
        read(file)
