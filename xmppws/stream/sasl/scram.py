"""SCRAM (RFC 5802, RFC 7677) with downgrade protection (XEP-0474), the server's side, without channel binding.

The server keeps StoredKey and ServerKey only, so an exchange costs two HMACs and a hash, and a stolen database holds no
password.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from enum import Enum
from typing import Final

from xmppws.errors import SaslMalformedRequest, SaslNotAuthorized
from xmppws.stream.sasl import Challenge, KeysWanted, Mechanism, Step, Success, gs2
from xmppws.stream.sasl.keys import ScramKeys

HASHES: Final = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
"""Mechanism name → hash name for hashlib, strongest first."""

# RFC 5802 section 7. Extensions after the nonce are ignored, but for `m`: "its presence in a client or a server message
# MUST cause authentication failure" (section 5.1).
_EXTENSIONS: Final = r"(?:,[a-ln-zA-Z]=[^,]+)*"
_CLIENT_FIRST: Final = re.compile(
    rf"{gs2.HEADER}(?P<bare>n=(?P<username>[^,]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+){_EXTENSIONS})"
)
_CLIENT_FINAL: Final = re.compile(
    rf"(?P<without_proof>c=(?P<binding>[^,]+),r=(?P<nonce>[^,]+){_EXTENSIONS}),p=(?P<proof>[^,]+)"
)
_MAX_MESSAGE: Final = 8192


class State(Enum):
    START = "waits for client-first"
    KEYS = "waits for the account's keys"
    FINAL = "waits for client-final"
    DONE = "over"


class Scram(Mechanism):
    """One exchange. `nonce` is the server's part, printable ASCII without a comma, different every time.

    `offer` is the digest of what the client was offered, which tells it when somebody has changed that on the way
    (XEP-0474); "" does not say.
    """

    __slots__ = ("_auth_message", "_authzid", "_gs2", "_hash", "_keys", "_nonce", "_offer", "_username", "state")

    def __init__(self, mechanism: str, nonce: str, offer: str = "") -> None:
        self._hash = HASHES[mechanism]
        self._nonce = nonce
        self._offer = offer
        self._gs2 = self._auth_message = self._username = self._authzid = ""
        self._keys: ScramKeys | None = None
        self.state = State.START

    def respond(self, data: bytes) -> Step:
        """Take client-first, then client-final."""
        state, self.state = self.state, State.DONE
        text = _decode(data)
        if state is State.START:
            return self._first(text)
        if state is State.FINAL:
            return self._final(text)
        raise SaslMalformedRequest("The exchange is over")

    def keys(self, keys: ScramKeys) -> Step:
        """Take the account's keys, or fake ones that no password fits, and challenge the client."""
        if self.state is not State.KEYS:
            raise SaslMalformedRequest("The exchange is over")
        self._keys = keys
        first = f"r={self._nonce},s={b64encode(keys.salt).decode()},i={keys.iterations}"
        if self._offer:
            first += f",h={self._offer}"
        self._auth_message += f",{first}"
        self.state = State.FINAL
        return Challenge(first.encode())

    def _first(self, text: str) -> Step:
        match = _CLIENT_FIRST.fullmatch(text)
        if match is None:
            raise SaslMalformedRequest("The first SCRAM message does not parse")
        if match["binding"].startswith("p"):
            raise SaslNotAuthorized("Channel binding was not offered")
        self._gs2 = match["gs2"]
        self._username = gs2.unescape(match["username"])
        self._authzid = gs2.unescape(match["authzid"] or "")
        self._nonce = match["nonce"] + self._nonce
        self._auth_message = match["bare"]
        self.state = State.KEYS
        return KeysWanted(self._username, self._hash)

    def _final(self, text: str) -> Step:
        match = _CLIENT_FINAL.fullmatch(text)
        if match is None:
            raise SaslMalformedRequest("The last SCRAM message does not parse")
        # RFC 5802 section 5.1, `c`: the GS2 header as the client sent it; a different one means somebody rewrote the
        # exchange.
        if _base64(match["binding"]) != self._gs2.encode() or match["nonce"] != self._nonce:
            raise SaslNotAuthorized("The nonce or the channel binding differs from the first message")
        assert self._keys is not None
        auth_message = f"{self._auth_message},{match['without_proof']}".encode()
        self._verify(_base64(match["proof"]), auth_message, self._keys)
        signature = hmac.digest(self._keys.server_key, auth_message, self._hash)
        return Success(self._username, self._authzid, b"v=" + b64encode(signature))

    def _verify(self, proof: bytes, auth_message: bytes, keys: ScramKeys) -> None:
        # RFC 5802 section 3: ClientKey := ClientProof XOR ClientSignature, and StoredKey := H(ClientKey).
        signature = hmac.digest(keys.stored_key, auth_message, self._hash)
        if len(proof) != len(signature):
            raise SaslMalformedRequest("The proof has the wrong length")
        client_key = (int.from_bytes(proof, "big") ^ int.from_bytes(signature, "big")).to_bytes(len(proof), "big")
        if not hmac.compare_digest(hashlib.new(self._hash, client_key).digest(), keys.stored_key):
            raise SaslNotAuthorized


def offer_digests(mechanisms: Iterable[str]) -> dict[str, str]:
    """Return the digest of the offered mechanisms for each SCRAM mechanism (XEP-0474 0.5.0).

    No channel binding is announced, so the list of mechanisms is all there is.
    """
    offered = "\x1e".join(sorted(mechanisms)).encode()
    return {name: b64encode(hashlib.new(hash, offered).digest()).decode() for name, hash in HASHES.items()}


def _decode(data: bytes) -> str:
    if len(data) > _MAX_MESSAGE:
        raise SaslMalformedRequest("The SCRAM message is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SaslMalformedRequest("The SCRAM message is not UTF-8") from None
    if "\0" in text:
        raise SaslMalformedRequest("The SCRAM message holds a NUL")
    return text


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise SaslMalformedRequest("Part of the SCRAM message is not base64") from None
