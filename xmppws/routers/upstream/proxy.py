"""The PROXY header, by which a server learns the address of the client that it is asked for (HAProxy's PROXY 1 and 2).

Of the client the address is known and the port is not: proxies do not tell it. It is written as 0.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Final, TypeAlias

_Address: TypeAlias = IPv4Address | IPv6Address

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXIED: Final = 0x21
_LOCAL: Final = 0x20
_FAMILY: Final[Mapping[int, int]] = MappingProxyType({4: 0x11, 6: 0x21})


def proxy_header(version: str, client: str, server: tuple[str, int]) -> bytes:
    """Write the header of a version ("v1" or "v2") for a client's address and the server's address and port.

    A client without an address, such as one on a Unix socket, is unknown.
    """
    addresses = _one_family(client, server[0])
    if version == "v1":
        if addresses is None:
            return b"PROXY UNKNOWN\r\n"
        source, target = addresses
        # The header knows groups of hexadecimal digits only, so none of the ways in which Python shortens them.
        return f"PROXY TCP{source.version} {source.exploded} {target.exploded} 0 {server[1]}\r\n".encode()
    if addresses is None:
        return _SIGNATURE + struct.pack("!BBH", _LOCAL, 0, 0)
    source, target = addresses
    block = source.packed + target.packed + struct.pack("!HH", 0, server[1])
    return _SIGNATURE + struct.pack("!BBH", _PROXIED, _FAMILY[source.version], len(block)) + block


def _one_family(client: str, server: str) -> tuple[_Address, _Address] | None:
    """Return both addresses as the header wants them: of one family."""
    try:
        source, target = ip_address(client.partition("%")[0]), ip_address(server.partition("%")[0])
    except ValueError:
        return None
    if source.version == target.version:
        return source, target
    return _mapped(source), _mapped(target)


def _mapped(address: _Address) -> _Address:
    # RFC 4291 section 2.5.5.2.
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")
