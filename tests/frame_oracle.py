"""Random sequences of client frames, and what two readers make of them: ours and that of the `websockets` library.

Where both may differ, and why:

- We refuse a length that is not encoded in the fewest bytes (RFC 6455 section 5.2); websockets takes it.
- We refuse binary messages (RFC 7395 section 3.2).
- The UTF-8 of text is checked by websockets when it reads, by us when the XML is parsed; so both get ASCII only.
- The codes of a close frame are checked by websockets when it reads, by us in `read_close`, called here at once.
- We take a close frame in the middle of a fragmented message, as any control frame (RFC 6455 section 5.4).
- Both bound the size of a message; websockets counts fragments in another way, so messages stay below the limit here.
- We see what is wrong with a header before the payload came; so all frames here are whole.
"""

import struct
from random import Random

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from client_frame import frame
from xmppws.stream.frames import CLOSE, TEXT, FrameError, FrameReader, read_close

LIMIT = 1 << 20
Outcome = tuple[list[tuple[int, bytes]], bool]

_SIZES = (0, 1, 2, 3, 60, 125, 126, 127, 200, 700, 65535, 65536)
_CODES = (0, 999, *range(1000, 1017), 2999, 3000, 4999, 5000)


def sequence(random: Random) -> bytes:
    """Make a few frames, mostly right ones, then perhaps spoil a bit of a header."""
    frames = []
    inside = False
    for _ in range(random.randrange(1, 7)):
        kind = random.choice(("data", "data", "data", "ping", "pong", "close") if random.random() < 0.3 else ("data",))
        if kind == "data":
            final = random.random() < 0.6
            frames.append(_frame(random, 0 if inside else 1, final, _ascii(random, random.choice(_SIZES[:-2]))))
            inside = not final
        elif kind == "close":
            frames.append(_frame(random, 8, True, _close_payload(random)))
        else:
            frames.append(_frame(random, 9 if kind == "ping" else 10, True, _ascii(random, random.choice(_SIZES[:6]))))
    if random.random() < 0.02:
        frames.append(_frame(random, 0 if inside else 1, True, _ascii(random, random.choice(_SIZES[-2:]))))
    if random.random() < 0.4:
        position = random.randrange(len(frames))
        frames[position] = _spoilt(random, frames[position])
    return b"".join(frames)


def _ascii(random: Random, size: int) -> bytes:
    return bytes(random.choices(range(128), k=size))


def _close_payload(random: Random) -> bytes:
    form = random.randrange(4)
    if form == 0:
        return b"x" * random.randrange(2)
    return struct.pack(">H", random.choice(_CODES)) + (b"\xff" if form == 1 else _ascii(random, random.randrange(8)))


def _frame(random: Random, opcode: int, final: bool, payload: bytes) -> bytes:
    return frame(opcode, payload, final=final, mask=random.randbytes(4))


def _spoilt(random: Random, right: bytes) -> bytes:
    """Flip a bit of the first byte, or clear the mask bit: the length stays, and with it the bounds of the frames."""
    if random.random() < 0.3:
        return bytes((right[0], right[1] & 0x7F)) + right[2:]
    spoilt = bytes((right[0] ^ 1 << random.randrange(8),)) + right[1:]
    # A binary message is what we refuse and websockets does not.
    return right if spoilt[0] & 0x0F == 2 else spoilt


def ours(data: bytes, random: Random) -> Outcome:
    """Return the messages that our reader gives, in random chunks, and whether it refused at the end."""
    reader = FrameReader(LIMIT)
    messages: list[tuple[int, bytes]] = []
    try:
        while data:
            # 132 and 133 bytes of a longer frame hold as many bytes as its length field says, if that is misread.
            size = random.choice((1, 7, 100, 132, 133, 100_000))
            chunk, data = data[:size], data[size:]
            if (message := reader.whole(chunk)) is not None:
                messages.append((TEXT, message))
                continue
            reader.feed(chunk)
            for opcode, payload in iter(reader.next, None):
                if opcode == CLOSE:
                    read_close(payload)
                messages.append((opcode, payload))
    except FrameError:
        return messages, True
    return messages, False


def theirs(data: bytes) -> Outcome:
    """Return the messages that websockets gives, fragments joined, and whether it refused at the end."""
    protocol = ServerProtocol(state=State.OPEN, max_size=LIMIT)
    protocol.receive_data(data)
    messages: list[tuple[int, bytes]] = []
    fragments: list[bytes] = []
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        payload = bytes(event.data)
        if event.opcode in (Opcode.TEXT, Opcode.CONT):
            fragments.append(payload)
            if event.fin:
                messages.append((Opcode.TEXT, b"".join(fragments)))
                fragments = []
        else:
            messages.append((event.opcode, payload))
    return messages, isinstance(protocol.parser_exc, ProtocolError | PayloadTooBig | UnicodeDecodeError)


def _ends_inside(data: bytes) -> bool:
    protocol = ServerProtocol(state=State.OPEN, max_size=LIMIT)
    protocol.receive_data(data)
    return str(protocol.parser_exc) == "incomplete fragmented message"


def compare(seed: int) -> bool:
    """Compare both on the sequence of this seed, and return whether they took it."""
    random = Random(seed)
    data = sequence(random)
    one, other = ours(data, random), theirs(data)
    if other[1] and not one[1] and one[0] and one[0][-1][0] == CLOSE and _ends_inside(data):
        one = one[0][:-1], True
    assert one == other, f"seed {seed}: {data[:80]!r}: ours {str(one)[:300]}, theirs {str(other)[:300]}"
    return not one[1]
