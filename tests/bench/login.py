"""A client's login with SCRAM-SHA-1, as the requests and answers of a script that any number of clients can be in."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator
from typing import Final

from bench.generator import XMPP, Client, Clients, Failed, text
from raw import OPEN

PASSWORD: Final = "password"
RESOURCE: Final = "bench"
SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
CLOSE: Final = b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
BIND: Final = (
    "<iq xmlns='jabber:client' type='set' id='bind'>"
    f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{RESOURCE}</resource></bind></iq>"
).encode()
_REFUSAL: Final = re.compile(rb"<failure|<stream:error|type=.error.")
_CHALLENGE: Final = re.compile(rb"<challenge[^>]*>([^<]*)</")

# Yields what is to be sent, and gets the next frame.
Script = Generator[bytes, bytes, None]


def username(number: int) -> str:
    return f"user{number}"


def log_in(name: str) -> Script:
    """Open a stream, prove the password, and bind."""
    yield b""  # the answer to the handshake
    yield from ask(OPEN, b"features>")
    bare = f"n={name},r=bench"
    first = b64encode(f"n,,{bare}".encode()).decode()
    challenge = yield from ask(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{first}</auth>".encode(), b"<challenge")
    found = _CHALLENGE.search(challenge)
    assert found is not None
    final, signature = _final(bare, b64decode(found[1]).decode())
    success = yield from ask(f"<response xmlns='{SASL}'>{final}</response>".encode(), b"<success")
    if signature not in success:
        raise Failed("The server does not know the password")
    yield from ask(OPEN, b"features>")
    bound = yield from ask(BIND, b"<iq")
    if f"{name}@localhost/{RESOURCE}".encode() not in bound:
        raise Failed(f"The server bound something else: {bound!r}")


def log_out() -> Script:
    """Close the stream, and wait until the server has closed it too."""
    yield from ask(CLOSE, b"<close")


def counted(script: Script) -> Generator[bytes, bytes, int]:
    """Follow a script, and return its round trips: that of the handshake, and each request that was answered."""
    trips = 1
    request = next(script)
    while True:
        trips += bool(request)
        frame = yield request
        try:
            request = script.send(frame)
        except StopIteration:
            return trips


def play(clients: Clients, script: Script, done: Callable[[Client], None], path: str = XMPP) -> None:
    """Connect a client that follows a script, and tell when it has come to its end."""
    follow(clients.connect(_ignore, path), script, done)


def follow(client: Client, script: Script, done: Callable[[Client], None]) -> None:
    """Let a client follow a script, and tell when it has come to its end; what comes later is ignored."""

    def receive(payloads: list[bytes]) -> None:
        try:
            for payload in payloads:
                if request := script.send(payload):
                    client.send(text(request))
        except StopIteration:
            client.receive = _ignore
            done(client)

    client.receive = receive
    if request := next(script):
        client.send(text(request))


def _ignore(payloads: list[bytes]) -> None:
    pass


def ask(request: bytes, answer: bytes) -> Generator[bytes, bytes, bytes]:
    """Send a request, and wait for the frame that has a text."""
    frame = yield request
    while answer not in frame:
        if _REFUSAL.search(frame):
            raise Failed(f"The server answered {request!r} with {frame!r}")
        frame = yield b""
    return frame


def _final(bare: str, challenge: str) -> tuple[str, bytes]:
    """Answer a challenge (RFC 5802 section 3): the last message, and what the server has to prove with; both base64."""
    nonce, salt, iterations = (part[2:] for part in challenge.split(",")[:3])
    client_key, server_key = _keys(PASSWORD, salt, int(iterations))
    without_proof = f"c=biws,r={nonce}"
    signed = f"{bare},{challenge},{without_proof}".encode()
    signature = hmac.digest(hashlib.sha1(client_key).digest(), signed, "sha1")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    last = f"{without_proof},p={b64encode(proof).decode()}".encode()
    server_signature = b"v=" + b64encode(hmac.digest(server_key, signed, "sha1"))
    return b64encode(last).decode(), b64encode(server_signature)


@functools.lru_cache(maxsize=10_000)
def _keys(password: str, salt: str, iterations: int) -> tuple[bytes, bytes]:
    """Return ClientKey and ServerKey. Kept, as clients do: the iterations are dear, and they are not the server's."""
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), b64decode(salt), iterations)
    return hmac.digest(salted, b"Client Key", "sha1"), hmac.digest(salted, b"Server Key", "sha1")
