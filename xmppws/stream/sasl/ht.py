"""HT-SHA-256-NONE (draft-schmaus-kitten-sasl-ht-08), the server's side: a token of XEP-0484, shown as its HMAC.

Without channel binding both sides' messages are always the same for one token. So the server keeps no token, but a
digest of what the client shows, and its own answer: nobody logs in with what is kept.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from xmppws.errors import SaslMalformedRequest, SaslNotAuthorized
from xmppws.stream.sasl import HashedTokenWanted, Mechanism, Step, Success

NAME: Final = "HT-SHA-256-NONE"
_HASH: Final = "sha256"


class HashedToken(Mechanism):
    """One exchange of a single message."""

    __slots__ = ("_username",)

    def __init__(self) -> None:
        self._username = ""

    def respond(self, data: bytes) -> Step:
        """Take `authcid NUL HMAC(token, "Initiator")`."""
        username, nul, hashed = data.partition(b"\0")
        try:
            self._username = username.decode()
        except UnicodeDecodeError:
            raise SaslMalformedRequest("The username is not UTF-8") from None
        if not username or not nul or len(hashed) != hashlib.sha256().digest_size:
            raise SaslMalformedRequest("HT-SHA-256 takes a username and the hashed token, divided by NUL")
        return HashedTokenWanted(self._username, hashed)

    def token_known(self, answer: bytes) -> Step:
        """Succeed with the server's own hash of the token, or fail."""
        if not answer:
            raise SaslNotAuthorized
        return Success(self._username, "", answer)


def of_client(token: str) -> bytes:
    """Return what a client shows of a token."""
    return hmac.digest(token.encode(), b"Initiator", _HASH)


def of_server(token: str) -> bytes:
    """Return what the server answers."""
    return hmac.digest(token.encode(), b"Responder", _HASH)
