from base64 import b64decode, b64encode
from itertools import count, product

import pytest
from lxml import etree

from scram_client import ScramClient
from xmppws.errors import (
    BadFormat,
    Conflict,
    InvalidFrom,
    NotAuthorized,
    Reason,
    SaslTemporaryAuthFailure,
    StreamPolicyViolation,
)
from xmppws.jid import Jid
from xmppws.stream import sasl2, sm
from xmppws.stream.c2s import _HANDLERS, Event, Negotiation, State
from xmppws.stream.offer import Offer
from xmppws.stream.sasl import AccountWanted, KeysWanted, PasswordWanted, TokenWanted, UpgradeWanted
from xmppws.stream.sasl.keys import derive
from xmppws.stream.sasl.scram import HASHES
from xmppws.stream.sm import Resume
from xmppws.stream.steps import Attempt, Bind, Reply, Step
from xmppws.xml import ns
from xmppws.xml.parser import Element, Parser, Vocabulary

VOCABULARY = Vocabulary()
MECHANISMS = (*HASHES, "PLAIN", "OAUTHBEARER", "ANONYMOUS")
TOKEN = b"n,a=alice@example.com,\1auth=Bearer t\1\1"
OFFER = Offer.of(
    "example.com", MECHANISMS, features=b"<extra xmlns='urn:x'/>", upgrades=("SCRAM-SHA-256",), max_attempts=3
)
PASSWORD = "pencil"
UPGRADING = (
    f"<authenticate xmlns='{ns.SASL2}' mechanism='SCRAM-SHA-1'><initial-response>{{}}</initial-response>"
    f"<upgrade xmlns='{ns.SASL_UPGRADE}'>UPGR-SCRAM-SHA-256</upgrade></authenticate>"
)
BIND_IQ = "<iq xmlns='jabber:client' type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{}</bind></iq>"
MESSAGES = {
    Event.AUTH: f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>",
    Event.RESPONSE: f"<response xmlns='{ns.SASL}'/>",
    Event.AUTHENTICATE: f"<authenticate xmlns='{ns.SASL2}' mechanism='PLAIN'/>",
    Event.ABORT: f"<abort xmlns='{ns.SASL}'/>",
    Event.NEXT: f"<next xmlns='{ns.SASL2}' task='UPGR-SCRAM-SHA-256'/>",
    Event.TASK_DATA: f"<task-data xmlns='{ns.SASL2}'><hash xmlns='{ns.SCRAM_UPGRADE}'>AAAA</hash></task-data>",
    Event.STANZA: BIND_IQ.format(""),
    Event.RESUME: f"<resume xmlns='{ns.STREAM_MANAGEMENT}' previd='p' h='7'/>",
    Event.ENABLE: f"<enable xmlns='{ns.STREAM_MANAGEMENT}'/>",
    Event.OTHER: "<other xmlns='urn:x'/>",
}


def xml(message: str) -> Element:
    return Parser(VOCABULARY, "").parse(message.encode())


def negotiation(state: State = State.AUTHENTICATING) -> Negotiation:
    """Return one that has come to this state by itself."""
    numbers = count()
    made = Negotiation(OFFER, lambda: f"nonce{next(numbers)}")
    if state is State.NEW:
        return made
    made.opened()
    if state is State.RESPONDING:
        made.received(xml(MESSAGES[Event.AUTH]))
    if state in (State.CONTINUING, State.UPGRADING):
        client = ScramClient("sha1", "alice", PASSWORD)
        made.received(xml(UPGRADING.format(b64encode(client.first).decode())))
        challenge = made.keys(derive(PASSWORD, b"salt", 4, "sha1"), ("SCRAM-SHA-256",))
        assert isinstance(challenge, Reply)
        final = b64encode(client.final(b64decode(etree.fromstring(challenge.messages[0]).text or ""))).decode()
        made.received(xml(f"<response xmlns='{ns.SASL2}'>{final}</response>"))
    if state is State.UPGRADING:
        made.received(xml(MESSAGES[Event.NEXT]))
    if state in (State.AUTHENTICATED, State.BINDING, State.BOUND):
        made.received(auth("PLAIN", b"\0alice\0pencil"))
        made.password_checked(True)
    if state in (State.BINDING, State.BOUND):
        made.opened()
    if state is State.BOUND:
        bind = made.received(xml(BIND_IQ.format("")))
        assert isinstance(bind, Bind)
        made.bound(bind, Jid.parse("alice@example.com/r"))
    assert made.state is state
    return made


