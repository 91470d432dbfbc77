"""SASL's messages as XML: RFC 6120 section 6 and XEP-0388 write them alike, each in its own namespace."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import Final

from xmppws.errors import SaslFailure, SaslIncorrectEncoding
from xmppws.xml import ns
from xmppws.xml.writer import text


@dataclass(frozen=True, slots=True)
class Profile:
    """How one of the two writes them; `nothing` is what stands for a response of no bytes."""

    namespace: str
    nothing: str

    def challenge(self, data: bytes) -> bytes:
        """Write a challenge."""
        return self._message(b"challenge", b64encode(data))

    def success(self, data: bytes) -> bytes:
        """Write a success, as RFC 6120 does."""
        return self._message(b"success", b64encode(data))

    def failure(self, failure: SaslFailure) -> bytes:
        """Write a failure. RFC 6120 section 6.5: its text is optional; it tells nothing that helps to guess."""
        told = b'<text xml:lang="en">%b</text>' % text(failure.text) if failure.text else b""
        condition = b'<%b xmlns="%b"/>' % (failure.condition.encode(), ns.SASL.encode())
        return self._message(b"failure", condition + told)

    def decode(self, encoded: str | None) -> bytes:
        """Return the bytes of a response; raise `SaslIncorrectEncoding`."""
        if not encoded or encoded == self.nothing:
            return b""
        try:
            return b64decode(encoded, validate=True)
        except (Base64Error, ValueError):
            raise SaslIncorrectEncoding("The response is not base64") from None

    def _message(self, name: bytes, content: bytes) -> bytes:
        return b'<%b xmlns="%b">%b</%b>' % (name, self.namespace.encode(), content, name)


# RFC 6120 section 6.4.2: "=" is a response of no bytes, so that it differs from none at all.
SASL: Final = Profile(ns.SASL, "=")
# XEP-0388, SASL Data Encoding: an element that is empty holds no bytes, one that is absent none at all.
SASL2: Final = Profile(ns.SASL2, "")


def of(tag: str) -> Profile:
    """Return the profile to which an element of SASL belongs."""
    return SASL2 if tag.startswith(f"{{{ns.SASL2}}}") else SASL
