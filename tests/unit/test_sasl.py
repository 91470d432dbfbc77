from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest

from scram_client import ScramClient
from xmppws.errors import SaslMalformedRequest, SaslNotAuthorized
from xmppws.stream.sasl import (
    AccountWanted,
    Challenge,
    KeysWanted,
    Mechanism,
    PasswordWanted,
    Refusal,
    Step,
    Success,
    TokenWanted,
)
from xmppws.stream.sasl.anonymous import Anonymous
from xmppws.stream.sasl.ht import HashedToken
from xmppws.stream.sasl.keys import ScramKeys, derive
from xmppws.stream.sasl.oauthbearer import OAuthBearer
from xmppws.stream.sasl.plain import Plain
from xmppws.stream.sasl.scram import HASHES, Scram, State

SALT = b"\x00salt"


def keys_of(password: str, hash_name: str = "sha1") -> ScramKeys:
    return derive(password, SALT, 4, hash_name)


def challenge(scram: Scram, client: ScramClient, password: str = "pencil") -> bytes:
    """Bring the exchange to the point where the client has been challenged."""
    step = scram.respond(client.first)
    assert isinstance(step, KeysWanted)
    challenged = scram.keys(keys_of(password, step.hash_name))
    assert isinstance(challenged, Challenge)
    return challenged.data


# RFC 5802 section 5 and RFC 7677 section 3.
EXAMPLES = [
    (
        "SCRAM-SHA-1",
        "QSXCR+Q6sek8bf92",
        "3rfcNHYJY1ZVvWVs7j",
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    (
        "SCRAM-SHA-256",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
]


@pytest.mark.parametrize(("mechanism", "salt", "nonce", "first", "server_first", "final", "server_final"), EXAMPLES)
def test_examples_of_the_rfcs(
    mechanism: str, salt: str, nonce: str, first: bytes, server_first: bytes, final: bytes, server_final: bytes
) -> None:
    scram = Scram(mechanism, nonce)
    hash_name = HASHES[mechanism]
    assert scram.respond(first) == KeysWanted("user", hash_name)
    assert scram.keys(derive("pencil", b64decode(salt), 4096, hash_name)) == Challenge(server_first)
    assert scram.respond(final) == Success("user", "", server_final)


@pytest.mark.parametrize("mechanism", HASHES)
@pytest.mark.parametrize(("gs2", "authzid"), [("n,,", ""), ("y,,", ""), ("n,a=o=2Cth=3Der,", "o,th=er")])
def test_scram(mechanism: str, gs2: str, authzid: str) -> None:
    scram = Scram(mechanism, "server")
    client = ScramClient(HASHES[mechanism], "us,er=", "pencil", gs2=gs2)
    step = scram.respond(client.final(challenge(scram, client)))
    assert isinstance(step, Success)
    assert (step.username, step.authzid) == ("us,er=", authzid)
    assert client.accepts(step.data)
    assert scram.state is State.DONE


def test_scram_with_extensions() -> None:
    scram = Scram("SCRAM-SHA-1", "server")
    client = ScramClient("sha1", "user", "pencil")
    client.bare += ",x=1,Y=a b"
    client.extensions = ",z=2"
    assert isinstance(scram.respond(client.final(challenge(scram, client))), Success)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"", "does not parse"),
        (b"n,,n=,r=x", "does not parse"),
        (b"n,,n=user,r=", "does not parse"),
        (b"n,,n=user,r=a\x7f", "does not parse"),
        (b"n,,n=user,r=a b", "does not parse"),
        (b"x,,n=user,r=a", "does not parse"),
        (b"n,b=x,n=user,r=a", "does not parse"),
        (b"n,a=,n=user,r=a", "does not parse"),
        (b"n=user,r=a", "does not parse"),
        (b"n,,m=ext,n=user,r=a", "does not parse"),
        (b"n,,n=user,r=a,m=ext", "does not parse"),
        (b"n,,n=user,r=a,", "does not parse"),
        (b"n,,n=us=er,r=a", "=2C or =3D"),
        (b"n,a=o=40x,n=user,r=a", "=2C or =3D"),
        (b"n,,n=us=2cer,r=a", "=2C or =3D"),
        (b"n,,n=us=2=2CC,r=a", "=2C or =3D"),
        (b"n,,n=\xff,r=a", "not UTF-8"),
        (b"n,,n=us\0er,r=a", "NUL"),
        (b"n,,n=" + b"u" * 8192 + b",r=a", "too long"),
    ],
)
def test_malformed_client_first(first: bytes, words: str) -> None:
    scram = Scram("SCRAM-SHA-1", "server")
    with pytest.raises(SaslMalformedRequest, match=words):
        scram.respond(first)
    with pytest.raises(SaslMalformedRequest, match="over"):
        scram.keys(keys_of("pencil"))


