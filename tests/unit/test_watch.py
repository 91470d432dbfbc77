"""Those who watch a user."""

from __future__ import annotations

import logging

import pytest

from fakes import World
from xmppws.core.admin import Row
from xmppws.core.watch import Direction, Happening, Watch, watch_sessions
from xmppws.errors import End, Reason, Side


class Keeper:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def message(self, id: str, direction: Direction, message: bytes) -> None:
        self.seen.append((id, direction, message))

    def happening(self, id: str, what: Happening, facts: Row) -> None:
        self.seen.append((id, what, facts))


class Failing:
    def message(self, id: str, direction: Direction, message: bytes) -> None:
        raise RuntimeError("of its own")

    def happening(self, id: str, what: Happening, facts: Row) -> None:
        raise RuntimeError("of its own")


def test_a_watcher_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    watch, keeper = Watch(), Keeper()
    watch.watchers += [Failing(), keeper]
    with caplog.at_level(logging.ERROR):
        watch.show("c1", Direction.IN, b"<a/>", b"<b/>")
        watch.tell("c1", Happening.LOGGED_IN, address="192.0.2.1")
    assert keeper.seen == [
        ("c1", Direction.IN, b"<a/>"),
        ("c1", Direction.IN, b"<b/>"),
        ("c1", Happening.LOGGED_IN, {"address": "192.0.2.1"}),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "id=c1: a message could not be shown",
        "id=c1: a message could not be shown",
        "id=c1: what happens could not be shown",
    ]


async def test_only_the_sessions_of_the_user_are_told_of() -> None:
    world, watch, keeper = World(), Watch(), Keeper()
    watch.watchers.append(keeper)
    watch_sessions(world.host, {"alice@localhost": watch})
    alice, bob = world.session("alice@localhost/x"), world.session("bob@localhost/x")
    for session in (alice, bob):
        world.host.unbind(session, End(Reason.CLIENT_CLOSE, Side.CLIENT))
    await world.dispatch.drain()
    jid = {"jid": "alice@localhost/x"}
    why = {"reason": "client-close", "by": "client", "text": ""}
    assert keeper.seen == [("id", Happening.BOUND, jid), ("id", Happening.ENDED, {**jid, **why})]