def auth(mechanism: str, data: bytes | None = None, *, text: str | None = None) -> Element:
    content = text or ("" if data is None else b64encode(data).decode())
    return xml(f"<auth xmlns='{ns.SASL}' mechanism='{mechanism}'>{content}</auth>")


def response(data: bytes | str) -> Element:
    content = data if isinstance(data, str) else b64encode(data).decode()
    return xml(f"<response xmlns='{ns.SASL}'>{content}</response>")


def answer(step: Step) -> tuple[str, bytes]:
    """Return name and content of the one SASL message of a reply."""
    assert isinstance(step, Reply)
    (message,) = step.messages
    root = etree.fromstring(message)
    namespace, _, name = str(root.tag)[1:].partition("}")
    assert namespace == ns.SASL
    return name, b64decode(root.text or "")


def failure(step: Step) -> tuple[str, str | None]:
    """Return condition and text of a SASL failure."""
    assert isinstance(step, Reply)
    (message,) = step.messages
    root = etree.fromstring(message)
    assert root.tag == f"{{{ns.SASL}}}failure"
    return str(root[0].tag).removeprefix(f"{{{ns.SASL}}}"), root.findtext(f"{{{ns.SASL}}}text")


def scram_success(made: Negotiation, mechanism: str, client: ScramClient) -> Step:
    wanted = made.received(auth(mechanism, client.first))
    assert isinstance(wanted, KeysWanted)
    name, challenge = answer(made.keys(derive(PASSWORD, b"salt", 4, wanted.hash_name)))
    assert name == "challenge"
    return made.received(response(client.final(challenge)))


# --- the table ---


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_received_follows_the_table(state: State, event: Event) -> None:
    if event is Event.OPEN:
        assert (state, event) not in _HANDLERS
        return
    made = negotiation(state)
    if (state, event) in _HANDLERS:
        message = MESSAGES[event]
        if state in (State.CONTINUING, State.UPGRADING):
            message = message.replace(ns.SASL, ns.SASL2)
        assert isinstance(made.received(xml(message)), Reply | Bind | Resume | UpgradeWanted)
        return
    with pytest.raises(NotAuthorized, match="Log in and bind"):
        made.received(xml(MESSAGES[event]))
    assert made.state is state


def test_going_on_with_a_session_in_place_of_binding() -> None:
    made = negotiation(State.BINDING)
    early = made.received(xml(MESSAGES[Event.ENABLE]))
    assert early == Reply((sm.failed("unexpected-request"),))
    assert made.received(xml(MESSAGES[Event.RESUME])) == Resume("p", 7)
    made.resumed()
    assert made.state is State.BOUND


@pytest.mark.parametrize("state", State)
def test_open_follows_the_table(state: State) -> None:
    expected = {
        State.NEW: (State.AUTHENTICATING, OFFER.before),
        State.AUTHENTICATED: (State.BINDING, OFFER.after),
    }
    made = negotiation(state)
    if state in expected:
        features = made.opened()
        assert (made.state, features) == expected[state]
        return
    with pytest.raises(BadFormat, match="second <open/>"):
        made.opened()
    assert made.state is state


def test_offer() -> None:
    before, after, bound, counted = (
        etree.fromstring(each) for each in (OFFER.before, OFFER.after, OFFER.bound, OFFER.counted)
    )
    counting = f"{{{ns.STREAM_MANAGEMENT}}}sm"
    assert tuple(before[0].itertext()) == MECHANISMS
    assert [child.tag for child in before] == [f"{{{ns.SASL}}}mechanisms", f"{{{ns.SASL2}}}authentication"]
    assert [child.tag for child in after] == [f"{{{ns.BIND}}}bind", counting, "{urn:x}extra"]
    assert [child.tag for child in bound] == [counting, "{urn:x}extra"]
    assert [child.tag for child in counted] == ["{urn:x}extra"]
    # XEP-0388: without mechanisms there is nothing that a client could begin.
    nothing = etree.fromstring(Offer.of("example.com", (), features=b"", max_attempts=3).before)
    assert [child.tag for child in nothing] == [f"{{{ns.SASL}}}mechanisms"]


# --- log-in ---


@pytest.mark.parametrize("mechanism", HASHES)
@pytest.mark.parametrize("gs2", ["n,,", "y,a=alice@example.com,", "n,a=ALICE@example.COM,"])
def test_scram(mechanism: str, gs2: str) -> None:
    made = negotiation()
    client = ScramClient(HASHES[mechanism], "Alice", PASSWORD, gs2=gs2)
    name, data = answer(scram_success(made, mechanism, client))
    assert name == "success"
    assert client.accepts(data)
    assert made.state is State.AUTHENTICATED
    assert made.jid == Jid.parse("alice@example.com")


