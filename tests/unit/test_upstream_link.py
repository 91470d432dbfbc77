"""One connection to a server: elements come in order and in turns, and nothing is lost at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from waiting import until
from xmppws.errors import StreamError
from xmppws.routers.upstream.errors import UpstreamError
from xmppws.routers.upstream.link import Link
from xmppws.stream.tcp_check import Checks
from xmppws.stream.tcp_reader import Closed

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
FEATURES = b"<stream:features/>"
ALONE = b"<message id='%d'></message>"
# More than are handled in one turn.
MANY = 1000


class KeepingTransport(asyncio.Transport):
    """A transport that goes nowhere, and whose peer reads only when `unread` is set to 0."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unread = 0
        self.reading = True
        self.closing = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


class Keeper:
    """A sink that keeps what it gets: `turns` are the numbers of elements that came at once."""

    def __init__(self) -> None:
        self.elements: list[bytes] = []
        self.turns: list[int] = []
        self.lost_by: list[UpstreamError | StreamError | None] = []
        self.ready: list[bool] = []

    def stanza(self, stanza: bytes) -> None:
        self.arrived((stanza,))

    def arrived(self, elements: Sequence[bytes]) -> None:
        assert not self.lost_by
        self.elements += elements
        self.turns.append(len(elements))

    def lost(self, error: UpstreamError | StreamError | None) -> None:
        self.lost_by.append(error)

    def accepts(self, ready: bool) -> None:
        self.ready.append(ready)

    @property
    def numbers(self) -> list[int]:
        return [int(element.split(b"id='")[1].split(b"'")[0]) for element in self.elements]


def messages(first: int, count: int) -> bytes:
    return b"".join(b"<message id='%d'/>" % number for number in range(first, first + count))


async def flowing() -> tuple[Link, KeepingTransport, Keeper]:
    """Return a connection on which the server has greeted."""
    link, transport, keeper = Link(100_000, Checks()), KeepingTransport(), Keeper()
    link.connection_made(transport)
    link.data_received(HEADER + FEATURES)
    await link.next()
    await link.next()
    link.flow(keeper)
    return link, transport, keeper


async def test_a_read_is_handled_in_turns() -> None:
    link, transport, keeper = await flowing()
    link.data_received(messages(0, MANY))
    assert not transport.reading and len(keeper.elements) < MANY
    # Others have theirs meanwhile.
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: turns.append(len(keeper.elements)))
    await until(lambda: transport.reading)
    assert turns[0] < MANY
    assert keeper.numbers == list(range(MANY))
    assert max(keeper.turns) <= 64


async def test_what_comes_between_two_turns_comes_behind() -> None:
    link, transport, keeper = await flowing()
    whole = messages(0, MANY) + messages(MANY, 500)
    half = len(messages(0, MANY)) + 5
    link.data_received(whole[:half])
    link.data_received(whole[half : half + 20])
    link.data_received(whole[half + 20 :])
    await until(lambda: transport.reading)
    assert keeper.numbers == list(range(MANY + 500))


async def test_a_stanza_that_comes_alone_keeps_its_turn() -> None:
    link, transport, keeper = await flowing()
    link.data_received(ALONE % 0)
    assert keeper.numbers == [0]
    link.data_received(messages(1, MANY))
    link.data_received(ALONE % (MANY + 1))
    await until(lambda: transport.reading)
    assert keeper.numbers == list(range(MANY + 2))


async def test_a_client_that_does_not_read_gets_no_further_turn() -> None:
    link, transport, keeper = await flowing()
    link.data_received(messages(0, MANY))
    link.pause(False)
    got = len(keeper.elements)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(keeper.elements) == got and not transport.reading
    # It may change its mind as often as it likes.
    for ready in (True, False, True, False, True):
        link.pause(ready)
        assert not transport.reading
    await until(lambda: transport.reading)
    assert keeper.numbers == list(range(MANY))
    link.pause(False)
    assert not transport.reading
    link.pause(True)
    assert transport.reading


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_what_was_received_before_the_end_arrives(is_stopped: bool) -> None:
    link, _, keeper = await flowing()
    link.data_received(messages(0, MANY))
    link.data_received(messages(MANY, 10))
    if is_stopped:
        link.pause(False)
    link.connection_lost(None)
    assert keeper.numbers == list(range(MANY + 10))
    assert str(keeper.lost_by[0]) == "it closed the connection"
    link.connection_lost(None)
    assert len(keeper.lost_by) == 1


