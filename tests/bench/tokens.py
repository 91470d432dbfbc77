"""Log-ins in one step where a server knows how: SASL2, Bind 2 and FAST (XEP-0388, XEP-0386, XEP-0484)."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from typing import Final

from bench.chat import ENABLE, with_features
from bench.generator import Failed
from bench.login import CLOSE, PASSWORD, RESOURCE, Script, ask, log_in
from raw import OPEN

_TOKEN: Final = re.compile(rb" token=.([^'\"]+)")
_MECHANISM: Final = "HT-SHA-256-NONE"
_BIND: Final = (
    f"<bind xmlns='urn:xmpp:bind:0'><tag>{RESOURCE}</tag><enable xmlns='urn:xmpp:carbons:2'/>{ENABLE.decode()}</bind>"
)


def get_token(name: str, tokens: dict[str, bytes]) -> Script:
    """Get a token for a user; nothing where the server has none."""
    yield b""  # the answer to the handshake
    features = yield from ask(OPEN, b"features>")
    if _MECHANISM.encode() in features:
        wanted = f"<request-token xmlns='urn:xmpp:fast:0' mechanism='{_MECHANISM}'/>"
        success = yield from ask(_request(name, "PLAIN", f"\0{name}\0{PASSWORD}".encode(), wanted), b"<success")
        found = _TOKEN.search(success)
        if found is None:
            raise Failed(f"There is no token: {success!r}")
        tokens[name] = found[1]
    yield from ask(CLOSE, b"<close")


def log_in_shortest(name: str, tokens: dict[str, bytes]) -> Script:
    """Get a session that counts and is copied to: by a token if there is one, else step by step."""
    if (token := tokens.get(name)) is None:
        yield from log_in(name)
        yield from with_features()
        return
    yield b""  # the answer to the handshake
    yield from ask(OPEN, b"features>")
    shown = name.encode() + b"\0" + hmac.digest(token, b"Initiator", "sha256")
    fast = "<fast xmlns='urn:xmpp:fast:0'/>"
    success = yield from ask(_request(name, _MECHANISM, shown, fast + _BIND), b"<success")
    answer = b64encode(hmac.digest(token, b"Responder", "sha256"))
    if answer not in success or f"{name}@localhost/{RESOURCE}".encode() not in success or b"<enabled" not in success:
        raise Failed(f"The server does not know the token, or has not bound all: {success!r}")


def _request(name: str, mechanism: str, initial: bytes, inline: str) -> bytes:
    return (
        f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>"
        f"<initial-response>{b64encode(initial).decode()}</initial-response><user-agent id='{name}'/>{inline}"
        "</authenticate>"
    ).encode()
