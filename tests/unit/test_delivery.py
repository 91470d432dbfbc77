"""What becomes of a message: every row of RFC 6121 section 8.5.4, through dispatch."""

from __future__ import annotations

import pytest

from fakes import World, got
from xmppws.core.delivery import MESSAGES, Action, Situation
from xmppws.core.events import MessageToUser, MessageUndelivered
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.module import Module, on

TYPES = ("normal", "chat", "groupchat", "headline", "error")
SESSIONS: dict[Situation, dict[str, int | None]] = {
    Situation.BARE_AVAILABLE: {"a": 0, "b": 5, "negative": -1, "silent": None},
    Situation.BARE_EMPTY: {"negative": -1, "silent": None},
    Situation.FULL_AVAILABLE: {"a": 0, "b": 5, "negative": -1},
    Situation.FULL_EMPTY: {"negative": -1, "silent": None},
}


def test_the_table_is_whole() -> None:
    assert set(MESSAGES) == {(situation, type) for situation in Situation for type in TYPES}


class Keeps(Module):
    name = "keeps"

    @on(MessageUndelivered, Phase.DELIVER)
    async def keep(self, event: MessageUndelivered) -> Verdict:
        self.host.kept.append(event.stanza.type)  # type: ignore[attr-defined]
        return STOP


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("situation", list(Situation))
async def test_a_message_goes_where_the_table_says(situation: Situation, type: str, keeps: bool) -> None:
    world = World(*([Keeps] if keeps else []), without=("offline",))
    world.host.kept = []  # type: ignore[attr-defined]
    alice = world.session("alice@localhost/a")
    bobs = {name: world.session(f"bob@localhost/{name}") for name in SESSIONS[situation]}
    for name, priority in SESSIONS[situation].items():
        if priority is not None:
            await world.says(bobs[name], f"<presence xmlns='jabber:client'><priority>{priority}</priority></presence>")
    for session in bobs.values():
        got(session)
    to = "bob@localhost/gone" if situation in (Situation.FULL_AVAILABLE, Situation.FULL_EMPTY) else "bob@localhost"
    await world.says(alice, f"<message xmlns='jabber:client' to='{to}' type='{type}' id='1'><body>x</body></message>")

    received = {name for name, session in bobs.items() if got(session)}
    answers = got(alice)
    kept = world.host.kept  # type: ignore[attr-defined]
    action = MESSAGES[situation, type]
    assert received == ({"a", "b"} if action is Action.DELIVER else set())
    assert kept == ([type] if action is Action.KEEP and keeps else [])
    if action is Action.ERROR or (action is Action.KEEP and not keeps):
        (answer,) = answers
        assert "service-unavailable" in answer and 'type="error"' in answer and 'id="1"' in answer
    else:
        assert answers == []


@pytest.mark.parametrize("type", TYPES)
async def test_a_full_jid_that_is_there_gets_every_type(type: str) -> None:
    world = World()
    alice, silent, other = (world.session(f"{name}@localhost/r") for name in ("alice", "bob", "carol"))
    await world.says(
        alice, f"<message xmlns='jabber:client' to='bob@localhost/r' type='{type}'><body>x</body></message>"
    )
    (message,) = got(silent)
    assert 'from="alice@localhost/r"' in message and 'to="bob@localhost/r"' in message
    assert got(other) == [] and got(alice) == []


async def test_no_such_account_answers_like_one_without_a_session() -> None:
    world = World(without=("offline",))
    alice = world.session("alice@localhost/a")
    answers = []
    for name in ("bob", "nobody"):
        await world.says(alice, f"<message xmlns='jabber:client' to='{name}@localhost' type='chat' id='1'/>")
        answers += got(alice)
    assert answers[0].replace("bob@", "nobody@") == answers[1]


async def test_only_accounts_that_exist_have_messages_kept() -> None:
    world = World(Keeps, without=("offline",))
    world.host.kept = []  # type: ignore[attr-defined]
    alice = world.session("alice@localhost/a")
    await world.says(alice, "<message xmlns='jabber:client' to='nobody@localhost' type='chat'/>")
    assert world.host.kept == [] and "service-unavailable" in got(alice)[0]  # type: ignore[attr-defined]


async def test_an_unknown_type_is_normal_and_a_message_to_nobody_is_to_oneself() -> None:
    world = World()
    alice = world.session("alice@localhost/a", priority=0)
    await world.dispatch.drain()
    got(alice)
    await world.says(alice, "<message xmlns='jabber:client' type='strange'><body>note</body></message>")
    (message,) = got(alice)
    assert 'to="alice@localhost"' in message and "note" in message


@pytest.mark.parametrize(
    ("stanza", "answer"),
    [
        ("<message to='localhost'/>", "service-unavailable"),
        ("<message to='localhost' type='error'/>", None),
        ("<presence to='localhost'/>", None),
        ("<iq to='localhost/r' type='get' id='1'><x xmlns='y'/></iq>", "service-unavailable"),
        ("<iq to='localhost' type='get' id='1'><x xmlns='y'/></iq>", "service-unavailable"),
        ("<iq to='bob@localhost' type='set' id='1'><x xmlns='y'/></iq>", "service-unavailable"),
        ("<iq to='bob@localhost/gone' type='get' id='1'><x xmlns='y'/></iq>", "service-unavailable"),
        ("<iq to='bob@localhost/gone' type='result' id='1'/>", None),
        ("<iq to='localhost' type='result' id='1'/>", None),
        ("<iq to='localhost' type='get' id='1'/>", "bad-request"),
        ("<iq to='localhost' type='get'><x xmlns='y'/></iq>", "bad-request"),
        ("<iq to='localhost' type='ask' id='1'><x xmlns='y'/></iq>", "bad-request"),
        ("<iq to='a@b@c' type='get' id='1'><x xmlns='y'/></iq>", "jid-malformed"),
        ("<message to='elsewhere.example'/>", "remote-server-not-found"),
        ("<message to='elsewhere.example' type='error'/>", None),
        ("<presence to='bob@localhost' type='strange'/>", "bad-request"),
        ("<presence type='subscribe'/>", "bad-request"),
        ("<presence to='alice@localhost' type='subscribe'/>", "not-allowed"),
        ("<presence type='probe'/>", "bad-request"),
        ("<presence><priority>200</priority></presence>", "bad-request"),
        ("<presence><priority>high</priority></presence>", "bad-request"),
    ],
)
async def test_other_addresses_and_mistakes(stanza: str, answer: str | None) -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    await world.says(
        alice,
        stanza.replace(" ", " xmlns='jabber:client' ", 1).replace("<presence>", "<presence xmlns='jabber:client'>"),
    )
    answers = got(alice)
    if answer is None:
        assert answers == []
    else:
        assert len(answers) == 1 and f"<{answer} " in answers[0] and 'type="error"' in answers[0]


class Guards(Module):
    name = "guards"

    @on(MessageToUser, Phase.GUARD)
    async def guard(self, event: MessageToUser) -> Verdict:
        body = event.stanza.element.findtext("{jabber:client}body")
        if body == "fail":
            raise RuntimeError("secret insides")
        return STOP if body == "stop" else None


async def test_a_guard_stops_a_message_and_a_failing_one_ends_it_with_an_error() -> None:
    world = World(Guards)
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b")
    for body in ("stop", "fail", "pass"):
        await world.says(alice, f"<message xmlns='jabber:client' to='{bob.jid}'><body>{body}</body></message>")
    (message,) = got(bob)
    assert "pass" in message
    (error,) = got(alice)
    assert "internal-server-error" in error and "secret" not in error
