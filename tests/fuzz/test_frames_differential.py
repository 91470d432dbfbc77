import struct
from collections import Counter

import pytest
from websockets.frames import Opcode

from frame_oracle import compare, theirs
from xmppws.stream.frames import FrameError, FrameReader


def test_short() -> None:
    taken = Counter(compare(seed) for seed in range(1500))
    # Otherwise this compares little.
    assert min(taken[True], taken[False]) > 300


@pytest.mark.soak
def test_long() -> None:
    for seed in range(1_000_000):
        compare(seed)


@pytest.mark.parametrize(
    ("data", "difference"),
    [
        (b"\x81\xfe\x00\x01" + bytes(4) + b"a", "a length that is not minimal"),
        (b"\x81\xff" + struct.pack(">Q", 1) + bytes(4) + b"a", "a length that is not minimal"),
        (b"\x82\x81" + bytes(4) + b"a", "binary"),
    ],
)
def test_known_differences(data: bytes, difference: str) -> None:
    messages, refused = theirs(data)
    assert not refused, difference
    assert messages[0][0] in (Opcode.TEXT, Opcode.BINARY)
    reader = FrameReader(1000)
    reader.feed(data)
    with pytest.raises(FrameError):
        reader.next()


def test_utf8_is_checked_elsewhere() -> None:
    data = b"\x81\x81" + bytes(4) + b"\xff"
    assert theirs(data) == ([(Opcode.TEXT, b"\xff")], False)
    reader = FrameReader(1000)
    reader.feed(data)
    assert reader.next() == (1, b"\xff")
