"""What browsers see of a server's features, and who logs in."""

from __future__ import annotations

import base64

import pytest

from xmppws.errors import Reason
from xmppws.routers.upstream import translate
from xmppws.xml.parser import Element, Parser, Vocabulary

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SASL2 = "urn:xmpp:sasl:2"
FAST = "urn:xmpp:fast:0"
STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
BINDING = (
    "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>"
)


def parsed(text: str) -> Element:
    return Parser(Vocabulary(), "").parse(text.encode())


def shown(features: str) -> str:
    """Return what is inside of the features that browsers see."""
    tag = "stream:features xmlns:stream='http://etherx.jabber.org/streams'"
    written = translate.for_browsers(parsed(f"<{tag}>{features}</stream:features>")).decode()
    return written.partition(">")[2].removesuffix("</stream:features>") if not written.endswith("/>") else ""


def offer(*names: str) -> str:
    return "".join(f"<mechanism>{name}</mechanism>" for name in names)


def mechanisms(*names: str) -> str:
    return f'<mechanisms xmlns="{SASL}">{offer(*names)}</mechanisms>'


def fast(*names: str) -> str:
    return f'<fast xmlns="{FAST}">{offer(*names)}</fast>'


def sasl2(inline: str, *names: str) -> str:
    return f'<authentication xmlns="{SASL2}">{offer(*names)}<inline>{inline}</inline></authentication>'


