from itertools import product

import pytest
from lxml import etree

from xmppws.errors import (
    BadFormat,
    HostUnknown,
    InvalidNamespace,
    NotAuthorized,
    Reason,
    Side,
    StreamError,
    StreamPolicyViolation,
)
from xmppws.stream.framing import (
    CLOSE,
    TRANSITIONS,
    Event,
    Framing,
    Open,
    State,
    features,
    limits_feature,
    open_message,
    stream_error,
)
from xmppws.xml import ns
from xmppws.xml.parser import Element, Parser, Vocabulary

VOCABULARY = Vocabulary()
MESSAGES = {
    Event.OPEN_RECEIVED: f"<open xmlns='{ns.FRAMING}' to='example.com' version='1.0'/>",
    Event.CLOSE_RECEIVED: f"<close xmlns='{ns.FRAMING}'/>",
    Event.ELEMENT_RECEIVED: "<presence xmlns='jabber:client'/>",
}
SENT = (Event.OPEN_SENT, Event.CLOSE_SENT)


def xml(message: str | bytes) -> Element:
    return Parser(VOCABULARY, "").parse(message.encode() if isinstance(message, str) else message)


def in_state(state: State) -> Framing:
    framing = Framing()
    framing.state = state
    return framing


@pytest.mark.parametrize(("state", "event"), list(product(State, MESSAGES)))
def test_received_follows_the_table(state: State, event: Event) -> None:
    framing = in_state(state)
    expected = TRANSITIONS.get((state, event))
    if expected is None:
        with pytest.raises(NotAuthorized, match="<open/> first"):
            framing.received(xml(MESSAGES[event]))
        assert framing.state is state
        return
    root = xml(MESSAGES[event])
    result = framing.received(root)
    assert framing.state is expected
    if expected is State.OPENING:
        assert result == Open("example.com", None, "1.0", None)
    else:
        assert result is (root if expected is State.OPEN else None)


@pytest.mark.parametrize(("state", "event"), list(product(State, SENT)))
def test_sent_follows_the_table(state: State, event: Event) -> None:
    framing = in_state(state)
    expected = TRANSITIONS.get((state, event))
    if expected is None:
        with pytest.raises(KeyError):
            framing.sent(event)
    else:
        framing.sent(event)
        assert framing.state is expected


def test_nothing_leaves_closed() -> None:
    assert {TRANSITIONS.get((State.CLOSED, event), State.CLOSED) for event in Event} == {State.CLOSED}


def test_only_what_the_client_may_not_do_is_missing() -> None:
    assert {pair for pair in product(State, MESSAGES) if pair not in TRANSITIONS} == {
        (State.NEW, Event.ELEMENT_RECEIVED),
        (State.OPENING, Event.OPEN_RECEIVED),
        (State.OPENING, Event.ELEMENT_RECEIVED),
    }


def test_whole_stream_with_a_restart() -> None:
    framing = Framing()
    for _ in range(2):
        assert isinstance(framing.received(xml(MESSAGES[Event.OPEN_RECEIVED])), Open)
        framing.sent(Event.OPEN_SENT)
        root = xml(MESSAGES[Event.ELEMENT_RECEIVED])
        assert framing.received(root) is root
    assert framing.ending(None, "example.com", "1") == [CLOSE]
    assert framing.received(xml(MESSAGES[Event.ELEMENT_RECEIVED])) is None
    assert framing.received(xml(MESSAGES[Event.CLOSE_RECEIVED])) is None
    assert framing.state is State.CLOSED


@pytest.mark.parametrize("prefix", ["", "f:"])
def test_open_is_read_whatever_its_prefix(prefix: str) -> None:
    declared = f"xmlns{':f' if prefix else ''}='{ns.FRAMING}'"
    read = Framing().received(
        xml(f"<{prefix}open {declared} to='a.example' from='b@a.example' version='1.1' xml:lang='de-AT'/>")
    )
    assert read == Open("a.example", "b@a.example", "1.1", "de-AT")


def test_absent_attributes_of_open() -> None:
    assert Framing().received(xml(f"<open xmlns='{ns.FRAMING}'/>")) == Open(None, None, None, None)


