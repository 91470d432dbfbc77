"""ANONYMOUS (RFC 4505), the server's side."""

from __future__ import annotations

from typing import Final

from xmppws.errors import SaslMalformedRequest
from xmppws.stream.sasl import AccountWanted, Mechanism, Step, Success

NAME: Final = "ANONYMOUS"

# RFC 4505 section 2: a token has at most 255 characters, and an address is shorter.
_MAX_TRACE: Final = 255


class Anonymous(Mechanism):
    """One exchange of a single message."""

    __slots__ = ()

    def respond(self, data: bytes) -> Step:
        """Take the trace information, and forget it: it proves nothing, and is nobody's business."""
        try:
            trace = data.decode()
        except UnicodeDecodeError:
            raise SaslMalformedRequest("The trace information is not UTF-8") from None
        if len(trace) > _MAX_TRACE:
            raise SaslMalformedRequest(f"The trace information is longer than {_MAX_TRACE} characters")
        return AccountWanted()

    def account(self, username: str) -> Step:
        """Succeed under the name that the server made."""
        return Success(username, "")
