"""The PROXY header, byte for byte."""

from __future__ import annotations

import pytest

from xmppws.routers.upstream.proxy import proxy_header

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
CLIENT_6, MAPPED = "2001:0db8:0000:0000:0000:0000:0000:0007", "0000:0000:0000:0000:0000:ffff:7f00:0001"


@pytest.mark.parametrize(
    ("client", "server", "header"),
    [
        ("203.0.113.7", "127.0.0.1", "PROXY TCP4 203.0.113.7 127.0.0.1 0 5222\r\n"),
        ("2001:db8::7", "127.0.0.1", f"PROXY TCP6 {CLIENT_6} {MAPPED} 0 5222\r\n"),
        ("2001:db8::7", "2001:db8::7", f"PROXY TCP6 {CLIENT_6} {CLIENT_6} 0 5222\r\n"),
        (
            "fe80::1%eth0",
            "fe80::1%eth0",
            f"PROXY TCP6 {'fe80:' + '0000:' * 6 + '0001 ' + 'fe80:' + '0000:' * 6}0001 0 5222\r\n",
        ),
        ("127.0.0.1", "2001:db8::7", f"PROXY TCP6 {MAPPED} {CLIENT_6} 0 5222\r\n"),
        ("", "127.0.0.1", "PROXY UNKNOWN\r\n"),
        ("unix", "127.0.0.1", "PROXY UNKNOWN\r\n"),
        ("203.0.113.7", "", "PROXY UNKNOWN\r\n"),
        # Nothing that a client may have made up gets into the header.
        ("203.0.113.7\r\n", "127.0.0.1", "PROXY UNKNOWN\r\n"),
    ],
)
def test_version_1(client: str, server: str, header: str) -> None:
    written = proxy_header("v1", client, (server, 5222))
    assert written == header.encode()
    # "So a 108-byte buffer is always enough to store all the line and a trailing zero"
    assert len(written) <= 107


@pytest.mark.parametrize(
    ("client", "server", "rest"),
    [
        ("203.0.113.7", "127.0.0.1", b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 7, 127, 0, 0, 1]) + b"\0\0\x14\x66"),
        (
            "2001:db8::7",
            "127.0.0.1",
            b"\x21\x21\x00\x24" + bytes.fromhex("20010db8" + "0" * 23 + "7" + "0" * 20 + "ffff7f000001" + "00001466"),
        ),
        ("", "127.0.0.1", b"\x20\x00\x00\x00"),
    ],
)
def test_version_2(client: str, server: str, rest: bytes) -> None:
    assert proxy_header("v2", client, (server, 5222)) == V2 + rest
