"""What `watch` shows: who speaks to whom and in which form, and nothing of what is said."""

from __future__ import annotations

import pytest

from xmppws.admin.redacted import MAX_SHOWN, redacted


def test_names_addresses_ids_and_types_stay_and_texts_are_lengths() -> None:
    message = (
        '<?xml version="1.0"?><message xmlns="jabber:client" to="bob@b/phone" from="alice@a" id="7" type="chat" '
        'xml:lang="en"><body>s3cret &amp; w\u00f6rds</body><x xmlns="urn:x" key="hidden"/><!-- --></message>'
    )
    assert redacted(message.encode()) == (
        '<message xmlns="jabber:client" to="bob@b/phone" from="alice@a" id="7" type="chat" xml:lang="…(2)">'
        '<body>…(14)</body><x xmlns="urn:x" key="…(6)"/></message>'
    )


def test_ids_that_may_be_secrets_are_lengths() -> None:
    assert redacted(b"<enabled xmlns='urn:xmpp:sm:3' id='resume-me'/>") == '<enabled xmlns="urn:xmpp:sm:3" id="…(9)"/>'
    assert redacted(b"<m:message xmlns:m='jabber:client' id='1'/>") == '<m:message xmlns:m="jabber:client" id="1"/>'


@pytest.mark.parametrize(
    "message",
    [
        b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>",
        b"<s:success xmlns:s='urn:xmpp:sasl:2'><token xmlns='urn:xmpp:fast:0' token='t'/></s:success>",
    ],
)
def test_sasl_is_not_shown(message: bytes) -> None:
    assert redacted(message) == ""


def test_naming_sasl_hides_nothing() -> None:
    assert redacted(b"<message xmlns='jabber:client'><body>urn:xmpp:sasl:2</body></message>") != ""


def test_text_between_elements_is_a_length() -> None:
    assert redacted(b"<a>one<b/>three<b>four</b></a>") == "<a>…(3)<b/>…(5)<b>…(4)</b></a>"


def test_what_is_large_is_cut() -> None:
    shown = redacted(b"<a>" + b"<b/>" * 10_000 + b"</a>")
    assert len(shown) == MAX_SHOWN + 1 and shown.endswith("…")


def test_what_is_no_xml_is_a_length() -> None:
    assert redacted(b"<a secret") == "(no XML, 9 bytes)"
