"""XEP-0198's counters against a model: a client that loses, repeats and acknowledges what it likes."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from xmppws.jid import Jid
from xmppws.stream import sm
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza, message
from xmppws.xml.writer import element

ALICE, BOB = Jid.parse("alice@a.test/x"), Jid.parse("bob@b.test")


def stanza(number: int) -> Stanza:
    body = element(ns.CLIENT, "body", text=str(number))
    return message("chat", [body], to=ALICE, sender=BOB)


class Machine(RuleBasedStateMachine):
    """The server's side is real, the client's a list of what has come over a connection that is cut at times."""

    def __init__(self) -> None:
        super().__init__()
        self.acks = sm.Acks(10**6, 10**9)
        # Near the end of the numbers, so that they begin anew.
        self.acks._acked = self.h = 2**32 - 3
        self.sent = 0
        self.seen: list[bytes] = []
        self.under_way: list[bytes] = []
        self.connected = True

    @rule()
    def send(self) -> None:
        made = stanza(self.sent)
        self.sent += 1
        self.acks.sent(made, 0.0)
        if self.connected:
            self.under_way.append(made.wire)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, len(self.under_way)))):
            self.seen.append(self.under_way.pop(0))
            self.h = (self.h + 1) % 2**32

    @precondition(lambda self: self.connected)
    @rule()
    def acknowledge(self) -> None:
        self.acks.acknowledge(self.h)

    @rule()
    def cut(self) -> None:
        self.connected = False
        self.under_way.clear()

    @precondition(lambda self: not self.connected)
    @rule()
    def resume(self) -> None:
        again = self.acks.resume(self.h)
        self.connected = True
        self.under_way = [each for each in again if each != sm.REQUEST]

    @rule(more=st.integers(1, 2**31))
    def acknowledge_too_much(self, more: int) -> None:
        before = list(self.acks)
        never_sent = (self.acks._acked + len(self.acks) + more) % 2**32
        with pytest.raises(sm.HandledTooHigh):
            self.acks.acknowledge(never_sent)
        assert list(self.acks) == before

    @invariant()
    def nothing_is_lost_doubled_or_out_of_order(self) -> None:
        assert self.seen == [stanza(number).wire for number in range(len(self.seen))]
        if self.connected:
            assert len(self.seen) + len(self.under_way) == self.sent

    @invariant()
    def the_queue_knows_its_size(self) -> None:
        assert self.acks._size == sum(len(each.content) for each in self.acks)


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase


def test_the_client_is_asked_now_and_then() -> None:
    acks = sm.Acks(1000, 10**6)
    assert [acks.sent(stanza(number), 0.0) for number in range(12)].count(True) == 1
    acks.acknowledge(12)
    assert not acks.ask()
    assert [acks.sent(stanza(number), 0.0) for number in range(5)] == [False] * 4 + [True]


def test_a_queue_is_full_by_number_or_by_size() -> None:
    by_number, by_size = sm.Acks(2, 10**6), sm.Acks(1000, 100)
    for number in range(3):
        assert not by_number.is_full
        by_number.sent(stanza(number), 0.0)
    by_size.sent(stanza(0), 0.0)
    by_size.sent(stanza(1), 0.0)
    assert [by_number.is_full, by_size.is_full] == [True, True]
    assert [each.stanza().wire for each in by_number.give_up()] == [stanza(number).wire for number in range(3)]
    assert [by_number.is_full, len(by_number)] == [False, 0]


def test_what_is_told_never_goes_back() -> None:
    acks = sm.Acks(10, 1000)
    assert [acks.tell(handled) for handled in (1, 3, 2, 3, 2**31, 2**32 - 1, 1, 2**32 - 1)] == [
        *(1, 3, 3, 3, 2**31, 2**32 - 1, 1, 1),
    ]
    acks.restore(7, 0, ())
    assert acks.tell(6) == 7


def test_counting_what_was_handled() -> None:
    acks = sm.Acks(10, 1000)
    acks.handled = 2**32 - 1
    acks.count()
    assert acks.handled == 0
    assert sm.enabled("", 60) == b'<enabled xmlns="urn:xmpp:sm:3"/>'
