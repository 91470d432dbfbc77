import struct
import tracemalloc
from itertools import pairwise

import pytest
from aiohttp._websocket.helpers import websocket_mask
from hypothesis import given
from hypothesis import strategies as st

from client_frame import frame
from xmppws.errors import Reason
from xmppws.stream.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    Unmask,
    close_frame,
    control_frame,
    read_close,
    text_frame,
    unmask,
)

LIMIT = 70_000


def read_all(reader: FrameReader) -> list[tuple[int, bytes]]:
    return list(iter(reader.next, None))


def read(data: bytes, limit: int = LIMIT) -> list[tuple[int, bytes]]:
    reader = FrameReader(limit)
    reader.feed(data)
    return read_all(reader)


def idle(reader: FrameReader) -> bool:
    return reader.buffered == 0 and reader._buffer == b"" and reader._fragments is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_sizes(size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert read(frame(TEXT, message)) == [(TEXT, message)]


def test_fragments_with_control_frames_between() -> None:
    data = (
        frame(TEXT, b"a", final=False)
        + frame(PING, b"p")
        + frame(CONTINUATION, b"", final=False)
        + frame(PONG)
        + frame(CONTINUATION, b"b")
        + frame(TEXT, b"", final=False)
        + frame(CONTINUATION, b"")
    )
    assert read(data) == [(PING, b"p"), (PONG, b""), (TEXT, b"ab"), (TEXT, b"")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x81\x01a", "not masked"),
        *((bytes((0x81 | bit, 0x80)), "reserved bit") for bit in (0x40, 0x20, 0x10)),
        *((bytes((0x80 | opcode, 0x80)), "is reserved") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        (frame(CONTINUATION, b"a"), "continuation without"),
        (frame(TEXT, final=False) + frame(TEXT), "beginning inside"),
        (frame(TEXT, final=False) + frame(CONTINUATION) + frame(CONTINUATION), "continuation without"),
        (frame(PING, final=False), "control frame"),
        (frame(CLOSE, final=False), "control frame"),
        (frame(PING, bytes(126)), "control frame"),
        (frame(CLOSE, bytes(65536)), "control frame"),
        (b"\x81\xfe\x00\x7d", "fewest bytes"),
        (b"\x81\xff" + struct.pack(">Q", 0xFFFF), "fewest bytes"),
        (b"\x81\xff" + struct.pack(">Q", 1 << 63), "fewest bytes"),
    ],
)
def test_protocol_errors(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words) as caught:
        read(data)
    assert caught.value.reason is Reason.WEBSOCKET_PROTOCOL
    assert caught.value.reason.code == 1002


@pytest.mark.parametrize("data", [frame(BINARY, b"a"), frame(BINARY, final=False), b"\x82\xff" + b"\xff" * 8])
def test_binary_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        read(data)
    assert caught.value.reason is Reason.BINARY


def test_size_limit() -> None:
    assert read(frame(TEXT, bytes(100)), limit=100) == [(TEXT, bytes(100))]
    for data in (frame(TEXT, bytes(101)), frame(TEXT, bytes(60), final=False) + frame(CONTINUATION, bytes(41))):
        with pytest.raises(FrameError) as caught:
            read(data, limit=100)
        assert caught.value.reason is Reason.FRAME_TOO_BIG


def test_size_limit_does_not_hold_for_control_frames() -> None:
    assert read(frame(PING, bytes(125)), limit=1) == [(PING, bytes(125))]


def test_size_limit_may_change_between_messages() -> None:
    reader = FrameReader(1)
    reader.limit = 2
    reader.feed(frame(TEXT, b"ab"))
    assert reader.next() == (TEXT, b"ab")


def test_announced_size_is_refused_before_memory_is_spent() -> None:
    reader = FrameReader(LIMIT)
    tracemalloc.start()
    try:
        reader.feed(b"\x81\xff" + struct.pack(">Q", 1 << 40))
        with pytest.raises(FrameError) as caught:
            reader.next()
        assert caught.value.reason is Reason.FRAME_TOO_BIG
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_error_is_told_by_the_header_alone() -> None:
    with pytest.raises(FrameError, match="not masked"):
        read(b"\x81\x05")


def test_error_stays() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(b"\xc1\x80")
    for _ in range(2):
        with pytest.raises(FrameError, match="reserved bit"):
            reader.next()


@pytest.mark.parametrize("split", [False, True])
def test_data_after_close_is_dropped(split: bool) -> None:
    reader = FrameReader(LIMIT)
    parts = [frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe8"), frame(TEXT, b"b") * 1000]
    received = []
    for data in parts if split else [b"".join(parts)]:
        reader.feed(data)
        received += read_all(reader)
    assert received == [(TEXT, b"a"), (CLOSE, b"\x03\xe8")]
    assert idle(reader)


def test_stop_drops_everything() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(frame(TEXT, b"a", final=False) + frame(TEXT, b"b"))
    reader.stop()
    reader.feed(frame(TEXT, b"c"))
    assert reader.next() is None
    assert idle(reader)


def test_buffers_are_empty_when_idle() -> None:
    reader = FrameReader(LIMIT)
    for data in (frame(TEXT, b"a"), frame(TEXT, b"a", final=False), frame(CONTINUATION, bytes(300))):
        for cut in (1, 5, len(data)):
            reader.feed(data[:cut])
            read_all(reader)
            data = data[cut:]
    assert idle(reader)


def test_buffered_counts_what_waits() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(frame(TEXT, b"abc") + frame(TEXT, b"defg")[:-1])
    assert reader.next() == (TEXT, b"abc")
    assert reader.next() is None
    assert reader.buffered == 2 + 4 + 3


def test_dripping_bytes_are_not_copied_each_time() -> None:
    reader = FrameReader(LIMIT)
    data = frame(TEXT, bytes(60_000))
    reader.feed(data[:1])
    reader.feed(data[1:2])
    buffer = reader._buffer
    assert isinstance(buffer, bytearray)
    for i in range(2, len(data) - 1):
        reader.feed(data[i : i + 1])
        assert reader.next() is None
    # Grown in place: the same object from the second byte on.
    assert reader._buffer is buffer
    reader.feed(data[-1:])
    assert reader.next() == (TEXT, bytes(60_000))
    assert idle(reader)


def test_dripping_after_a_whole_frame_keeps_only_the_rest() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(frame(TEXT, bytes(50_000)) + b"\x81")
    assert reader.next() == (TEXT, bytes(50_000))
    for byte in frame(TEXT, b"ab")[1:] + frame(TEXT, b"c") + b"\x81":
        reader.feed(bytes((byte,)))
        assert len(reader._buffer) < 20
        read_all(reader)
    assert reader.buffered == 1


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 128, 240, 65_535, 65_536])
def test_a_whole_frame_is_taken_at_once_and_a_part_of_it_never(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    data = frame(TEXT, payload)
    for end in range(min(len(data), 300)):
        assert FrameReader(LIMIT).whole(data[:end]) is None, end
    assert FrameReader(LIMIT).whole(data + b"\x81") is None
    # Those of more than 64 KiB go the general way.
    assert FrameReader(LIMIT).whole(data) == (payload if size < 65_536 else None)
    assert FrameReader(size - 1).whole(data) is None


def test_what_is_not_one_text_frame_on_its_own_is_not_taken_at_once() -> None:
    ping, text = frame(PING), frame(TEXT, b"ab")
    for data in (b"\x81", ping, frame(TEXT, b"a", final=False), bytes((text[0], text[1] & 0x7F)) + b"abcdab"):
        assert FrameReader(LIMIT).whole(data) is None
    # A length that is not minimal.
    assert FrameReader(LIMIT).whole(b"\x81\xfe\x00\x7d" + bytes(4 + 125)) is None
    for before in (text[:3], frame(TEXT, b"a", final=False), frame(CLOSE)):
        reader = FrameReader(LIMIT)
        reader.feed(before)
        read_all(reader)
        assert reader.whole(text) is None


_frames = st.lists(
    st.one_of(
        st.binary(max_size=300).map(lambda payload: frame(TEXT, payload)),
        st.binary(max_size=125).map(lambda payload: frame(PING, payload)),
        st.tuples(st.binary(max_size=200), st.binary(max_size=20)).map(
            lambda parts: frame(TEXT, parts[0], final=False) + frame(PONG) + frame(CONTINUATION, parts[1])
        ),
        st.binary(max_size=12),  # noise, which is an error sooner or later
    ),
    max_size=8,
).map(b"".join)


def outcome(chunks: list[bytes]) -> tuple[list[tuple[int, bytes]], str | None]:
    reader = FrameReader(250)
    received: list[tuple[int, bytes]] = []
    for chunk in chunks:
        reader.feed(chunk)
        try:
            while (message := reader.next()) is not None:
                received.append(message)
        except FrameError as error:
            return received, str(error)
    return received, None


@given(_frames, st.lists(st.integers(0, 2500)))
def test_chunks_do_not_matter(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in pairwise(edges)]
    whole = outcome([data])
    assert outcome(chunks) == whole
    assert outcome([bytes((byte,)) for byte in data]) == whole


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
def test_compiled_unmask_does_the_same(mask: bytes, data: bytes) -> None:
    ours, compiled = bytearray(data), bytearray(data)
    unmask(mask, ours)
    websocket_mask(mask, compiled)
    assert ours == compiled == bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


@pytest.mark.parametrize("function", [unmask, websocket_mask])
def test_reader_unmasks_with_what_it_is_given(function: Unmask) -> None:
    reader = FrameReader(LIMIT, function)
    reader.feed(frame(TEXT, b"hello") + frame(PING))
    assert read_all(reader) == [(TEXT, b"hello"), (PING, b"")]


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f" + struct.pack(">Q", 65536)),
    ],
)
def test_text_frame(size: int, header: bytes) -> None:
    assert text_frame(b"x" * size) == header + b"x" * size


