from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from xmppws import errors
from xmppws.errors import BadNamespacePrefix, InvalidFrom, StanzaError, UnsupportedStanzaType
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Parser, Vocabulary
from xmppws.xml.stanza import Stanza, error_element, iq, is_stanza, message, presence, read
from xmppws.xml.writer import child, element, serialize

VOCABULARY = Vocabulary()
ALICE = Jid.parse("alice@example.com/web")
BOB = Jid.parse("bob@example.org")
STRANGE = Jid.make("o\\27hara", "example.com", "a&b<c>\"d'  ☕")


def take(frame: str) -> tuple[Stanza, StanzaError | None]:
    return read(Parser(VOCABULARY, "").parse(frame.encode()))


def good(frame: str) -> Stanza:
    stanza, mistake = take(frame)
    assert mistake is None
    return stanza


@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
def test_is_stanza(kind: str) -> None:
    assert is_stanza(etree.fromstring(f"<{kind} xmlns='jabber:client'/>"))
    assert not is_stanza(etree.fromstring(f"<{kind} xmlns='jabber:server'/>"))
    assert not is_stanza(etree.fromstring(f"<{kind}/>"))


def test_read() -> None:
    stanza = good(
        "<message xmlns='jabber:client' to='bob@EXAMPLE.org' from='alice@example.com/web' type='chat' id='1' "
        "xml:lang='de'><body>x</body><active xmlns='urn:x'/></message>"
    )
    assert (stanza.kind, stanza.type, stanza.id) == ("message", "chat", "1")
    assert (stanza.to, stanza.sender) == (BOB, ALICE)
    assert stanza.payload is stanza.child(ns.CLIENT, "body") is stanza.element[0]
    assert stanza.child("urn:x", "active") is stanza.element[1]
    assert stanza.child("urn:x", "body") is None
    assert dict(stanza.element.attrib) == {"type": "chat", "id": "1", ns.LANG: "de"}


@pytest.mark.parametrize(
    ("frame", "type"),
    [
        ("<message xmlns='jabber:client'/>", "normal"),
        ("<message xmlns='jabber:client' type=''/>", "normal"),
        ("<message xmlns='jabber:client' type='shout'/>", "normal"),
        ("<message xmlns='jabber:client' type='groupchat'/>", "groupchat"),
        ("<presence xmlns='jabber:client'/>", ""),
        ("<presence xmlns='jabber:client' type='probe'/>", "probe"),
    ],
)
def test_types(frame: str, type: str) -> None:
    stanza = good(frame)
    assert (stanza.type, stanza.payload, stanza.id, stanza.to, stanza.sender) == (type, None, "", None, None)


@pytest.mark.parametrize(
    ("frame", "condition", "words"),
    [
        ("<presence xmlns='jabber:client' type='available'/>", "bad-request", "the type 'available'"),
        ("<iq xmlns='jabber:client' id='1'><a/></iq>", "bad-request", "the type ''"),
        ("<iq xmlns='jabber:client' id='1' type='put'><a/></iq>", "bad-request", "the type 'put'"),
        ("<iq xmlns='jabber:client' type='get'><a/></iq>", "bad-request", "id"),
        ("<iq xmlns='jabber:client' type='get' id=''><a/></iq>", "bad-request", "id"),
        ("<iq xmlns='jabber:client' type='get' id='1'/>", "bad-request", "one child"),
        ("<iq xmlns='jabber:client' type='set' id='1'><a/><b/></iq>", "bad-request", "one child"),
        ("<iq xmlns='jabber:client' type='set' id='1' to='@'><a/></iq>", "jid-malformed", "localpart"),
        ("<message xmlns='jabber:client' to=''/>", "jid-malformed", "empty"),
    ],
)
def test_mistakes_that_are_answered(frame: str, condition: str, words: str) -> None:
    stanza, mistake = take(frame)
    assert mistake is not None
    assert mistake.condition == condition
    assert words in mistake.text
    answer = good(stanza.error(mistake).wire.decode()) if stanza.id or stanza.kind != "iq" else None
    assert answer is None or answer.type == "error"


def test_unknown_type_is_cut_in_the_error() -> None:
    _, mistake = take(f"<presence xmlns='jabber:client' type='{'x' * 10_000}'/>")
    assert mistake is not None
    assert len(mistake.text) < 100


@pytest.mark.parametrize("type", ["result", "error"])
def test_answers_need_no_child(type: str) -> None:
    assert not good(f"<iq xmlns='jabber:client' type='{type}' id='1'/>").answerable


def test_requests_are_answerable() -> None:
    assert good("<iq xmlns='jabber:client' type='get' id='1'><a/></iq>").answerable
    assert not good("<message xmlns='jabber:client' type='error'/>").answerable


@pytest.mark.parametrize("frame", ["<message/>", "<stanza xmlns='jabber:client'/>", "<iq xmlns='jabber:server'/>"])
def test_other_elements(frame: str) -> None:
    with pytest.raises(UnsupportedStanzaType, match="message, presence and iq"):
        take(frame)


@pytest.mark.parametrize("sender", ["", "@", "a@b@c/", "a@exa mple"])
def test_malformed_from(sender: str) -> None:
    with pytest.raises(InvalidFrom):
        take(f"<message xmlns='jabber:client' from='{sender}' to='@'/>")


