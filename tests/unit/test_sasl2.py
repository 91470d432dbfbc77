"""XEP-0388, and what stands in its elements: XEP-0386, XEP-0198, XEP-0484, XEP-0480; and XEP-0474."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from itertools import count

import pytest
from lxml import etree

from scram_client import ScramClient
from xmppws.errors import NotAuthorized, SaslCredentialsExpired
from xmppws.jid import Jid
from xmppws.stream import sasl2
from xmppws.stream.c2s import Negotiation, State
from xmppws.stream.offer import Offer
from xmppws.stream.sasl import AccountWanted, HashedTokenWanted, KeysWanted, PasswordWanted, UpgradeWanted, ht
from xmppws.stream.sasl.keys import ITERATIONS, SALT_LENGTH, derive
from xmppws.stream.sasl.scram import HASHES
from xmppws.stream.sasl2 import Fast, Request
from xmppws.stream.sm import Resume
from xmppws.stream.steps import Attempt, Authenticated, Reply, Step
from xmppws.xml import ns
from xmppws.xml.parser import Element, Parser, Vocabulary

VOCABULARY = Vocabulary()
MECHANISMS = (*HASHES, "PLAIN", "ANONYMOUS")
OFFER = Offer.of(
    "example.com",
    MECHANISMS,
    features=b"<extra xmlns='urn:x'/>",
    inline=(ns.CARBONS, ns.CSI),
    tokens=(ht.NAME,),
    upgrades=("SCRAM-SHA-512", "SCRAM-SHA-256"),
    max_attempts=3,
)
ALICE = Jid.parse("alice@example.com")
RIGHT = b"\0alice\0pencil"


def xml(message: str) -> Element:
    return Parser(VOCABULARY, "").parse(message.encode())


def negotiation(sender: str | None = None) -> Negotiation:
    numbers = count()
    made = Negotiation(OFFER, lambda: f"nonce{next(numbers)}")
    made.opened(sender)
    return made


def authenticate(mechanism: str, initial: bytes | None = None, content: str = "") -> Element:
    response = "" if initial is None else f"<initial-response>{b64encode(initial).decode()}</initial-response>"
    return xml(f"<authenticate xmlns='{ns.SASL2}' mechanism='{mechanism}'>{response}{content}</authenticate>")


def response(data: bytes) -> Element:
    return xml(f"<response xmlns='{ns.SASL2}'>{b64encode(data).decode()}</response>")


def upgrade(*names: str) -> str:
    return "".join(f"<upgrade xmlns='{ns.SASL_UPGRADE}'>{name}</upgrade>" for name in names)


def root_of(step: Step) -> etree._Element:
    """Return the one message of a reply, which is one of SASL2."""
    assert isinstance(step, Reply)
    (message,) = step.messages
    root = etree.fromstring(message)
    assert etree.QName(root).namespace == ns.SASL2
    return root


def failure(step: Step) -> tuple[str, str | None]:
    root = root_of(step)
    assert root.tag == f"{{{ns.SASL2}}}failure"
    assert etree.QName(root[0]).namespace == ns.SASL
    return etree.QName(root[0]).localname, root.findtext(f"{{{ns.SASL2}}}text")


def logged_in(made: Negotiation, content: str = "") -> Authenticated:
    made.received(authenticate("PLAIN", RIGHT, content))
    step = made.password_checked(True)
    assert isinstance(step, Authenticated)
    return step


def test_offer() -> None:
    feature = etree.fromstring(OFFER.before).find(f"{{{ns.SASL2}}}authentication")
    assert feature is not None
    assert tuple(each.text for each in feature.findall(f"{{{ns.SASL2}}}mechanism")) == MECHANISMS
    inline = feature.find(f"{{{ns.SASL2}}}inline")
    assert inline is not None
    features = inline.findall(f"{{{ns.BIND2}}}bind/{{{ns.BIND2}}}inline/{{{ns.BIND2}}}feature")
    assert [each.get("var") for each in features] == [ns.STREAM_MANAGEMENT, ns.CARBONS, ns.CSI]
    assert inline.find(f"{{{ns.STREAM_MANAGEMENT}}}sm") is not None
    assert inline.findtext(f"{{{ns.FAST}}}fast/{{{ns.FAST}}}mechanism") == "HT-SHA-256-NONE"
    upgrades = feature.findall(f"{{{ns.SASL_UPGRADE}}}upgrade")
    assert [each.text for each in upgrades] == ["UPGR-SCRAM-SHA-512", "UPGR-SCRAM-SHA-256"]


def test_what_is_not_there_is_not_offered() -> None:
    feature = etree.fromstring(Offer.of("example.com", ("PLAIN",), features=b"", max_attempts=3).before)[1]
    assert feature.find(f".//{{{ns.FAST}}}fast") is None
    assert feature.find(f"{{{ns.SASL_UPGRADE}}}upgrade") is None


# --- The exchange ---


def test_plain_ends_in_one_step() -> None:
    made = negotiation()
    assert made.received(authenticate("PLAIN", RIGHT)) == PasswordWanted("alice", "pencil")
    done = made.password_checked(True)
    expected = Request("PLAIN", b64encode(RIGHT).decode())
    assert done == Authenticated(ALICE, expected, Attempt("PLAIN", "alice"), None)
    # Until the host has answered all that the request asks for, nobody may take the client for logged in.
    assert made.jid is None


def test_a_client_without_a_session_binds_as_ever() -> None:
    made = negotiation()
    reply = made.finished(logged_in(made), None)
    success, features = reply.messages
    root = etree.fromstring(success)
    assert root.tag == f"{{{ns.SASL2}}}success"
    assert [(etree.QName(each).localname, each.text) for each in root] == [("authorization-identifier", ALICE.text)]
    assert (features, reply.attempt) == (OFFER.after, Attempt("PLAIN", "alice"))
    assert (made.state, made.jid) == (State.BINDING, ALICE)


def test_a_client_with_a_session_is_told_its_full_jid() -> None:
    made = negotiation()
    session = ALICE.with_resource("a<b/1")
    reply = made.finished(logged_in(made), session, b"<one xmlns='urn:x'/>", sasl2.bound(b"<two xmlns='urn:x'/>"))
    root = etree.fromstring(reply.messages[0])
    assert root.findtext(f"{{{ns.SASL2}}}authorization-identifier") == session.text
    assert root.find("{urn:x}one") is not None
    assert root.find(f"{{{ns.BIND2}}}bound/{{urn:x}}two") is not None
    assert reply.messages[1] == OFFER.bound
    assert made.state is State.BOUND
    # What is on already is offered no more: xmpp.js would ask for it again.
    counting = negotiation()
    assert counting.finished(logged_in(counting), session, is_counted=True).messages[1] == OFFER.counted


@pytest.mark.parametrize("mechanism", HASHES)
def test_scram_protects_the_offer(mechanism: str) -> None:
    """XEP-0474 section 5: `h` is the hash of the mechanisms, sorted and joined; no types of channel binding."""
    made = negotiation()
    client = ScramClient(HASHES[mechanism], "alice", "pencil")
    assert made.received(authenticate(mechanism, client.first)) == KeysWanted("alice", HASHES[mechanism])
    challenge = root_of(made.keys(derive("pencil", b"salt", 4, HASHES[mechanism])))
    assert challenge.tag == f"{{{ns.SASL2}}}challenge"
    first = b64decode(challenge.text or "")
    digest = hashlib.new(HASHES[mechanism], "\x1e".join(sorted(MECHANISMS)).encode()).digest()
    assert dict(part.split("=", 1) for part in first.decode().split(","))["h"] == b64encode(digest).decode()
    done = made.received(response(client.final(first)))
    assert isinstance(done, Authenticated) and done.data is not None and client.accepts(done.data)
    success = etree.fromstring(made.finished(done, None).messages[0])
    assert client.accepts(b64decode(success.findtext(f"{{{ns.SASL2}}}additional-data") or ""))


def test_the_client_may_speak_second() -> None:
    made = negotiation()
    assert not root_of(made.received(authenticate("PLAIN"))).text
    assert made.received(response(RIGHT)) == PasswordWanted("alice", "pencil")


def test_anonymous() -> None:
    made = negotiation()
    assert made.received(authenticate("ANONYMOUS")) == AccountWanted()
    done = made.account("5c0b")
    assert isinstance(done, Authenticated) and done.account == Jid.parse("5c0b@example.com")


@pytest.mark.parametrize(
    ("message", "condition"),
    [
        (authenticate("EXTERNAL", b"x"), "invalid-mechanism"),
        (authenticate(ht.NAME, b"x"), "invalid-mechanism"),
        (authenticate("PLAIN", RIGHT, f"<fast xmlns='{ns.FAST}'/>"), "invalid-mechanism"),
        (xml(f"<authenticate xmlns='{ns.SASL2}'/>"), "invalid-mechanism"),
        (authenticate("PLAIN", b"x"), "malformed-request"),
        (
            xml(
                f"<authenticate xmlns='{ns.SASL2}' mechanism='PLAIN'><initial-response>=</initial-response>"
                "</authenticate>"
            ),
            "incorrect-encoding",
        ),
        (authenticate("PLAIN", RIGHT, f"<resume xmlns='{ns.STREAM_MANAGEMENT}' h='-1'/>"), "malformed-request"),
        (authenticate(ht.NAME, b"x", f"<fast xmlns='{ns.FAST}' count='x'/>"), "malformed-request"),
        (response(b"x"), "malformed-request"),
        (xml(f"<abort xmlns='{ns.SASL2}'/>"), "aborted"),
    ],
)
def test_what_fails(message: Element, condition: str) -> None:
    made = negotiation()
    assert failure(made.received(message))[0] == condition
    assert made.state is State.AUTHENTICATING


def test_a_wrong_password() -> None:
    made = negotiation()
    made.received(authenticate("PLAIN", b"\0alice\0pen", f"<bind xmlns='{ns.BIND2}'/>"))
    assert failure(made.password_checked(False)) == ("not-authorized", None)
    assert made.jid is None


def test_an_exchange_goes_on_as_it_began() -> None:
    made = negotiation()
    made.received(authenticate("PLAIN"))
    with pytest.raises(NotAuthorized, match="namespace"):
        made.received(xml(f"<response xmlns='{ns.SASL}'/>"))
    with pytest.raises(NotAuthorized, match="namespace"):
        made.received(xml(f"<abort xmlns='{ns.SASL}'/>"))
    old = negotiation()
    old.received(xml(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>"))
    with pytest.raises(NotAuthorized, match="namespace"):
        old.received(response(RIGHT))


def test_after_a_failure_the_client_may_use_the_older_profile() -> None:
    made = negotiation()
    made.received(authenticate("PLAIN", b"\0alice\0pen"))
    made.password_checked(False)
    made.received(xml(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'>{b64encode(RIGHT).decode()}</auth>"))
    success = made.password_checked(True)
    assert isinstance(success, Reply)
    assert etree.fromstring(success.messages[0]).tag == f"{{{ns.SASL}}}success"
    assert made.request is None and made.state is State.AUTHENTICATED


@pytest.mark.parametrize(
    ("sender", "lets_in"),
    [
        *((None, True), ("", True), ("alice@example.com", True), ("ALICE@example.com/r", True)),
        *(("bob@example.com", False), ("example.com", False), ("@", False)),
    ],
)
def test_who_acts_as_somebody_is_who_opened_the_stream(sender: str | None, lets_in: bool) -> None:
    made = negotiation(sender)
    made.received(authenticate("PLAIN", b"alice@example.com\0alice\0pencil"))
    step = made.password_checked(True)
    assert isinstance(step, Authenticated) if lets_in else failure(step)[0] == "invalid-authzid"


# --- What the client wants besides ---


def test_everything_at_once() -> None:
    content = (
        "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>S</software><device>D</device></user-agent>"
        f"<bind xmlns='{ns.BIND2}'><tag> Web </tag><enable xmlns='{ns.CARBONS}'/>"
        f"<enable xmlns='{ns.STREAM_MANAGEMENT}' resume='true'/></bind>"
        f"<resume xmlns='{ns.STREAM_MANAGEMENT}' previd='p' h='7'/>"
        f"<request-token xmlns='{ns.FAST}' mechanism='{ht.NAME}'/><other xmlns='urn:x'/>"
    )
    request = logged_in(negotiation(), content).request
    assert request.agent == "d4565fa7-4d72-4749-b3d3-740edbf87770"
    assert request.resume == Resume("p", 7)
    assert request.token == ht.NAME
    assert request.bind is not None and request.bind.tag == "Web"
    assert list(request.bind.wanted) == [f"{{{ns.CARBONS}}}enable", f"{{{ns.STREAM_MANAGEMENT}}}enable"]


def test_a_bind_that_says_nothing() -> None:
    request = logged_in(negotiation(), f"<bind xmlns='{ns.BIND2}'><tag/></bind><user-agent/><request-token/>").request
    assert request.bind is not None
    assert (request.bind.tag, request.bind.wanted, request.agent, request.token) == ("", {}, "", "")
    assert logged_in(negotiation(), f"<bind xmlns='{ns.BIND2}'/>").request.bind is not None


# --- Tokens ---


@pytest.mark.parametrize(
    ("attributes", "fast"),
    [
        ("", Fast(None, False)),
        ("count='7'", Fast(7, False)),
        ("invalidate='true'", Fast(None, True)),
        ("count='0' invalidate='1'", Fast(0, True)),
        ("invalidate='false'", Fast(None, False)),
    ],
)
def test_a_token_lets_in(attributes: str, fast: Fast) -> None:
    made = negotiation()
    shown = ht.of_client("token")
    wanted = made.received(authenticate(ht.NAME, b"alice\0" + shown, f"<fast xmlns='{ns.FAST}' {attributes}/>"))
    assert wanted == HashedTokenWanted("alice", shown)
    assert made.request is not None and made.request.fast == fast
    done = made.token_known(ht.of_server("token"))
    assert isinstance(done, Authenticated) and done.data == ht.of_server("token")


def test_hashes_of_a_token() -> None:
    """draft-schmaus-kitten-sasl-ht-08 section 3: HMAC(token, "Initiator" || cb-data), and "Responder"."""
    assert ht.of_client("token") == hmac.new(b"token", b"Initiator", "sha256").digest()
    assert ht.of_server("token") == hmac.new(b"token", b"Responder", "sha256").digest()


def test_a_token_that_nobody_knows() -> None:
    made = negotiation()
    fast = f"<fast xmlns='{ns.FAST}'/>"
    made.received(authenticate(ht.NAME, b"alice\0" + ht.of_client("x"), fast))
    assert failure(made.token_known(b""))[0] == "not-authorized"
    made.received(authenticate(ht.NAME, b"alice\0" + ht.of_client("x"), fast))
    assert failure(made.failed(SaslCredentialsExpired("The token has expired"))) == (
        "credentials-expired",
        "The token has expired",
    )


@pytest.mark.parametrize("data", [b"", b"\0" + bytes(32), b"alice", b"alice\0" + bytes(31), b"\xff\0" + bytes(32)])
def test_a_token_that_is_none(data: bytes) -> None:
    made = negotiation()
    step = made.received(authenticate(ht.NAME, data, f"<fast xmlns='{ns.FAST}'/>"))
    if not data:
        step = made.received(response(b""))
    assert failure(step)[0] == "malformed-request"


def test_token_element() -> None:
    root = etree.fromstring(sasl2.token("t", "2026-01-01T00:00:00.000Z"))
    assert (root.tag, dict(root.attrib)) == (
        f"{{{ns.FAST}}}token",
        {"token": "t", "expiry": "2026-01-01T00:00:00.000Z"},
    )


# --- Keys that the server lacks ---


def proven(made: Negotiation, client: ScramClient, content: str, *lacking: str) -> Step:
    """Log in with SCRAM-SHA-1 to an account that lacks keys for other mechanisms."""
    made.received(authenticate("SCRAM-SHA-1", client.first, content))
    challenge = root_of(made.keys(derive("pencil", b"salt", 4, "sha1"), lacking))
    return made.received(response(client.final(b64decode(challenge.text or ""))))


def at_a_task() -> Negotiation:
    """Return one whose client is to give keys for SCRAM-SHA-256."""
    made, client = negotiation(), ScramClient("sha1", "alice", "pencil")
    go_on = proven(made, client, upgrade("UPGR-SCRAM-SHA-256"), "SCRAM-SHA-256")
    assert root_of(go_on).tag == f"{{{ns.SASL2}}}continue"
    return made


def test_a_client_gives_keys() -> None:
    made, client = negotiation(), ScramClient("sha1", "alice", "pencil")
    content = upgrade("UPGR-SCRAM-SHA-256", "UPGR-SCRAM-SHA-512", "UPGR-OTHER", "SCRAM-SHA-1", "")
    go_on = root_of(proven(made, client, content, "SCRAM-SHA-512", "SCRAM-SHA-256"))
    assert client.accepts(b64decode(go_on.findtext(f"{{{ns.SASL2}}}additional-data") or ""))
    for name in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        assert go_on.findtext(f"{{{ns.SASL2}}}tasks/{{{ns.SASL2}}}task") == f"UPGR-{name}"
        salt = root_of(made.received(xml(f"<next xmlns='{ns.SASL2}' task='UPGR-{name}'/>")))[0]
        assert (salt.tag, salt.get("iterations")) == (f"{{{ns.SCRAM_UPGRADE}}}salt", str(ITERATIONS))
        assert len(b64decode(salt.text or "")) == SALT_LENGTH
        salted = hashlib.pbkdf2_hmac(HASHES[name], b"pencil", b64decode(salt.text or ""), ITERATIONS)
        wanted = made.received(task_data(salted))
        keys = derive("pencil", b64decode(salt.text or ""), ITERATIONS, HASHES[name])
        assert wanted == UpgradeWanted("alice", HASHES[name], keys)
        step = made.upgraded()
        if not isinstance(step, Authenticated):
            go_on = root_of(step)
            assert go_on.find(f"{{{ns.SASL2}}}additional-data") is None
    assert isinstance(step, Authenticated) and step.account == ALICE
    # It was said with the first <continue/>.
    assert step.data is None
    assert made.jid is None


def task_data(salted: bytes) -> Element:
    content = f"<hash xmlns='{ns.SCRAM_UPGRADE}'>{b64encode(salted).decode()}</hash>"
    return xml(f"<task-data xmlns='{ns.SASL2}'>{content}</task-data>")


def test_a_task_that_was_not_named() -> None:
    made = at_a_task()
    assert (
        failure(made.received(xml(f"<next xmlns='{ns.SASL2}' task='UPGR-SCRAM-SHA-512'/>")))[0] == "malformed-request"
    )
    assert made.state is State.AUTHENTICATING


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (task_data(bytes(31)), "malformed-request"),
        (xml(f"<task-data xmlns='{ns.SASL2}'/>"), "malformed-request"),
        (
            xml(f"<task-data xmlns='{ns.SASL2}'><hash xmlns='{ns.SCRAM_UPGRADE}'>!</hash></task-data>"),
            "incorrect-encoding",
        ),
    ],
)
def test_keys_that_are_none(data: Element, condition: str) -> None:
    made = at_a_task()
    made.received(xml(f"<next xmlns='{ns.SASL2}' task='UPGR-SCRAM-SHA-256'/>"))
    assert failure(made.received(data))[0] == condition
    assert made.jid is None


def test_a_task_can_be_aborted() -> None:
    made = at_a_task()
    assert failure(made.received(xml(f"<abort xmlns='{ns.SASL2}'/>")))[0] == "aborted"
    # The next attempt begins anew.
    assert logged_in(made).request.upgrades == ()


def test_keys_that_the_account_has_are_not_asked_for() -> None:
    content = upgrade("UPGR-SCRAM-SHA-256", "UPGR-SCRAM-SHA-512")
    assert isinstance(proven(negotiation(), ScramClient("sha1", "alice", "pencil"), content), Authenticated)
    go_on = root_of(proven(negotiation(), ScramClient("sha1", "alice", "pencil"), content, "SCRAM-SHA-512"))
    assert [each.text for each in go_on.iter(f"{{{ns.SASL2}}}task")] == ["UPGR-SCRAM-SHA-512"]


def test_who_has_proven_no_keys_gives_none() -> None:
    made = negotiation()
    made.received(authenticate("SCRAM-SHA-1", ScramClient("sha1", "alice", "pencil").first))
    made.keys(derive("pencil", b"salt", 4, "sha1"), ("SCRAM-SHA-256",))
    made.received(xml(f"<abort xmlns='{ns.SASL2}'/>"))
    made.received(authenticate("PLAIN", RIGHT, upgrade("UPGR-SCRAM-SHA-256")))
    assert isinstance(made.password_checked(True), Authenticated)
