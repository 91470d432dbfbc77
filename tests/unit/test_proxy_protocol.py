import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppws.http.proxy_protocol import (
    MAX_LENGTH,
    MAX_LINE,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    ProxyHeaderReader,
)

V4 = bytes((198, 51, 100, 7, 192, 0, 2, 1)) + struct.pack(">HH", 40000, 443)
V6 = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + struct.pack(">HH", 40000, 443)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")


def binary(family: int, rest: bytes, *, version_command: int = 0x21, length: int | None = None) -> bytes:
    size = len(rest) if length is None else length
    return SIGNATURE + struct.pack(">BBH", version_command, family, size) + rest


def tlv(type_: int, value: bytes) -> bytes:
    return struct.pack(">BH", type_, len(value)) + value


def ssl_tlv(client: int) -> bytes:
    return tlv(0x20, struct.pack(">BL", client, 0) + tlv(0x21, b"TLSv1.3"))


def read(data: bytes, cuts: list[int] | None = None) -> tuple[ProxyHeader | None, bytes]:
    """Feed what is wanted, in pieces no larger than `cuts`; return the header and what was left over."""
    reader = ProxyHeaderReader()
    sizes = iter(cuts or [])
    while data:
        size = min(reader.wanted, next(sizes, reader.wanted))
        header = reader.feed(data[:size])
        data = data[size:]
        if header is not None:
            return header, data
    return None, b""


GOOD = [
    (b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 443\r\n", ProxyHeader("198.51.100.7")),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", ProxyHeader("2001:db8::7")),
    (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 0 0\r\n", ProxyHeader("::ffff:c633:6407")),
    (b"PROXY UNKNOWN\r\n", ProxyHeader()),
    (b"PROXY UNKNOWN whatever it is\r\n", ProxyHeader()),
    (binary(0x11, V4), ProxyHeader("198.51.100.7")),
    (binary(0x12, V4), ProxyHeader("198.51.100.7")),
    (binary(0x21, V6), ProxyHeader("2001:db8::7")),
    (binary(0x31, UNIX), ProxyHeader()),
    (binary(0x11, V4 + ssl_tlv(1)), ProxyHeader("198.51.100.7", True)),
    (binary(0x21, V6 + tlv(0x04, b"noop") + ssl_tlv(7)), ProxyHeader("2001:db8::7", True)),
    (binary(0x31, UNIX + ssl_tlv(1)), ProxyHeader(None, True)),
    (binary(0x11, V4 + ssl_tlv(0)), ProxyHeader("198.51.100.7", False)),
    (binary(0x11, V4 + tlv(0x02, b"x" * 3000)), ProxyHeader("198.51.100.7")),
    (binary(0x00, b""), ProxyHeader()),
    (binary(0x00, b"anything"), ProxyHeader()),
    (binary(0x00, b"", version_command=0x20), ProxyHeader()),
    (binary(0x11, V4, version_command=0x20), ProxyHeader()),
]

BAD = {
    "no header at all": b"GET / HTTP/1.1\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "its first byte": b"X",
    "almost the signature": b"\r\n\r\n\0\r\nQUIT\r",
    "almost the word": b"PROXX TCP4 ",
    "no family": b"PROXY \r\n      \r\n",
    "two spaces": b"PROXY  TCP4 198.51.100.7 192.0.2.1 40000 443\r\n",
    "no address": b"PROXY TCP4 198.51.100.777 192.0.2.1 40000 443\r\n",
    "a zero in front": b"PROXY TCP4 198.51.100.07 192.0.2.1 40000 443\r\n",
    "the other family": b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 443\r\n",
    "the other family, too": b"PROXY TCP6 198.51.100.7 192.0.2.1 40000 443\r\n",
    "a port too high": b"PROXY TCP4 198.51.100.7 192.0.2.1 65536 443\r\n",
    "no ports": b"PROXY TCP4 198.51.100.7 192.0.2.1\r\n",
    "a line too long": b"PROXY UNKNOWN ".ljust(MAX_LINE, b"x") + b"\r\n",
    "version 1 in binary": binary(0x11, V4, version_command=0x11),
    "version 3": binary(0x11, V4, version_command=0x31),
    "an unknown command": binary(0x11, V4, version_command=0x22),
    "an unknown family": binary(0x41, V4),
    "an unknown transport": binary(0x13, V4),
    "too short for its addresses": binary(0x21, V4),
    "half a TLV": binary(0x11, V4 + b"\x20\x00"),
    "a TLV too long": binary(0x11, V4 + b"\x04\x00\x09x"),
    "a short PP2_TYPE_SSL": binary(0x11, V4 + tlv(0x20, b"\1")),
    "too long": binary(0x11, b"", length=MAX_LENGTH + 1),
}


@pytest.mark.parametrize(("data", "header"), GOOD)
def test_headers_are_read_and_not_a_byte_more(data: bytes, header: ProxyHeader) -> None:
    assert read(data + b"GET / HTTP/1.1\r\n") == (header, b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read(data)


def test_the_longest_line_passes() -> None:
    line = b"PROXY UNKNOWN ".ljust(MAX_LINE - 2, b"x") + b"\r\n"
    assert read(line) == (ProxyHeader(), b"")


def test_the_longest_binary_header_passes() -> None:
    data = binary(0x11, V4 + tlv(0x04, bytes(MAX_LENGTH - len(V4) - 3)))
    assert read(data) == (ProxyHeader("198.51.100.7"), b"")


@pytest.mark.parametrize("data", [data for data, _ in GOOD])
def test_a_header_without_its_end_is_waited_for(data: bytes) -> None:
    for end in range(1, len(data)):
        assert read(data[:end]) == (None, b"")


def outcome(data: bytes, cuts: list[int]) -> object:
    try:
        return read(data, cuts)
    except ProxyHeaderError:
        return ProxyHeaderError


near = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=300).map(SIGNATURE.__add__),
    st.binary(max_size=120).map(b"PROXY TCP4 ".__add__),
    st.sampled_from([*(data for data, _ in GOOD), *BAD.values()]),
)


@given(near, st.lists(st.integers(1, 50), max_size=20))
def test_chunks_make_no_difference(data: bytes, cuts: list[int]) -> None:
    assert outcome(data, cuts) == outcome(data, []) == outcome(data, [1] * len(data))


@given(st.sampled_from([data for data, _ in GOOD if data.startswith(SIGNATURE)]), st.data())
def test_no_changed_byte_breaks_the_reader(data: bytes, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:index] + bytes([draw.draw(st.integers(0, 255))]) + data[index + 1 :]
    found = outcome(changed, [])
    assert found is ProxyHeaderError or isinstance(found, tuple)