@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
def test_prefixed_stanzas(kind: str) -> None:
    # Written with our own start tag, such an element would not be well-formed at the recipient.
    with pytest.raises(BadNamespacePrefix, match="without a prefix"):
        take(f"<c:{kind} xmlns:c='jabber:client' type='error' id='1'><c:body/></c:{kind}>")


def test_prefixes_inside() -> None:
    stanza = good("<message xmlns='jabber:client' xmlns:c='jabber:client'><c:body c:d=''>x</c:body></message>")
    copy = etree.fromstring(stanza.addressed(to=BOB, sender=ALICE).wire)
    assert copy.findtext(f"{{{ns.CLIENT}}}body") == "x"


@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
def test_wire(kind: str) -> None:
    stanza = Stanza(kind, "error", element(ns.CLIENT, kind, {"type": "error"}), to=BOB, sender=ALICE)
    assert stanza.wire.startswith(f'<{kind} to="bob@example.org" from="alice@example.com/web"'.encode())
    assert dict(etree.fromstring(stanza.wire).attrib) == {"type": "error", "to": BOB.text, "from": ALICE.text}
    bare = Stanza(kind, "error", element(ns.CLIENT, kind))
    assert bare.wire == f'<{kind} xmlns="jabber:client"/>'.encode()
    assert bare.wire == bare.wire


@given(st.text(max_size=8), st.text(max_size=8))
def test_wire_reads_back(resource: str, content: str) -> None:
    try:
        jid = STRANGE.with_resource(STRANGE.resource + resource)
        made = message("chat", [element("urn:x", "x", text=content)], to=jid, sender=STRANGE, id="<&\"'>")
    except (InvalidJid, ValueError):  # lxml's word for a control character
        return
    back = good(made.wire.decode())
    assert (back.to, back.sender, back.id, back.type) == (jid, STRANGE, made.id, "chat")
    assert back.payload is not None
    assert (back.payload.text or "") == content


def test_addressed_shares_the_content() -> None:
    original = good("<message xmlns='jabber:client' to='bob@example.org' type='shout' id='1'><a>ü</a></message>")
    copies = [original.addressed(to=to, sender=STRANGE) for to in (ALICE, BOB, None)]
    assert original.to == BOB and original.sender is None
    for copy in copies:
        assert copy.element is original.element
        assert copy._rest is copies[0]._rest
        assert (copy.kind, copy.type, copy.id) == ("message", "normal", "1")
    assert good(copies[0].wire.decode()).to == ALICE
    assert b" to=" not in copies[2].wire
    assert copies[1].addressed(to=None, sender=None).wire == copies[1].wire.replace(
        copies[1].wire[8 : copies[1].wire.index(b" xmlns")], b""
    )


def test_result() -> None:
    request = good("<iq xmlns='jabber:client' type='get' id='&lt;1&gt;' to='example.org' from='a@b/c'><q/></iq>")
    answer = good(request.result(element("urn:x", "x")).wire.decode())
    assert (answer.type, answer.id) == ("result", "<1>")
    assert (answer.to, answer.sender) == (request.sender, request.to)
    assert answer.child("urn:x", "x") is not None
    assert request.result().payload is None
    assert len(request.element) == 1


def test_error() -> None:
    original = good("<message xmlns='jabber:client' to='bob@example.org'><body>secret</body></message>")
    answer = good(original.error(errors.Forbidden("No & <never>")).wire.decode())
    assert (answer.type, answer.id, answer.to, answer.sender) == ("error", "", None, BOB)
    assert answer.payload is not None
    assert answer.payload.get("type") == "auth"
    assert answer.payload.find(f"{{{ns.STANZA_ERRORS}}}forbidden") is not None
    assert answer.payload.findtext(f"{{{ns.STANZA_ERRORS}}}text") == "No & <never>"
    assert b"secret" not in answer.wire


@pytest.mark.parametrize("kind", StanzaError.__subclasses__(), ids=lambda kind: kind.condition)
def test_error_element(kind: type[StanzaError]) -> None:
    made = etree.fromstring(serialize(error_element(kind())))
    assert made.get("type") in ("auth", "cancel", "continue", "modify", "wait")
    assert [child.tag for child in made] == [f"{{{ns.STANZA_ERRORS}}}{kind.condition}"]


@pytest.mark.parametrize(
    ("build", "type", "id"),
    [
        (lambda a: message("headline", a, to=BOB, sender=ALICE, id="7"), "headline", "7"),
        (lambda a: presence("unavailable", a, to=BOB, sender=ALICE), "unavailable", ""),
        (lambda a: presence(children=a, to=BOB, sender=ALICE), "", ""),
        (lambda a: iq("set", a[0], to=BOB, sender=ALICE, id="7"), "set", "7"),
    ],
)
def test_builders(build: Callable[[list[object]], Stanza], type: str, id: str) -> None:
    payload = element("urn:x", "x")
    child(payload, "urn:x", "y")
    stanza = build([payload])
    assert (stanza.type, stanza.id, stanza.payload) == (type, id, payload)
    back = good(stanza.wire.decode())
    assert (back.kind, back.type, back.id, back.to, back.sender) == (stanza.kind, type, id, BOB, ALICE)
    assert len(back.element) == 1
