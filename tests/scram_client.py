"""A client's side of SCRAM, written from RFC 5802 section 3, for tests of the server's side."""

import hashlib
import hmac
from base64 import b64decode, b64encode


class ScramClient:
    """One exchange. The attributes may be changed between messages, to misbehave."""

    def __init__(
        self, hash_name: str, username: str, password: str, *, gs2: str = "n,,", nonce: str = "client"
    ) -> None:
        self.hash_name = hash_name
        self.password = password
        self.gs2 = gs2
        self.bare = f"n={username.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.binding = b64encode(gs2.encode()).decode()
        self.extensions = ""
        self.server_signature = b""

    @property
    def first(self) -> bytes:
        return (self.gs2 + self.bare).encode()

    def final(self, challenge: bytes, *, nonce: str | None = None) -> bytes:
        server_first = challenge.decode()
        values = dict(part.split("=", 1) for part in server_first.split(","))
        without_proof = f"c={self.binding},r={nonce or values['r']}{self.extensions}"
        auth_message = f"{self.bare},{server_first},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac(self.hash_name, self.password.encode(), b64decode(values["s"]), int(values["i"]))
        client_key = hmac.digest(salted, b"Client Key", self.hash_name)
        signature = hmac.digest(hashlib.new(self.hash_name, client_key).digest(), auth_message, self.hash_name)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        server_key = hmac.digest(salted, b"Server Key", self.hash_name)
        self.server_signature = hmac.digest(server_key, auth_message, self.hash_name)
        return f"{without_proof},p={b64encode(proof).decode()}".encode()

    def accepts(self, server_final: bytes) -> bool:
        return server_final == b"v=" + b64encode(self.server_signature)
