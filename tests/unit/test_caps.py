"""XEP-0115 section 5: verification strings."""

from __future__ import annotations

import pytest

from xmppws.xml.caps import verification_string
from xmppws.xml.forms import Field, Form

FEATURES = [
    "http://jabber.org/protocol/muc",
    "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/caps",
]
SOFTWARE = Form(
    (
        Field("software", ("Psi",)),
        Field("software_version", ("0.11",)),
        Field("os_version", ("10.5.1",)),
        Field("os", ("Mac",)),
        Field("ip_version", ("ipv6", "ipv4"), "text-multi"),
        Field("FORM_TYPE", ("urn:xmpp:dataforms:softwareinfo",), "hidden"),
    ),
    "result",
)
PSI = [("client", "pc", "en", "Psi 0.11"), ("client", "pc", "el", "\N{GREEK CAPITAL LETTER PSI} 0.11")]


def test_the_simple_example() -> None:
    ver = verification_string([("client", "pc", "", "Exodus 0.9.1")], FEATURES)
    assert ver == "QgayPKawpkPSDYmwT/WM94uAlu0="


def test_the_complex_example_in_any_order() -> None:
    ver = "q07IKJEyjvHSyhy//CH0CxmKi8w="
    assert verification_string(PSI, FEATURES, [SOFTWARE]) == ver
    assert verification_string(PSI[::-1], FEATURES[::-1], [Form(SOFTWARE.fields[::-1], "result")]) == ver


def test_forms_are_sorted_by_their_type() -> None:
    other = Form((Field("FORM_TYPE", ("urn:a",), "hidden"), Field("x", ("1",))), "result")
    both = verification_string(PSI, FEATURES, [SOFTWARE, other])
    assert both == verification_string(PSI, FEATURES, [other, SOFTWARE]) != verification_string(PSI, FEATURES, [other])


@pytest.mark.parametrize(
    "fields", [(Field("x", ("1",)),), (Field("FORM_TYPE", ("urn:a",)), Field("x")), (Field("FORM_TYPE", (), "hidden"),)]
)
def test_a_form_without_a_hidden_type_does_not_count(fields: tuple[Field, ...]) -> None:
    assert verification_string(PSI, FEATURES, [Form(fields)]) == verification_string(PSI, FEATURES)