def test_channel_binding_was_not_offered() -> None:
    with pytest.raises(SaslNotAuthorized, match="not offered"):
        Scram("SCRAM-SHA-1", "server").respond(b"p=tls-exporter,,n=user,r=a")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda final: b"", "does not parse"),
        (lambda final: final.split(b",p=")[0], "does not parse"),
        (lambda final: final.replace(b",p=", b",m=ext,p="), "does not parse"),
        (lambda final: final + b",x=1", "does not parse"),
        (lambda final: final.replace(b"c=biws", b"c=b!ws"), "not base64"),
        (lambda final: final.replace(b"c=biws", "c=bïws".encode()), "not base64"),
        (lambda final: final.split(b",p=")[0] + b",p=!!!!", "not base64"),
        (lambda final: final.split(b",p=")[0] + b",p=" + b64encode(bytes(19)), "wrong length"),
        (lambda final: final + b"\xff", "not UTF-8"),
    ],
)
def test_malformed_client_final(change: Callable[[bytes], bytes], words: str) -> None:
    scram = Scram("SCRAM-SHA-1", "server")
    client = ScramClient("sha1", "user", "pencil")
    final = client.final(challenge(scram, client))
    with pytest.raises(SaslMalformedRequest, match=words):
        scram.respond(change(final))
    # One attempt is one attempt: the right proof comes too late.
    with pytest.raises(SaslMalformedRequest, match="over"):
        scram.respond(final)


def refused(client: ScramClient, nonce: str | None = None) -> str:
    scram = Scram("SCRAM-SHA-1", "server")
    final = client.final(challenge(scram, client), nonce=nonce)
    with pytest.raises(SaslNotAuthorized) as caught:
        scram.respond(final)
    return caught.value.text


def test_wrong_password() -> None:
    assert refused(ScramClient("sha1", "user", "pen")) == ""


@pytest.mark.parametrize("nonce", ["client", "server", "clientserver1", "Clientserver"])
def test_other_nonce(nonce: str) -> None:
    assert "nonce" in refused(ScramClient("sha1", "user", "pencil"), nonce)


@pytest.mark.parametrize("binding", [b"y,,", b"n,a=x,", b"n,", b"n,,\0"])
def test_other_binding(binding: bytes) -> None:
    client = ScramClient("sha1", "user", "pencil")
    client.binding = b64encode(binding).decode()
    assert "channel binding" in refused(client)


def test_scram_answers_in_the_wrong_order() -> None:
    scram = Scram("SCRAM-SHA-1", "server")
    with pytest.raises(SaslMalformedRequest, match="over"):
        scram.keys(keys_of("pencil"))
    client = ScramClient("sha1", "user", "pencil")
    assert isinstance(scram.respond(client.first), KeysWanted)
    with pytest.raises(SaslMalformedRequest, match="over"):
        scram.respond(client.first)


def test_plain() -> None:
    plain = Plain()
    assert plain.respond("me@a\0üser\0p w,=".encode()) == PasswordWanted("üser", "p w,=")
    assert plain.password_checked(True) == Success("üser", "me@a")


def test_plain_with_wrong_password() -> None:
    plain = Plain()
    plain.respond(b"\0user\0password")
    with pytest.raises(SaslNotAuthorized):
        plain.password_checked(False)


@pytest.mark.parametrize("data", [b"", b"user", b"\0user", b"\0\0password", b"\0user\0", b"\0u\0p\0", b"\0\xff\0p"])
def test_malformed_plain(data: bytes) -> None:
    with pytest.raises(SaslMalformedRequest, match="PLAIN takes"):
        Plain().respond(data)


def test_anonymous() -> None:
    for trace in (b"", b"sirhc", "\N{SNOWMAN}".encode() * 255):
        anonymous = Anonymous()
        assert anonymous.respond(trace) == AccountWanted()
        assert anonymous.account("made") == Success("made", "")