def test_scram_without_initial_response() -> None:
    made = negotiation()
    client = ScramClient("sha256", "alice", PASSWORD)
    assert answer(made.received(auth("SCRAM-SHA-256"))) == ("challenge", b"")
    assert made.received(response(client.first)) == KeysWanted("alice", "sha256")
    _, challenge = answer(made.keys(derive(PASSWORD, b"salt", 4, "sha256")))
    assert answer(made.received(response(client.final(challenge))))[0] == "success"


def test_username_is_prepared_for_the_accounts() -> None:
    made = negotiation()
    assert made.received(auth("PLAIN", "\0\uff21LICE\0pencil".encode())) == PasswordWanted("alice", "pencil")
    made.failed(SaslTemporaryAuthFailure())
    assert made.received(auth("SCRAM-SHA-1", b"n,,n=a@b,r=x")) == KeysWanted("a@b", "sha1")


def test_plain() -> None:
    made = negotiation()
    made.received(auth("PLAIN", b"alice@example.com\0alice\0pencil"))
    assert answer(made.password_checked(True)) == ("success", b"")


def test_wrong_password() -> None:
    made = negotiation()
    made.received(auth("PLAIN", b"\0alice\0pen"))
    assert failure(made.password_checked(False)) == ("not-authorized", None)
    wrong = ScramClient("sha1", "alice", "pen")
    assert failure(scram_success(made, "SCRAM-SHA-1", wrong)) == ("not-authorized", None)
    assert made.jid is None


@pytest.mark.parametrize(
    "authzid", ["bob@example.com", "alice@example.com/r", "example.com", "alice@example.org", "@", "a@b@c"]
)
def test_nobody_acts_for_somebody_else(authzid: str) -> None:
    made = negotiation()
    made.received(auth("PLAIN", f"{authzid}\0alice\0pencil".encode()))
    assert failure(made.password_checked(True))[0] == "invalid-authzid"
    # Whoever reads `jid` after this must not take the client for logged in.
    assert made.jid is None
    assert made.state is State.AUTHENTICATING


@pytest.mark.parametrize("mechanism", ["", "SCRAM-SHA-1-PLUS", "plain", "EXTERNAL"])
def test_mechanism_that_is_not_offered(mechanism: str) -> None:
    condition, text = failure(negotiation().received(auth(mechanism, b"x")))
    assert condition == "invalid-mechanism"
    assert text == "Offered are: SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, OAUTHBEARER, ANONYMOUS"


def test_auth_without_mechanism() -> None:
    assert failure(negotiation().received(xml(f"<auth xmlns='{ns.SASL}'/>")))[0] == "invalid-mechanism"


@pytest.mark.parametrize("trace", ["", "=", b64encode(b"alice@example.com").decode()])
def test_anonymous(trace: str) -> None:
    """XEP-0175 section 4: nothing stands between an empty <auth/> and success."""
    made = negotiation()
    assert made.received(auth("ANONYMOUS", text=trace)) == AccountWanted()
    step = made.account("5c0b")
    assert answer(step) == ("success", b"")
    assert made.jid == Jid.parse("5c0b@example.com")
    # Not a word of the trace information is kept.
    assert isinstance(step, Reply) and step.attempt == Attempt("ANONYMOUS", "5c0b")


def test_anonymous_that_fails_has_no_name() -> None:
    made = negotiation()
    refused = made.received(auth("ANONYMOUS", b"x" * 256))
    made.received(auth("ANONYMOUS"))
    unavailable = made.failed(SaslTemporaryAuthFailure())
    assert isinstance(refused, Reply)
    assert refused.attempt == Attempt("ANONYMOUS", "", "malformed-request")
    assert unavailable.attempt == Attempt("ANONYMOUS", "", "temporary-auth-failure")
    assert made.state is State.AUTHENTICATING


@pytest.mark.parametrize("mechanism", [*HASHES, "PLAIN"])
def test_empty_initial_response(mechanism: str) -> None:
    assert failure(negotiation().received(auth(mechanism, text="=")))[0] == "malformed-request"


def test_empty_response() -> None:
    for content in ("", "="):
        assert failure(negotiation(State.RESPONDING).received(response(content)))[0] == "malformed-request"


@pytest.mark.parametrize("text", ["!", "AA", "A===", "AGFsaWNl AHA=", " AAAA", "ÄÖÜß", "==", "AAAA\n"])
def test_response_that_is_not_base64(text: str) -> None:
    made = negotiation()
    assert failure(made.received(auth("PLAIN", text=text)))[0] == "incorrect-encoding"
    assert made.state is State.AUTHENTICATING


