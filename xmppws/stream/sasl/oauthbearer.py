"""OAUTHBEARER (RFC 7628), the server's side: a bearer token (RFC 6750) instead of a password."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from xmppws.errors import SaslMalformedRequest, SaslNotAuthorized
from xmppws.stream.sasl import Mechanism, Refusal, Step, Success, TokenWanted, gs2

NAME: Final = "OAUTHBEARER"

_HEADER: Final = re.compile(gs2.HEADER)
# RFC 7628 section 3.1: the key/value pairs, each ended by %x01, and one more %x01 at the end.
_SEPARATOR: Final = "\x01"
_PAIR: Final = re.compile(r"(?P<key>[A-Za-z]+)=(?P<value>[\x20-\x7e\t\r\n]*)")
# RFC 6750 section 2.1; RFC 9110 section 11.1: the name of a scheme is "case-insensitive".
_BEARER: Final = re.compile(r"(?i:bearer) +(?P<token>[A-Za-z0-9._~+/-]+=*)")
# RFC 7628 section 3.2.2, with a code of RFC 6750 section 3.1.
_REFUSAL: Final = b'{"status":"invalid_token"}'


class State(Enum):
    START = "waits for the token"
    TOKEN = "waits for the answer whose token it is"
    REFUSED = "waits for the client's dummy response"
    DONE = "over"


class OAuthBearer(Mechanism):
    """One exchange: the token, and a dummy response after a refusal."""

    __slots__ = ("_authzid", "state")

    def __init__(self) -> None:
        self._authzid = ""
        self.state = State.START

    def respond(self, data: bytes) -> Step:
        """Take the token, or the dummy response."""
        state, self.state = self.state, State.DONE
        if state is State.START:
            return self._first(data)
        if state is State.REFUSED:
            # Section 3.2.3: what the client answers says nothing; the exchange fails.
            raise SaslNotAuthorized
        raise SaslMalformedRequest("The exchange is over")

    def token_checked(self, username: str) -> Step:
        """Succeed, or tell the client that the token is refused."""
        if self.state is not State.TOKEN:
            raise SaslMalformedRequest("No token was to be checked")
        self.state = State.DONE
        return Success(username, self._authzid) if username else self._refuse()

    def _first(self, data: bytes) -> Step:
        header, pairs = _split(data)
        if header["binding"].startswith("p"):
            raise SaslNotAuthorized("Channel binding was not offered")
        self._authzid = gs2.unescape(header["authzid"] or "")
        bearer = _BEARER.fullmatch(pairs.get("auth", ""))
        if bearer is None:
            return self._refuse()
        self.state = State.TOKEN
        return TokenWanted(self._authzid, bearer["token"])

    def _refuse(self) -> Step:
        self.state = State.REFUSED
        return Refusal(_REFUSAL)


def _split(data: bytes) -> tuple[re.Match[str], dict[str, str]]:
    try:
        first, *texts, last, rest = data.decode().split(_SEPARATOR)
    except ValueError:
        raise SaslMalformedRequest("The message is not UTF-8, or lacks its separators") from None
    header = _HEADER.fullmatch(first)
    pairs = [match for match in map(_PAIR.fullmatch, texts) if match]
    by_key = {match["key"]: match["value"] for match in pairs}
    if header is None or last or rest or not len(texts) == len(pairs) == len(by_key):
        raise SaslMalformedRequest("The message does not parse")
    return header, by_key