def test_control_frame() -> None:
    assert control_frame(PING) == b"\x89\x00"
    assert control_frame(PONG, b"abc") == b"\x8a\x03abc"


def test_close_frame() -> None:
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    assert close_frame(1001, "bye") == b"\x88\x05\x03\xe9bye"


@given(st.text(max_size=200))
def test_reason_of_a_close_frame_is_cut_between_characters(reason: str) -> None:
    made = close_frame(1000, reason)
    assert len(made) <= 127
    code, told = read_close(made[2:])
    assert code == 1000
    assert reason.startswith(told)
    assert len(told.encode()) > 119 or told == reason


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4999])
def test_close_codes(code: int) -> None:
    assert read_close(struct.pack(">H", code) + "grüß".encode()) == (code, "grüß")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_close_codes_that_never_travel(code: int) -> None:
    with pytest.raises(FrameError, match=f"Close code {code}"):
        read_close(struct.pack(">H", code))


def test_close_without_code() -> None:
    assert read_close(b"") == (1005, "")


def test_close_with_half_a_code() -> None:
    with pytest.raises(FrameError, match="half a code"):
        read_close(b"\x03")


def test_close_reason_is_utf8() -> None:
    with pytest.raises(FrameError) as caught:
        read_close(b"\x03\xe8\xff")
    assert caught.value.reason is Reason.NOT_UTF8
