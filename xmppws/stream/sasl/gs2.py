"""The GS2 header with which SCRAM (RFC 5802 section 7) and OAUTHBEARER (RFC 7628 section 3.1) begin."""

from __future__ import annotations

from typing import Final

from xmppws.errors import SaslMalformedRequest

HEADER: Final = r"(?P<gs2>(?P<binding>n|y|p=[A-Za-z0-9.-]+),(?:a=(?P<authzid>[^,]+))?,)"
"""Regular expression for it."""


def unescape(name: str) -> str:
    """Return a name as it was before it was escaped; raise `SaslMalformedRequest`."""
    # RFC 5802 section 5.1: '=' stands only in "=2C" and "=3D", else the exchange fails.
    if "=" in name.replace("=2C", "").replace("=3D", ""):
        raise SaslMalformedRequest("A name holds '=' that is not part of =2C or =3D")
    return name.replace("=2C", ",").replace("=3D", "=")