@pytest.mark.parametrize("state", [State.AUTHENTICATING, State.RESPONDING])
def test_abort(state: State) -> None:
    made = negotiation(state)
    assert failure(made.received(xml(MESSAGES[Event.ABORT])))[0] == "aborted"
    assert made.state is State.AUTHENTICATING


def test_response_that_nobody_asked_for() -> None:
    assert failure(negotiation().received(response(b"x")))[0] == "malformed-request"


def test_auth_in_the_middle_of_an_exchange() -> None:
    made = negotiation(State.RESPONDING)
    assert failure(made.received(xml(MESSAGES[Event.AUTH])))[0] == "malformed-request"
    assert made.state is State.AUTHENTICATING


def test_new_attempt_after_a_failure_has_a_new_nonce() -> None:
    made = negotiation()
    nonces = []
    for _ in range(2):
        client = ScramClient("sha1", "alice", PASSWORD)
        made.received(auth("SCRAM-SHA-1", client.first))
        _, challenge = answer(made.keys(derive(PASSWORD, b"salt", 4, "sha1")))
        nonces.append(challenge.split(b",")[0])
        made.received(xml(MESSAGES[Event.ABORT]))
    assert nonces == [b"r=clientnonce0", b"r=clientnonce1"]


def test_too_many_attempts() -> None:
    made = negotiation()
    for _ in range(2):
        step = made.received(xml(MESSAGES[Event.ABORT]))
        assert isinstance(step, Reply)
        assert step.error is None
    last = made.failed(SaslTemporaryAuthFailure("Come back later & <soon>"))
    assert failure(last) == ("temporary-auth-failure", "Come back later & <soon>")
    assert isinstance(last.error, StreamPolicyViolation)
    assert last.error.reason is Reason.TOO_MANY_ATTEMPTS


def test_each_end_of_an_attempt_is_told_with_its_mechanism_and_name() -> None:
    made = negotiation()
    unknown = made.received(auth("X-OWN", b"\0alice\0pencil"))
    made.received(auth("PLAIN", b"\0Alice\0wrong"))
    wrong = made.password_checked(False)
    assert isinstance(unknown, Reply) and isinstance(wrong, Reply)
    assert unknown.attempt == Attempt("", "", "invalid-mechanism")
    assert wrong.attempt == Attempt("PLAIN", "Alice", "not-authorized")


def test_a_token_lets_in() -> None:
    made = negotiation()
    assert made.received(auth("OAUTHBEARER", TOKEN)) == TokenWanted("alice@example.com", "t")
    right = made.token_checked("alice")
    assert answer(right) == ("success", b"")
    assert isinstance(right, Reply) and right.attempt == Attempt("OAUTHBEARER", "alice")
    assert made.jid == Jid.parse("alice@example.com")


def test_a_token_of_somebody_else_does_not() -> None:
    made = negotiation()
    made.received(auth("OAUTHBEARER", TOKEN))
    assert failure(made.token_checked("bob"))[0] == "invalid-authzid"


@pytest.mark.parametrize(
    ("then", "condition"),
    [
        (response(b"\1"), "not-authorized"),
        (xml(MESSAGES[Event.ABORT]), "aborted"),
        (auth("OAUTHBEARER", TOKEN), "malformed-request"),
    ],
)
def test_a_refused_token_is_told_at_once_and_fails_when_the_client_has_responded(then: Element, condition: str) -> None:
    made = negotiation()
    for _ in range(2):
        made.received(auth("OAUTHBEARER", TOKEN))
        refused = made.token_checked("")
        assert answer(refused) == ("challenge", b'{"status":"invalid_token"}')
        assert isinstance(refused, Reply)
        assert refused.attempt == Attempt("OAUTHBEARER", "alice@example.com", "not-authorized")
        failed = made.received(then)
        assert failure(failed)[0] == condition
        # Told already.
        assert isinstance(failed, Reply) and failed.attempt is None and failed.error is None
    made.received(auth("PLAIN", b"\0alice\0wrong"))
    last = made.password_checked(False)
    assert isinstance(last, Reply) and last.attempt == Attempt("PLAIN", "alice", "not-authorized")
    assert last.error is not None


def test_success_is_told_too() -> None:
    made = negotiation()
    made.received(auth("PLAIN", b"\0alice\0pencil"))
    right = made.password_checked(True)
    assert isinstance(right, Reply) and right.attempt == Attempt("PLAIN", "alice")


