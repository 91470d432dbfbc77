from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from xmppws.xml.writer import attribute, child, element, serialize, text

# All that XML 1.0 allows (section 2.2).
_characters = st.text(
    st.one_of(
        st.sampled_from("\t\n\r&<>\"'\x85\u2028\ufffd]"),
        st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"),
    )
)


def test_element() -> None:
    made = element("urn:a", "b", {"c": "d"}, "e")
    assert serialize(made) == b'<b xmlns="urn:a" c="d">e</b>'
    assert serialize(element("urn:a", "b")) == b'<b xmlns="urn:a"/>'


def test_child() -> None:
    parent = element("urn:a", "b")
    made = child(parent, "urn:c", "d", {"e": "f"}, "ü")
    child(made, "urn:c", "g")
    child(parent, "urn:a", "h")
    assert serialize(parent) == '<b xmlns="urn:a"><d xmlns="urn:c" e="f">ü<g/></d><h/></b>'.encode()


def test_serialize_leaves_the_neighbours_out() -> None:
    root = etree.fromstring("<a xmlns:p='urn:p'><p:b p:c=''/>tail</a>")
    assert serialize(root[0]) == b'<p:b xmlns:p="urn:p" p:c=""/>'


@given(_characters)
def test_attribute_and_text(value: str) -> None:
    made = b'<a b="' + attribute(value) + b'">' + text(value) + b"</a>"
    root = etree.fromstring(made)
    assert root.get("b") == value
    assert (root.text or "") == value
    expat.ParserCreate(encoding="utf-8").Parse(made, True)


@given(_characters)
def test_both_writers_lose_nothing(value: str) -> None:
    root = etree.fromstring(serialize(element("urn:a", "b", {"c": value}, value)))
    assert (root.get("c"), root.text or "") == (value, value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain ' >", b"plain ' >"),
        ("ü", "ü".encode()),
        ('<&">', b"&lt;&amp;&quot;>"),
        ("\t\n\r", b"&#9;&#10;&#13;"),
        ("&amp;", b"&amp;amp;"),
    ],
)
def test_attribute(value: str, written: bytes) -> None:
    assert attribute(value) == written
