"""The PROXY protocol, versions 1 and 2: what a proxy says about a connection before the first byte of its client.

The rules are those of HAProxy's proxy-protocol.txt, quoted as "spec". The reader never takes a byte that belongs to
what follows, so that TLS can begin right behind the header. A checksum (PP2_TYPE_CRC32C) is not verified, which the
spec leaves open: TCP has one.
"""

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_LINE: Final = 107
"""Spec 2.1: the longest line of version 1, with its end."""
MAX_LENGTH: Final = 4096
"""Of what follows the first 16 bytes in version 2: addresses, and the TLVs of a client's certificate."""

_PREFIX: Final = b"PROXY "
_FIXED: Final = 16
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED: Final = 0x00
# Spec 2.2: family and transport in one byte, and the size of the addresses. "Other values […] must be rejected".
_ADDRESS_SIZES: Final = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_TYPE_SSL: Final = 0x20
_CLIENT_SSL: Final = 0x01

_unknown = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n").fullmatch
_tcp = re.compile(rb"PROXY TCP(?:4 ([0-9.]+) ([0-9.]+)|6 ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+)) (\d+) (\d+)\r\n").fullmatch


class ProxyHeaderError(Exception):
    """What came is no PROXY header; the text says why."""


class ProxyHeader(NamedTuple):
    """What a proxy says.

    `source` is the address of its client; None when the connection is the proxy's own (a health check), or the client's
    address is unknown or no IP address. `tls` is whether the client came over TLS; None when the header does not say.
    """

    source: str | None = None
    tls: bool | None = None


class ProxyHeaderReader:
    """Read one header from chunks. `wanted` is how many bytes may be fed next, at most."""

    __slots__ = ("_data", "wanted")

    def __init__(self) -> None:
        self._data = b""
        self.wanted = len(SIGNATURE)

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take bytes, and return the header once it is complete. Raises `ProxyHeaderError`."""
        assert len(data) <= self.wanted
        self._data += data
        if SIGNATURE.startswith(self._data[: len(SIGNATURE)]):
            return self._version2()
        if _PREFIX.startswith(self._data[: len(_PREFIX)]):
            return self._version1()
        raise ProxyHeaderError(f"it begins with {self._data[:12]!r}")

    def _version1(self) -> ProxyHeader | None:
        size = len(self._data)
        if self._data.endswith(b"\r\n"):
            return _parse_line(self._data)
        if size >= MAX_LINE:
            raise ProxyHeaderError(f"the line is longer than {MAX_LINE} bytes")
        # Only its end tells how long a line is.
        self.wanted = max(len(SIGNATURE) - size, 1)
        return None

    def _version2(self) -> ProxyHeader | None:
        size = len(self._data)
        if size < _FIXED:
            self.wanted = (len(SIGNATURE) if size < len(SIGNATURE) else _FIXED) - size
            return None
        length = int.from_bytes(self._data[14:16])
        if length > MAX_LENGTH:
            raise ProxyHeaderError(f"{length} bytes are announced, {MAX_LENGTH} are the most")
        self.wanted = _FIXED + length - size
        return None if self.wanted else _parse_binary(self._data[12], self._data[13], self._data[_FIXED:])


def _parse_line(line: bytes) -> ProxyHeader:
    # Spec 2.1: "the receiver must ignore anything presented before the CRLF is found" after UNKNOWN.
    if _unknown(line):
        return ProxyHeader()
    match = _tcp(line)
    if match is None or any(int(port) > 65535 for port in match.group(5, 6)):
        raise ProxyHeaderError(f"{line!r} cannot be read")
    parse = IPv4Address if match[1] else IPv6Address
    try:
        source, _ = (parse((match[i] or match[i + 2]).decode()) for i in (1, 2))
    except AddressValueError as error:
        raise ProxyHeaderError(f"{line!r} cannot be read: {error}") from None
    return ProxyHeader(str(source))


def _parse_binary(version_command: int, family: int, rest: bytes) -> ProxyHeader:
    if version_command not in (0x20 | _LOCAL, 0x20 | _PROXY):
        raise ProxyHeaderError(f"version and command 0x{version_command:02x} are unknown")
    # Spec 2.2: for both, "the receiver must use the real connection endpoints" and discard the rest.
    if version_command & 0x0F == _LOCAL or family == _UNSPECIFIED:
        return ProxyHeader()
    size = _ADDRESS_SIZES.get(family)
    if size is None:
        raise ProxyHeaderError(f"address family 0x{family:02x} is unknown")
    if len(rest) < size:
        raise ProxyHeaderError(f"{len(rest)} bytes are too few for the addresses")
    return ProxyHeader(_source(family >> 4, rest), _tls(rest[size:]))


def _source(family: int, rest: bytes) -> str | None:
    if family == 1:
        return str(IPv4Address(rest[:4]))
    return str(IPv6Address(rest[:16])) if family == 2 else None


def _tls(data: bytes) -> bool | None:
    for type_, value in _tlvs(data):
        if type_ == _TYPE_SSL:
            # Spec 2.2.6: a byte of flags, four of the verification's result, then TLVs of its own.
            if len(value) < 5:
                raise ProxyHeaderError("PP2_TYPE_SSL is too short")
            return bool(value[0] & _CLIENT_SSL)
    return None


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        end = 3 + int.from_bytes(data[1:3])
        if len(data) < 3 or len(data) < end:
            raise ProxyHeaderError("a TLV goes beyond the end")
        yield data[0], data[3:end]
        data = data[end:]
