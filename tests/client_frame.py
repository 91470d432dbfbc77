"""A client's frames (RFC 6455 section 5.2), for tests of the server's side."""

import struct


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, mask: bytes = b"\x01\x02\xf3\x04") -> bytes:
    """Write a masked frame, its length in the fewest bytes."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size <= 0xFFFF:
        length = struct.pack(">BH", 0x80 | 126, size)
    else:
        length = struct.pack(">BQ", 0x80 | 127, size)
    key = (mask * (size // 4 + 1))[:size]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return bytes((final << 7 | opcode,)) + length + mask + body