@pytest.mark.parametrize(("trace", "words"), [(b"\xff", "not UTF-8"), (b"x" * 256, "longer than 255")])
def test_malformed_anonymous(trace: bytes, words: str) -> None:
    with pytest.raises(SaslMalformedRequest, match=words):
        Anonymous().respond(trace)


@pytest.mark.parametrize(
    ("message", "authzid", "token"),
    [
        # RFC 7628 section 4.1.
        (
            b"n,a=user@example.com,\1host=server.example.com\1port=143\1"
            b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1",
            "user@example.com",
            "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
        ),
        (b"y,,\1auth=bearer  a.b-c_d~e+f/\1\1", "", "a.b-c_d~e+f/"),
        ("n,a=a=2Cb=3D\N{SNOWMAN},\1auth=BEARER t\1\1".encode(), "a,b=\N{SNOWMAN}", "t"),
    ],
)
def test_bearer_token(message: bytes, authzid: str, token: str) -> None:
    bearer = OAuthBearer()
    assert bearer.respond(message) == TokenWanted(authzid, token)
    assert bearer.token_checked("user") == Success("user", authzid)
    with pytest.raises(SaslMalformedRequest, match="The exchange is over"):
        bearer.respond(message)


@pytest.mark.parametrize(
    "pairs", ["", "auth=\1", "auth=Basic dDo=\1", "auth=Bearer\1", "auth=Bearer a b\1", "user=x\1"]
)
def test_no_bearer_token(pairs: str) -> None:
    bearer = OAuthBearer()
    assert bearer.respond(f"n,,\1{pairs}\1".encode()) == Refusal(b'{"status":"invalid_token"}')
    with pytest.raises(SaslNotAuthorized):
        bearer.respond(b"\1")


def test_refused_bearer_token() -> None:
    bearer = OAuthBearer()
    bearer.respond(b"n,,\1auth=Bearer t\1\1")
    assert bearer.token_checked("") == Refusal(b'{"status":"invalid_token"}')
    with pytest.raises(SaslMalformedRequest, match="No token was to be checked"):
        bearer.token_checked("user")
    with pytest.raises(SaslNotAuthorized):
        bearer.respond(b"anything")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\1",
        b"\xff,,\1\1",
        b"n,,\1auth=Bearer t\1",
        b"n,,\1auth=Bearer t",
        b"n,,auth=Bearer t\1\1",
        b"n,,\1auth=Bearer t\1\1\1",
        b"n,,\1auth=Bearer t\1\1x",
        b"x,,\1auth=Bearer t\1\1",
        b"n,a=,\1auth=Bearer t\1\1",
        b"n,a=a=2c,\1auth=Bearer t\1\1",
        b"n,,\1auth=Bearer t\1auth=Bearer u\1\1",
        b"n,,\1auth=Bearer t\x7f\1\1",
        b"n,,\1=Bearer t\1\1",
        b"\1auth=Bearer t\1\1",
    ],
)
def test_malformed_bearer_message(message: bytes) -> None:
    with pytest.raises(SaslMalformedRequest):
        OAuthBearer().respond(message)


def test_bearer_token_without_channel_binding() -> None:
    with pytest.raises(SaslNotAuthorized, match="Channel binding was not offered"):
        OAuthBearer().respond(b"p=tls-exporter,,\1auth=Bearer t\1\1")


def test_questions_show_no_secret() -> None:
    assert "secret" not in repr(PasswordWanted("alice", "secret")) + repr(TokenWanted("alice", "secret"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda mechanism: mechanism.keys(keys_of("pencil")), "No keys"),
        (lambda mechanism: mechanism.password_checked(True), "No password"),
        (lambda mechanism: mechanism.token_checked("alice"), "No token was to be checked"),
        (lambda mechanism: mechanism.token_known(b"hash"), "No token was to be looked up"),
        (lambda mechanism: mechanism.account("made"), "No account"),
    ],
)
def test_answers_that_were_not_asked_for(answer: Callable[[Mechanism], Step], words: str) -> None:
    asked = {
        "No keys": Scram,
        "No password": Plain,
        "No token was to be checked": OAuthBearer,
        "No token was to be looked up": HashedToken,
        "No account": Anonymous,
    }[words]
    for mechanism in (Scram("SCRAM-SHA-1", "server"), Plain(), OAuthBearer(), HashedToken(), Anonymous()):
        if not isinstance(mechanism, asked):
            with pytest.raises(SaslMalformedRequest, match=words):
                answer(mechanism)