def test_log_in_after_failures() -> None:
    made = negotiation()
    for _ in range(2):
        made.received(auth("PLAIN", b"\0alice\0pen"))
        made.password_checked(False)
    made.received(auth("PLAIN", b"\0alice\0pencil"))
    assert answer(made.password_checked(True))[0] == "success"


# --- binding ---


@pytest.mark.parametrize(
    ("content", "resource"),
    [("", ""), ("<resource/>", ""), ("<resource>r</resource>", "r"), ("<resource>&lt;🙂</resource>", "<🙂")],
)
def test_bind(content: str, resource: str) -> None:
    made = negotiation(State.BINDING)
    bind = made.received(xml(BIND_IQ.format(content)))
    assert isinstance(bind, Bind)
    assert bind.resource == resource
    jid = Jid.make("alice", "example.com", resource or "made")
    (message,) = made.bound(bind, jid).messages
    root = etree.fromstring(message)
    assert dict(root.attrib) == {"type": "result", "id": "b1"}
    assert root.findtext(f"{{{ns.BIND}}}bind/{{{ns.BIND}}}jid") == jid.text
    assert (made.state, made.jid) == (State.BOUND, jid)


def test_bind_again_is_refused() -> None:
    with pytest.raises(NotAuthorized):
        negotiation(State.BOUND).received(xml(BIND_IQ.format("")))


def test_bind_refused_and_tried_again() -> None:
    made = negotiation(State.BINDING)
    bind = made.received(xml(BIND_IQ.format("<resource>r</resource>")))
    assert isinstance(bind, Bind)
    (message,) = made.bind_refused(bind, Conflict("In use")).messages
    root = etree.fromstring(message)
    assert root.get("type") == "error"
    assert root.find(f"{{{ns.CLIENT}}}error/{{{ns.STANZA_ERRORS}}}conflict") is not None
    assert made.state is State.BINDING
    assert isinstance(made.received(xml(BIND_IQ.format(""))), Bind)


@pytest.mark.parametrize(
    "message",
    [
        "<message xmlns='jabber:client'/>",
        "<presence xmlns='jabber:client'/>",
        "<iq xmlns='jabber:client' type='get' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        "<iq xmlns='jabber:client' type='set' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq xmlns='jabber:client' type='set' id='1'/>",
    ],
)
def test_other_stanzas_before_binding(message: str) -> None:
    with pytest.raises(NotAuthorized, match="Bind a resource"):
        negotiation(State.BINDING).received(xml(message))


@pytest.mark.parametrize(
    "message",
    [
        "<iq xmlns='jabber:client' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        "<iq xmlns='jabber:client' type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><x/></iq>",
    ],
)
def test_malformed_bind(message: str) -> None:
    made = negotiation(State.BINDING)
    step = made.received(xml(message))
    assert isinstance(step, Reply)
    assert b"<bad-request " in step.messages[0]
    assert made.state is State.BINDING


@pytest.mark.parametrize("sender", ["@", "bob@example.com", "example.com"])
def test_bind_in_the_name_of_somebody_else(sender: str) -> None:
    with pytest.raises(InvalidFrom):
        negotiation(State.BINDING).received(xml(BIND_IQ.format("").replace("<iq", f"<iq from='{sender}'")))


def test_bind_in_ones_own_name() -> None:
    own = BIND_IQ.format("").replace("<iq", "<iq from='alice@example.com'")
    assert isinstance(negotiation(State.BINDING).received(xml(own)), Bind)


def test_who_a_client_says_it_is() -> None:
    """Known from the first question on: an account may be deleted while somebody logs in to it."""
    alice = Jid.parse("alice@example.com")
    made = negotiation()
    found = [made.claimed]
    made.received(auth("PLAIN", b"\0Alice\0pencil"))
    found.append(made.claimed)
    made.password_checked(False)
    found.append(made.claimed)
    made.received(auth("PLAIN", b"\0a b\0pencil"))
    found.append(made.claimed)
    assert found == [None, alice, None, None]
    assert [negotiation(state).claimed for state in (State.UPGRADING, State.AUTHENTICATED, State.BOUND)] == [alice] * 3


def test_each_upgrade_is_asked_for_once() -> None:
    asked = f"<upgrade xmlns='{ns.SASL_UPGRADE}'>UPGR-SCRAM-SHA-256</upgrade>"
    read = sasl2.read(xml(f"<authenticate xmlns='{ns.SASL2}' mechanism='PLAIN'>{asked * 50}</authenticate>"))
    assert read.upgrades == ("SCRAM-SHA-256",)
