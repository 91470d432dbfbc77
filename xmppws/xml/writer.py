"""Build elements and write them as bytes. What the server sends is written here, once, in UTF-8."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

from xmppws.xml.parser import Element


def element(namespace: str, name: str, attributes: Mapping[str, str] | None = None, text: str | None = None) -> Element:
    """Build an element that declares its namespace as the default one."""
    made = etree.Element(f"{{{namespace}}}{name}", attributes, nsmap={None: namespace})
    made.text = text
    return made


def child(
    parent: Element, namespace: str, name: str, attributes: Mapping[str, str] | None = None, text: str | None = None
) -> Element:
    """Append a new element to `parent`, which the caller has just built, and return it."""
    made = etree.SubElement(parent, f"{{{namespace}}}{name}", attributes, nsmap={None: namespace})
    made.text = text
    return made


def serialize(root: Element) -> bytes:
    """Write an element with all that its descendants need declared (RFC 7395 section 3.3.3)."""
    # As text first: libxml2 looks for an encoder for every other encoding, each time.
    return etree.tostring(root, encoding="unicode", with_tail=False).encode()


def attribute(value: str) -> bytes:
    """Escape a value for use between double quotes."""
    if "&" in value or "<" in value or '"' in value or not value.isprintable():
        value = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        # Raw, these three would be read as spaces (XML 1.0 section 3.3.3).
        value = value.replace("\t", "&#9;").replace("\n", "&#10;").replace("\r", "&#13;")
    return value.encode()


def text(value: str) -> bytes:
    """Escape a value for use as the text of an element."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;").encode()