async def test_the_end_of_the_stream_comes_behind_its_elements() -> None:
    link, transport, keeper = await flowing()
    link.data_received(messages(0, MANY) + b"</stream:stream><message id='9'/>")
    await until(lambda: bool(keeper.lost_by))
    assert keeper.lost_by == [None] and keeper.numbers == list(range(MANY))
    assert transport.closing
    link.data_received(messages(0, 1))
    link.connection_lost(None)
    assert keeper.lost_by == [None]


async def test_a_mistake_comes_behind_what_was_right() -> None:
    link, transport, keeper = await flowing()
    link.data_received(messages(0, 3) + b"<!-- -->")
    assert keeper.numbers == [0, 1, 2]
    assert isinstance(keeper.lost_by[0], StreamError) and transport.closing


async def test_who_has_closed_hears_no_more() -> None:
    link, transport, keeper = await flowing()
    link.data_received(messages(0, MANY))
    got = len(keeper.elements)
    link.close()
    for _ in range(10):
        await asyncio.sleep(0)
    link.data_received(messages(0, 1))
    link.connection_lost(None)
    assert len(keeper.elements) == got and keeper.lost_by == [] and transport.closing


async def test_features_and_the_end_in_one_read() -> None:
    link, transport, keeper = Link(100_000, Checks()), KeepingTransport(), Keeper()
    link.connection_made(transport)
    link.data_received(HEADER + FEATURES + messages(0, 2) + b"</stream:stream>")
    await link.next()
    await link.next()
    link.flow(keeper)
    assert keeper.numbers == [0, 1] and keeper.lost_by == [None]


async def test_an_end_that_is_awaited() -> None:
    link = Link(100_000, Checks())
    link.connection_made(KeepingTransport())
    waiting = asyncio.ensure_future(link.next())
    link.data_received(HEADER + b"</stream:stream>")
    await waiting
    assert isinstance(await link.next(), Closed)
    waiting = asyncio.ensure_future(link.next())
    await asyncio.sleep(0)
    link.connection_lost(ConnectionResetError("reset"))
    with pytest.raises(UpstreamError, match=r"^it closed the connection: reset$"):
        await waiting
    with pytest.raises(UpstreamError):
        link.transport  # noqa: B018


async def test_nothing_that_has_come_is_overlooked_before_tls() -> None:
    for sent in (b"<", b"<a/>", b"<a/>" * MANY):
        link = Link(100_000, Checks())
        link.connection_made(KeepingTransport())
        link.data_received(HEADER)
        await link.next()
        assert link.buffered == 0
        link.data_received(sent)
        assert link.buffered > 0


async def test_pressure_is_told_both_ways() -> None:
    link, _, keeper = await flowing()
    link.pause_writing()
    link.resume_writing()
    assert keeper.ready == [False, True]
    link.close()
    link.pause_writing()
    assert keeper.ready == [False, True]


@pytest.mark.parametrize("end", ["close", "stream"])
async def test_a_server_that_does_not_read_cannot_hold_a_connection(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmppws.routers.upstream.link._LINGER", 0.01)
    link, transport, _ = await flowing()
    transport.unread = 10
    if end == "close":
        link.close()
    else:
        link.data_received(b"</stream:stream>")
    assert transport.closing and not transport.aborted
    await until(lambda: transport.aborted)
    link.abort()


async def test_a_connection_that_is_gone_takes_nothing() -> None:
    link, transport, _ = await flowing()
    link.connection_lost(None)
    link.send(b"a")
    link.pause(False)
    link.close()
    link.abort()
    assert transport.written == b"" and transport.reading