def test_language_is_bounded() -> None:
    opened = f"<open xmlns='{ns.FRAMING}' xml:lang='{{}}'/>"
    assert Framing().received(xml(opened.format("x" * 35))) == Open(None, None, None, "x" * 35)
    framing = Framing()
    with pytest.raises(BadFormat, match="xml:lang") as caught:
        framing.received(xml(opened.format("x" * 36)))
    assert caught.value.reason is Reason.BAD_FORMAT
    assert len(framing.ending(caught.value, "example.com", "1")) == 3


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "message",
    [
        "<open xmlns='jabber:client'/>",
        "<open/>",
        "<stream xmlns='http://etherx.jabber.org/streams'/>",
        "<s:stream xmlns:s='http://etherx.jabber.org/streams'/>",
        f"<other xmlns='{ns.FRAMING}'/>",
    ],
)
def test_wrong_namespaces(state: State, message: str) -> None:
    framing = in_state(state)
    with pytest.raises(InvalidNamespace):
        framing.received(xml(message))
    assert framing.state is state


ERROR = HostUnknown("No <such> host & more")


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [
        (State.NEW, None, [CLOSE]),
        (State.NEW, ERROR, [open_message("a.example", "7"), stream_error(ERROR), CLOSE]),
        (State.OPENING, None, [CLOSE]),
        (State.OPENING, ERROR, [open_message("a.example", "7"), stream_error(ERROR), CLOSE]),
        (State.OPEN, None, [CLOSE]),
        (State.OPEN, ERROR, [stream_error(ERROR), CLOSE]),
        *((state, error, []) for state in (State.CLOSING, State.CLOSED) for error in (None, ERROR)),
    ],
)
def test_ending(state: State, error: StreamError | None, expected: list[bytes]) -> None:
    framing = in_state(state)
    assert framing.ending(error, "a.example", "7") == expected
    assert framing.state is (State.CLOSED if state is State.CLOSED else State.CLOSING)


def test_open_message() -> None:
    root = etree.fromstring(open_message('a"&.example', "<7>", lang="de", to="b@a/'c\""))
    assert root.tag == f"{{{ns.FRAMING}}}open"
    assert dict(root.attrib) == {
        "from": 'a"&.example',
        "to": "b@a/'c\"",
        "id": "<7>",
        "version": "1.0",
        ns.LANG: "de",
    }
    assert b" to=" not in open_message("a.example", "7")


def test_features() -> None:
    root = etree.fromstring(features(b"<a xmlns='b'/>"))
    assert root.tag == f"{{{ns.STREAM}}}features"
    assert root[0].tag == "{b}a"


# Less than a second cannot be said, and more than it is would be false.
@pytest.mark.parametrize(("idle", "told"), [(840.0, ["10000", "840"]), (1.9, ["10000", "1"]), (0.9, ["10000"])])
def test_limits(idle: float, told: list[str]) -> None:
    root = etree.fromstring(limits_feature(10_000, idle))
    names = ["max-bytes", "idle-seconds"][: len(told)]
    assert root.tag == f"{{{ns.STREAM_LIMITS}}}limits"
    assert [(child.tag, child.text) for child in root] == [
        (f"{{{ns.STREAM_LIMITS}}}{name}", text) for name, text in zip(names, told, strict=True)
    ]


def test_stream_error() -> None:
    root = etree.fromstring(stream_error(ERROR))
    assert root.tag == f"{{{ns.STREAM}}}error"
    assert [child.tag for child in root] == [f"{{{ns.STREAM_ERRORS}}}host-unknown", f"{{{ns.STREAM_ERRORS}}}text"]
    assert root[1].text == "host-unknown: No <such> host & more"
    assert root[1].get(ns.LANG) == "en"


def test_text_of_an_error_without_text_is_the_condition_and_the_reason_helps() -> None:
    error = StreamPolicyViolation(reason=Reason.TOO_MANY_ATTEMPTS)
    assert str(error) == "policy-violation"
    assert error.end.by is Side.SERVER
    assert error.end.text == "too-many-attempts: Too many attempts to log in failed."
