"""XEP-0004 forms: what is written is read back, and what is wrong is said."""

from __future__ import annotations

import pytest

from xmppws.errors import BadRequest
from xmppws.xml.forms import Field, Form, read_form, write_form
from xmppws.xml.parser import Parser, Vocabulary
from xmppws.xml.writer import serialize


def parse(text: str):  # type: ignore[no-untyped-def]
    return Parser(Vocabulary(), "").parse(text.encode())


def test_a_form_is_written_with_all_it_has_and_read_back() -> None:
    form = Form(
        (
            Field("name", ("a", "b"), "list-multi", "Names <&>", required=True, options=(("a", "A"), ("b", ""))),
            Field("FORM_TYPE", ("urn:x",), "hidden"),
        ),
        title="Title",
        instructions="Do & so",
    )
    text = serialize(write_form(form)).decode()
    parts = "<title>Title</title>", "<required/>", "Names &lt;&amp;&gt;", '<option label="A">', "<option><value>b"
    for part in parts:
        assert part in text
    read = read_form(parse(text))
    assert [(field.var, field.values, field.type) for field in read.fields] == [
        ("name", ("a", "b"), "list-multi"),
        ("FORM_TYPE", ("urn:x",), "hidden"),
    ]


def test_values_are_found_by_name() -> None:
    form = Form((Field("a", ("1", "2")), Field("b")), "submit")
    assert (form.get("a"), form.get("b", "none"), form.get("c", "none")) == ("1", "none", "none")
    assert (form.values("a"), form.values("c")) == (("1", "2"), ())


@pytest.mark.parametrize(
    "content",
    ["type='strange'/>", "type='submit'><field/></x>", "type='submit'><field var='a'/><field var='a'/></x>"],
)
def test_mistakes(content: str) -> None:
    with pytest.raises(BadRequest):
        read_form(parse(f"<x xmlns='jabber:x:data' {content}"))


def test_a_fixed_field_needs_no_name_and_an_unknown_type_is_a_line_of_text() -> None:
    text = "<x xmlns='jabber:x:data' type='form'><field type='fixed'/><field var='a' type='odd'><value/></field></x>"
    fields = read_form(parse(text)).fields
    assert [(field.type, field.values) for field in fields] == [("fixed", ()), ("text-single", ("",))]
