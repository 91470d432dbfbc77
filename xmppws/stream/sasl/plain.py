"""PLAIN (RFC 4616), the server's side."""

from __future__ import annotations

from xmppws.errors import SaslMalformedRequest, SaslNotAuthorized
from xmppws.stream.sasl import Mechanism, PasswordWanted, Step, Success


class Plain(Mechanism):
    """One exchange of a single message."""

    __slots__ = ("_authzid", "_username")

    def __init__(self) -> None:
        self._username = self._authzid = ""

    def respond(self, data: bytes) -> Step:
        """Take `authzid NUL authcid NUL password`."""
        try:
            self._authzid, self._username, password = data.decode().split("\0")
        except ValueError:
            raise SaslMalformedRequest("PLAIN takes authzid, username and password in UTF-8, divided by NUL") from None
        # RFC 4616 section 2: authcid and passwd are at least one character long.
        if not self._username or not password:
            raise SaslMalformedRequest("PLAIN takes a username and a password")
        return PasswordWanted(self._username, password)

    def password_checked(self, right: bool) -> Step:
        """Succeed or fail."""
        if not right:
            raise SaslNotAuthorized
        return Success(self._username, self._authzid)
