import pytest

from xmppws.stream.keepalive import Due, Intervals, KeepAlive

INTERVALS = Intervals(ping_interval=30, pong_timeout=20, read_timeout=100)


def test_nothing_is_due_at_first() -> None:
    keepalive = KeepAlive(0)
    assert keepalive.check(29.9, INTERVALS) is None
    assert keepalive.next(INTERVALS) == 30


@pytest.mark.parametrize("silent", ["received", "sent"])
def test_ping_when_one_direction_is_silent(silent: str) -> None:
    keepalive = KeepAlive(0)
    keepalive.received = keepalive.sent = 25
    setattr(keepalive, silent, 0)
    assert keepalive.next(INTERVALS) == 30
    assert keepalive.check(30, INTERVALS) is Due.PING
    assert keepalive.check(31, INTERVALS) is None


def test_pong_answers_the_ping() -> None:
    keepalive = KeepAlive(0)
    assert keepalive.check(30, INTERVALS) is Due.PING
    assert keepalive.next(INTERVALS) == 50
    keepalive.sent = 30
    keepalive.received = 30.25
    keepalive.ponged(30.25)
    assert keepalive.round_trip == 0.25
    assert keepalive.next(INTERVALS) == 60
    assert keepalive.check(50, INTERVALS) is None
    assert keepalive.check(60, INTERVALS) is Due.PING


def test_pings_that_come_more_often_than_a_pong_is_awaited() -> None:
    intervals = Intervals(ping_interval=10, pong_timeout=20, read_timeout=100)
    keepalive = KeepAlive(0)
    assert keepalive.check(10, intervals) is Due.PING
    # The pong comes later, and nobody asks again then.
    assert keepalive.next(intervals) == 20
    keepalive.sent = keepalive.received = 10
    keepalive.ponged(10.5)
    assert keepalive.check(20, intervals) is Due.PING
    assert keepalive.check(39, intervals) is None
    assert keepalive.check(40, intervals) is Due.PONG_TIMEOUT


def test_pong_within_the_same_tick_of_the_clock() -> None:
    keepalive = KeepAlive(0)
    assert keepalive.check(30, INTERVALS) is Due.PING
    keepalive.sent = keepalive.received = 30
    keepalive.ponged(30)
    assert keepalive.round_trip == 0
    assert keepalive.check(50, INTERVALS) is None


def test_pong_that_nobody_asked_for() -> None:
    keepalive = KeepAlive(0)
    keepalive.ponged(10)
    assert keepalive.round_trip is None


def test_anything_received_answers_the_ping() -> None:
    keepalive = KeepAlive(0)
    assert keepalive.check(30, INTERVALS) is Due.PING
    keepalive.sent, keepalive.received = 30, 40
    assert keepalive.check(50, INTERVALS) is None
    assert keepalive.round_trip is None


def test_ping_without_answer() -> None:
    keepalive = KeepAlive(0)
    assert keepalive.check(30, INTERVALS) is Due.PING
    keepalive.sent = 45
    assert keepalive.check(49.9, INTERVALS) is None
    assert keepalive.check(50, INTERVALS) is Due.PONG_TIMEOUT


def alive(keepalive: KeepAlive, now: float) -> None:
    """Let frames pass both ways, but no stanza."""
    keepalive.received = keepalive.sent = now


def test_probe_of_a_client_that_sends_pongs_only() -> None:
    keepalive = KeepAlive(0)
    alive(keepalive, 99)
    assert keepalive.next(INTERVALS) == 100
    assert keepalive.check(100, INTERVALS) is Due.PROBE
    assert keepalive.next(INTERVALS) == 120
    alive(keepalive, 110)
    assert keepalive.check(119, INTERVALS) is None
    assert keepalive.check(120, INTERVALS) is Due.READ_TIMEOUT


def test_stanza_answers_the_probe() -> None:
    keepalive = KeepAlive(0)
    alive(keepalive, 99)
    assert keepalive.check(100, INTERVALS) is Due.PROBE
    alive(keepalive, 119)
    keepalive.stanza = 119
    assert keepalive.check(120, INTERVALS) is None
    alive(keepalive, 218)
    assert keepalive.check(219, INTERVALS) is Due.PROBE


def test_one_thing_at_a_time() -> None:
    keepalive = KeepAlive(0)
    assert keepalive.check(100, INTERVALS) is Due.PROBE
    assert keepalive.check(100, INTERVALS) is Due.PING
    assert keepalive.check(100, INTERVALS) is None
    assert keepalive.check(120, INTERVALS) is Due.PONG_TIMEOUT
