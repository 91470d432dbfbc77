import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppws.jid import InvalidJid, Jid


@pytest.mark.parametrize(
    ("text", "local", "domain", "resource"),
    [
        ("example.com", "", "example.com", ""),
        ("alice@example.com", "alice", "example.com", ""),
        ("alice@example.com/web", "alice", "example.com", "web"),
        # RFC 7622 section 3.5: the first "/" ends the domainpart, whatever follows.
        ("example.com/foo/bar@x", "", "example.com", "foo/bar@x"),
        ("alice@example.com/ a b ", "alice", "example.com", " a b "),
        ("Alice@EXAMPLE.com/Web", "alice", "example.com", "Web"),
        ("alice@example.com.", "alice", "example.com", ""),
        ("alice@example\u3002com\uff61", "alice", "example.com", ""),
        ("alice@xn--bcher-kva.example", "alice", "bücher.example", ""),
        ("alice@XN--BCHER-KVA.example", "alice", "bücher.example", ""),
        ("alice@BÜCHER.example", "alice", "bücher.example", ""),
        ("alice@faß.example", "alice", "faß.example", ""),
        ("alice@_chat.example", "alice", "_chat.example", ""),
        ("alice@r3---x.example", "alice", "r3---x.example", ""),
        ("alice@192.0.2.1/x", "alice", "192.0.2.1", "x"),
        ("alice@[2001:DB8:0::1]/x", "alice", "[2001:db8::1]", "x"),
        ("fußball@example.com", "fußball", "example.com", ""),
        ("\uff41\uff42@example.com", "ab", "example.com", ""),
        ("\u03a3@example.com/\u265a", "\u03c3", "example.com", "♚"),
        ("alice@example.com/😀", "alice", "example.com", "😀"),
        ("alice@example.com/a\u00a0b", "alice", "example.com", "a b"),
        ("e\u0301@example.com", "é", "example.com", ""),
        (f"{'a' * 1023}@{'b' * 63}/{'c' * 1023}", "a" * 1023, "b" * 63, "c" * 1023),
        (f"a@b/{'é' * 511}", "a", "b", "é" * 511),
    ],
)
def test_parse(text: str, local: str, domain: str, resource: str) -> None:
    jid = Jid.parse(text)
    assert (jid.local, jid.domain, jid.resource) == (local, domain, resource)
    assert jid == Jid.make(local, domain, resource)
    assert str(jid) == jid.text
    assert Jid.parse(jid.text) == jid


@pytest.mark.parametrize(
    ("text", "part", "rule"),
    [
        ("", "JID", "empty"),
        ("@example.com", "localpart", "empty"),
        ("alice@", "domainpart", "empty"),
        ("/web", "domainpart", "empty"),
        ("alice@example.com/", "resourcepart", "empty"),
        ("alice@.", "domainpart", "a label is"),
        ("alice@a..b", "domainpart", "a label is"),
        ("alice@-a", "domainpart", "a label is"),
        (f"alice@{'a' * 64}", "domainpart", "a label is"),
        ("alice@a b", "domainpart", "a label is"),
        ("alice@b@c", "domainpart", "a label is"),
        ("alice@☃.example", "domainpart", "U\\+2603"),
        ("alice@xn--a", "domainpart", "U\\+0080"),
        ("alice@[::1%eth0]", "domainpart", "without a zone"),
        ("alice@[::1", "domainpart", "without a zone"),
        ("alice@[::g]", "domainpart", "Only hex digits"),
        ("a b@example.com", "localpart", "spaces"),
        ('"a"@example.com', "localpart", "not allowed there"),
        ("a\uff20b@example.com", "localpart", "the character @ is not allowed there"),
        ("ⅳ@example.com", "localpart", "has_compat"),
        ("henry\u2163@example.com", "localpart", "has_compat"),
        ("♚@example.com", "localpart", "symbols"),
        ("alice@example.com/\n", "resourcepart", "controls"),
        ("alice@example.com/\ud800", "JID", "lone surrogate"),
        (f"{'a' * 1024}@example.com", "localpart", "longer than 1023 bytes"),
        (f"alice@{'a.' * 512}b", "domainpart", "longer than 1023 bytes"),
        (f"a@b/{'é' * 512}", "resourcepart", "longer than 1023 bytes"),
        ("a" * 3072, "JID", "longer than 3071 bytes"),
        ("é" * 1536, "JID", "longer than 3071 bytes"),
    ],
)
def test_parse_refuses(text: str, part: str, rule: str) -> None:
    with pytest.raises(InvalidJid, match=rule) as caught:
        Jid.parse(text)
    assert str(caught.value).startswith(f"{part} '")
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    "parts",
    [("", "a b"), ("a@b", "c"), ("a", ""), ("a", "b/c"), ("a", "b", "\x00"), ("\ud800", "b"), ("a", "b" * 9999)],
)
def test_make_refuses(parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidJid):
        Jid.make(*parts)


def test_bare_and_full() -> None:
    bare, full = Jid.parse("alice@example.com"), Jid.parse("alice@example.com/web")
    assert bare.is_bare and not bare.is_full and bare.bare is bare
    assert full.is_full and not full.is_bare and full.bare == bare
    assert bare.with_resource("web") == full == full.with_resource("web")
    with pytest.raises(InvalidJid, match="resourcepart '': it is empty"):
        full.with_resource("")


def test_is_a_value() -> None:
    one, same = Jid.parse("Alice@EXAMPLE.com/x"), Jid.make("alice", "example.com", "x")
    assert one == same and hash(one) == hash(same) and {one: 1}[same] == 1
    assert one != Jid.parse("alice@example.com/X")
    text: object = "alice@example.com/x"
    assert one != text
    assert repr(one) == "Jid('alice@example.com/x')"
    with pytest.raises(AttributeError):
        one.local = "mallory"  # type: ignore[misc]


def test_parse_is_cached_for_usual_lengths_only() -> None:
    usual, long = "alice@example.com/web", f"alice@example.com/{'x' * 300}"
    assert Jid.parse(usual) is Jid.parse(usual)
    assert Jid.parse(long) is not Jid.parse(long)


@given(st.text(max_size=40) | st.from_regex(r"(\w{1,8}@)?(xn--)?[\w.\-]{1,20}(/.{1,8})?", fullmatch=True))
def test_canonical_text_parses_to_itself(text: str) -> None:
    try:
        jid = Jid.parse(text)
    except InvalidJid:
        return
    assert Jid.parse(str(jid)) == jid
    assert Jid.make(jid.local, jid.domain, jid.resource) == jid


def test_imports_neither_asyncio_nor_randomness() -> None:
    program = "import sys, xmppws.jid; print(*({'asyncio', 'aiohttp', 'random', 'secrets'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