@pytest.mark.parametrize(
    ("offered", "seen"),
    [
        ("", ""),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>", ""),
        ("<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>", ""),
        (BINDING, ""),
        (mechanisms("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "EXTERNAL", " PLAIN "), mechanisms("SCRAM-SHA-1", " PLAIN ")),
        (mechanisms("SCRAM-SHA-1-PLUS", "EXTERNAL"), ""),
        (mechanisms(), mechanisms().replace("></mechanisms>", "/>")),
        (f"<mechanism xmlns='{SASL}'>EXTERNAL</mechanism>", ""),
        (sasl2(fast("HT-SHA-256-ENDP", "HT-SHA-256-NONE"), "PLAIN"), sasl2(fast("HT-SHA-256-NONE"), "PLAIN")),
        (sasl2(fast("HT-SHA-256-EXPR", "HT-SHA-256-UNIQ"), "PLAIN"), sasl2("", "PLAIN").replace("></inline>", "/>")),
        (sasl2(fast("HT-SHA-256-NONE"), "EXTERNAL"), ""),
        (sasl2(BINDING, "PLAIN"), sasl2("", "PLAIN").replace("></inline>", "/>")),
        (
            '<x xmlns="urn:x"><mechanism>EXTERNAL</mechanism></x>',
            '<x xmlns="urn:x"><mechanism>EXTERNAL</mechanism></x>',
        ),
        ('<sub xmlns="urn:xmpp:features:pre-approval"/>', '<sub xmlns="urn:xmpp:features:pre-approval"/>'),
    ],
)
def test_features_for_browsers(offered: str, seen: str) -> None:
    assert shown(offered) == seen


def test_features_are_not_changed_for_others() -> None:
    features = parsed(f"<features>{mechanisms('EXTERNAL', 'PLAIN')}</features>")
    translate.for_browsers(features)
    assert translate.mechanisms(features) == (["PLAIN"], ["EXTERNAL"])


def authentication(mechanism: str, initial: bytes | str, *, version: int = 1) -> Element:
    text = initial if isinstance(initial, str) else base64.b64encode(initial).decode()
    if version == 1:
        return parsed(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>")
    inner = f"<initial-response>{text}</initial-response>"
    return parsed(f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>{inner}</authenticate>")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("mechanism", "initial", "name"),
    [
        ("PLAIN", b"\0alice\0secret", "alice"),
        ("PLAIN", b"bob\0alice\0secret", "alice"),
        ("PLAIN", b"alice", ""),
        ("PLAIN", b"\0\xff\0secret", ""),
        ("PLAIN", "no base64!", ""),
        ("PLAIN", "", ""),
        ("SCRAM-SHA-1", b"n,,n=alice,r=1", "alice"),
        ("SCRAM-SHA-256", b"n,a=bob,n=a=2Cb=3Dc,r=1", "a,b=c"),
        ("SCRAM-SHA-256", b"n,,r=1", ""),
        # What is behind the name is a hash, and so no text.
        ("HT-SHA-256-NONE", b"alice\0" + bytes(range(0, 256, 8)), "alice"),
        ("HT-SHA-256-NONE", b"\xff\0\xff", ""),
        ("OAUTHBEARER", b"n,a=alice,\1auth=Bearer t\1\1", ""),
    ],
)
def test_who_logs_in(mechanism: str, initial: bytes | str, name: str, version: int) -> None:
    assert translate.username(authentication(mechanism, initial, version=version)) == name


@pytest.mark.parametrize("mechanism", ["EXTERNAL", "external", " EXTERNAL ", "SCRAM-SHA-1-PLUS", "HT-SHA-256-EXPR"])
def test_mechanisms_that_are_refused(mechanism: str) -> None:
    for version, namespace in ((1, SASL), (2, SASL2)):
        answer = parsed(translate.refusal(authentication(mechanism, "=", version=version)).decode())
        assert answer.tag == f"{{{namespace}}}failure"
        assert [each.tag for each in answer] == [f"{{{SASL}}}invalid-mechanism"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512", "HT-SHA-256-NONE", "", "EXTERNALLY"])
def test_mechanisms_that_are_not(mechanism: str) -> None:
    assert translate.refusal(authentication(mechanism, "=")) == b""


@pytest.mark.parametrize(
    ("success", "account"),
    [
        (f"<success xmlns='{SASL}'/>", "alice@example.test"),
        (f"<success xmlns='{SASL2}'/>", "alice@example.test"),
        (
            f"<success xmlns='{SASL2}'><authorization-identifier>b@c.test/d</authorization-identifier></success>",
            "b@c.test",
        ),
        (
            f"<success xmlns='{SASL2}'><authorization-identifier>@@</authorization-identifier></success>",
            "example.test",
        ),
    ],
)
def test_who_has_logged_in(success: str, account: str) -> None:
    assert translate.account(parsed(success), "alice", "example.test") == account


@pytest.mark.parametrize("name", ["", "al ice", "a" * 2000])
def test_nobody_in_particular_has_logged_in(name: str) -> None:
    assert translate.account(parsed(f"<success xmlns='{SASL}'/>"), name, "example.test") == "example.test"


def error(inside: str) -> Element:
    tag = "stream:error xmlns:stream='http://etherx.jabber.org/streams'"
    return parsed(f"<{tag}>{inside}</stream:error>")


@pytest.mark.parametrize(
    ("inside", "condition", "told"),
    [
        (f"<conflict xmlns='{STREAMS}'/>", "conflict", "conflict"),
        (f"<conflict xmlns='{STREAMS}'/><text xmlns='{STREAMS}'> a </text>", "conflict", "conflict: a"),
        (f"<text xmlns='{STREAMS}'>a</text><reset xmlns='{STREAMS}'/>", "reset", "reset: a"),
        ("<conflict xmlns='urn:x'/>", "remote-connection-failed", "conflict"),
        (f"<see-other-host xmlns='{STREAMS}'/>", "remote-connection-failed", "see-other-host"),
        ("", "remote-connection-failed", "no condition"),
    ],
)
def test_stream_errors(inside: str, condition: str, told: str) -> None:
    passed = translate.passed(error(inside))
    assert (passed.condition, passed.text, passed.reason) == (condition, told, Reason.UPSTREAM_CLOSED)


def test_where_an_error_leads() -> None:
    assert translate.other_host(error(f"<see-other-host xmlns='{STREAMS}'> a.test:1 </see-other-host>")) == "a.test:1"
    assert translate.other_host(error(f"<reset xmlns='{STREAMS}'/>")) == ""
