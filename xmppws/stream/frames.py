"""WebSocket frames (RFC 6455 section 5), the server's side: an incremental reader and an encoder.

The reader is fed whatever the socket gave and hands out whole messages. It holds at most one message of `limit` bytes:
the size is checked when the header announces it, before any of it is kept. No extension is ever negotiated, so every
reserved bit is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Final, TypeAlias

from xmppws.errors import Reason

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_MASK_SIZE: Final = 4
_MAX_CONTROL: Final = 125
_U16: Final = Struct(">H")
_U64: Final = Struct(">Q")
_SHORT_TEXT: Final = tuple(bytes((_FIN | TEXT, size)) for size in range(126))

# RFC 6455 section 7.4.1 and the IANA registry; 1004 to 1006 and 1015 never travel.
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})

Unmask: TypeAlias = Callable[[bytes, bytearray], None]
"""Unmask data in place with a mask of four bytes."""


class FrameError(Exception):
    """A frame that fails the connection. `reason` holds the close code."""

    def __init__(self, text: str, reason: Reason = Reason.WEBSOCKET_PROTOCOL) -> None:
        super().__init__(text)
        self.reason = reason


def unmask(mask: bytes, data: bytearray) -> None:
    """Unmask data in place (RFC 6455 section 5.3), without compiled help."""
    size = len(data)
    key = int.from_bytes((mask * (size // _MASK_SIZE + 1))[:size], "big")
    data[:] = (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


class FrameReader:
    """Reads a client's frames. Feed it bytes, then ask for the next message until it has none.

    `limit` bounds a message in bytes, all its fragments together, and may be changed between messages.
    """

    __slots__ = ("_buffer", "_closed", "_fragments", "_need", "_position", "_unmask", "limit")

    def __init__(self, limit: int, unmask: Unmask = unmask) -> None:
        self.limit = limit
        self._unmask = unmask
        self._buffer: bytes | bytearray = b""
        self._position = 0
        self._need = 2
        self._fragments: bytearray | None = None
        self._closed = False

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket. Bytes after a close frame are dropped (RFC 6455 section 5.5.1)."""
        if self._closed:
            return
        if self._position == len(self._buffer):
            self._buffer = data
        elif isinstance(self._buffer, bytearray):
            # Drop what was read, then grow in place: a frame that drips in is not copied for every byte.
            del self._buffer[: self._position]
            self._buffer += data
        else:
            self._buffer = bytearray(self._buffer[self._position :]) + data
        self._position = 0

    def whole(self, data: bytes) -> bytes | None:
        """Return the message if the bytes are one short text frame: nearly every stanza comes like that.

        With None, nothing was taken: feed the bytes then.
        """
        size = len(data) - 2 - _MASK_SIZE
        if size < 0 or data[0] != _FIN | TEXT or self._position != len(self._buffer):
            return None
        start, announced = 2, data[1] - _MASKED
        if announced > _MAX_CONTROL:
            # The beginning of a longer frame can be as long as these say, 126 or 127 bytes.
            if announced == 127 or size <= 127:
                return None
            start, size, announced = 4, size - _U16.size, data[2] << 8 | data[3]
        if announced != size or size > self.limit or self._fragments is not None or self._closed:
            return None
        payload = bytearray(data[start + _MASK_SIZE :])
        self._unmask(data[start : start + _MASK_SIZE], payload)
        return bytes(payload)

    def stop(self) -> None:
        """Drop all there is and all that will come."""
        self._closed = True
        self._buffer, self._position, self._fragments = b"", 0, None

    @property
    def buffered(self) -> int:
        """How many bytes wait to be read."""
        return len(self._buffer) - self._position

    def next(self) -> tuple[int, bytes] | None:
        """Return the next whole message or control frame as (opcode, payload), or None until more bytes are fed.

        The opcode is TEXT, CLOSE, PING or PONG. Raises `FrameError`.
        """
        while len(self._buffer) - self._position >= self._need:
            whole = self._whole_text()
            if whole is not None:
                return TEXT, whole
            opcode, final, start, size = self._header()
            if size < 0:
                return None
            payload = self._payload(start, size)
            if opcode & _CONTROL:
                if opcode == CLOSE:
                    self.stop()
                return opcode, bytes(payload)
            message = self._join(opcode, final, payload)
            if message is not None:
                return TEXT, message
        return None

    def _whole_text(self) -> bytes | None:
        """Return the message when all of it is here in one short frame: nearly every stanza comes like that.

        Whatever is not as expected is None, and the general way finds out what it is.
        """
        buffer, position = self._buffer, self._position
        if buffer[position] != _FIN | TEXT or self._fragments is not None:
            return None
        # Below zero when the frame is not masked.
        size, start = buffer[position + 1] - _MASKED, position + 2
        if size == 126 and len(buffer) >= start + _U16.size:
            size = buffer[start] << 8 | buffer[start + 1]
            start += _U16.size
            if size <= _MAX_CONTROL:
                return None
        elif not 0 <= size <= _MAX_CONTROL:
            return None
        if size > self.limit or start + _MASK_SIZE + size > len(buffer):
            return None
        return bytes(self._payload(start, size))

    def _header(self) -> tuple[int, bool, int, int]:
        """Read a header.

        The size is -1 when the frame is not whole yet, and `_need` then says how many bytes that takes.
        """
        buffer, position = self._buffer, self._position
        first, second = buffer[position], buffer[position + 1]
        opcode = first & _OPCODE
        self._check_bits(first, second, opcode)
        size, start = second & ~_MASKED, position + 2
        if size > _MAX_CONTROL:
            width = _U16.size if size == 126 else _U64.size
            if not self._has(start + width):
                return opcode, False, start, -1
            size = self._long_size(start, width)
            start += width
        if opcode & _CONTROL == 0 and size + len(self._fragments or b"") > self.limit:
            raise FrameError(f"A message of more than {self.limit} bytes", Reason.FRAME_TOO_BIG)
        if not self._has(start + _MASK_SIZE + size):
            return opcode, False, start, -1
        return opcode, bool(first & _FIN), start, size

    def _check_bits(self, first: int, second: int, opcode: int) -> None:
        if first & _RESERVED:
            raise FrameError("A reserved bit is set, but no extension was negotiated")
        # RFC 6455 section 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        if not second & _MASKED:
            raise FrameError("A frame from the client is not masked")
        if opcode & _CONTROL:
            if opcode > PONG:
                raise FrameError(f"Opcode {opcode:#x} is reserved")
            # RFC 6455 section 5.5: control frames are at most 125 bytes long and never fragmented.
            if not first & _FIN or second & ~_MASKED > _MAX_CONTROL:
                raise FrameError("A control frame is fragmented or longer than 125 bytes")
        elif opcode == BINARY:
            # RFC 7395 section 3.2: "Data frames in the XMPP subprotocol MUST be of the text type."
            raise FrameError("A binary frame", Reason.BINARY)
        elif opcode > BINARY:
            raise FrameError(f"Opcode {opcode:#x} is reserved")
        elif (opcode == CONTINUATION) == (self._fragments is None):
            raise FrameError("A continuation without a beginning, or a beginning inside a fragmented message")

    def _long_size(self, start: int, width: int) -> int:
        raw = self._buffer[start : start + width]
        size: int = (_U16 if width == _U16.size else _U64).unpack(raw)[0]
        # RFC 6455 section 5.2: "the minimal number of bytes MUST be used to encode the length", and the first bit of 64
        # is 0.
        if size <= (_MAX_CONTROL if width == _U16.size else 0xFFFF) or size >> 63:
            raise FrameError("The length of a frame is not encoded in the fewest bytes")
        return size

    def _has(self, end: int) -> bool:
        if end <= len(self._buffer):
            return True
        self._need = end - self._position
        return False

    def _payload(self, start: int, size: int) -> bytearray:
        buffer = self._buffer
        body = start + _MASK_SIZE
        end = body + size
        payload = bytearray(buffer[body:end])
        self._unmask(bytes(buffer[start:body]), payload)
        self._need = 2
        if end == len(buffer):
            self._buffer, self._position = b"", 0
        else:
            self._position = end
        return payload

    def _join(self, opcode: int, final: bool, payload: bytearray) -> bytes | None:
        if self._fragments is None and final:
            return bytes(payload)
        if self._fragments is None:
            self._fragments = payload
        else:
            self._fragments += payload
        if not final:
            return None
        message, self._fragments = bytes(self._fragments), None
        return message


def text_frame(message: bytes) -> bytes:
    """Frame a text message, header and payload as one piece."""
    size = len(message)
    if size <= _MAX_CONTROL:
        return _SHORT_TEXT[size] + message
    if size <= 0xFFFF:
        return b"\x81\x7e" + _U16.pack(size) + message
    return b"\x81\x7f" + _U64.pack(size) + message


def text_frames(messages: Iterable[bytes]) -> bytes:
    """Frame text messages, to be written at once."""
    return b"".join(map(text_frame, messages))


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """Frame a ping, pong or close of at most 125 bytes."""
    return bytes((_FIN | opcode, len(payload))) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Frame a close with a code and a reason, cut to the 123 bytes that fit."""
    return control_frame(CLOSE, _U16.pack(code) + reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode())


def read_close(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame; the code is 1005 when there was none. Raises `FrameError`."""
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise FrameError("A close frame with half a code")
    code: int = _U16.unpack(payload[:2])[0]
    if code not in _CLOSE_CODES and not 3000 <= code <= 4999:
        raise FrameError(f"Close code {code} is not allowed")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError("The reason of a close frame is not UTF-8", Reason.NOT_UTF8) from None
