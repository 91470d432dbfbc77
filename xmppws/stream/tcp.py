"""XMPP over TCP (RFC 6120 section 4): the stream header, read and written, and the content namespace of a stanza.

An element that stands on its own, as in a WebSocket message, may be sent over TCP as it is: what it declares again does
no harm. A content namespace other than ours takes more: all that makes up the stanza is in it, `<body/>` and `<error/>`
too, while a stanza inside of a payload, such as XEP-0297's `<forwarded/>`, is `jabber:client` everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from lxml import etree

from xmppws.errors import BadFormat, InvalidNamespace, NotWellFormed
from xmppws.stream.tcp_check import UnsupportedEncoding, refusal
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.writer import attribute, serialize

COMPONENT: Final = "jabber:component:accept"
CLOSE: Final = b"</stream:stream>"


@dataclass(frozen=True, slots=True)
class Header:
    """The peer's stream header (RFC 6120 section 4.7); an attribute that is absent is None."""

    to: str | None
    sender: str | None
    id: str | None
    version: str | None
    lang: str | None


def header(
    content: str,
    *,
    to: str | None = None,
    sender: str | None = None,
    id: str | None = None,
    version: str | None = "1.0",
    lang: str | None = None,
) -> bytes:
    """Write our stream header (RFC 6120 section 4.7) for a content namespace. XEP-0114 knows no version."""
    attributes = {"to": to, "from": sender, "id": id, "version": version, "xml:lang": lang}
    return b'<?xml version=\'1.0\'?><stream:stream%b xmlns="%b" xmlns:stream="%b">' % (
        b"".join(b' %b="%b"' % (name.encode(), attribute(value)) for name, value in attributes.items() if value),
        content.encode(),
        ns.STREAM.encode(),
    )


def read_header(data: bytes, content: str) -> tuple[Header, dict[str, str]]:
    """Read an XML declaration, if there is one, and the first tag of a stream whose content namespace is `content`.

    Returns the prefixes that it declares as well, by name. Raises a `StreamError`.
    """
    namespaces: dict[str, str] = {}
    roots: list[tuple[str, dict[str, str]]] = []

    def on_namespace(prefix: str | None, uri: str | None) -> None:
        namespaces[prefix or ""] = uri or ""

    parser = expat.ParserCreate(encoding="utf-8", namespace_separator="}")
    parser.XmlDeclHandler = _check_declaration
    parser.StartNamespaceDeclHandler = on_namespace
    parser.StartElementHandler = lambda name, attributes: roots.append((name, attributes))
    try:
        parser.Parse(data, False)
    except expat.ExpatError as error:
        raise refusal(error) from None
    (root, attributes), default = roots[0], namespaces.pop("", "")
    namespace, _, name = root.rpartition("}")
    if name != "stream":
        raise BadFormat(f"A stream begins with <stream:stream>, not with <{name[:40]}>")
    # RFC 6120 section 4.8: the namespaces of the stream and of its content.
    if namespace != ns.STREAM or default != content:
        raise InvalidNamespace(f"The stream's namespaces are {ns.STREAM} and, by default, {content}")
    lang = attributes.get(f"{ns.XML}}}lang")
    said = [attributes.get(key) for key in ("to", "from", "id", "version")]
    return Header(said[0], said[1], said[2], said[3], lang), namespaces


def _check_declaration(version: str, encoding: str | None, standalone: int) -> None:
    # RFC 6120 section 11.6: "a receiving entity MUST NOT assume" any encoding but UTF-8.
    if encoding is not None and encoding.lower() != "utf-8":
        raise UnsupportedEncoding("A stream is encoded in UTF-8")
    if version != "1.0":
        raise NotWellFormed("A stream is XML 1.0")


def in_namespace(wire: bytes, old: str, new: str, parse: Callable[[bytes], Element]) -> bytes:
    """Write a stanza that stands on its own in the content namespace `new` instead of `old`.

    What is inside of an element of any other namespace stays as it is. Raises what `parse` does.
    """
    name, _, rest = wire.partition(b" ")
    declared = b'xmlns="%b"' % old.encode()
    # Named once, as our writer and reader put it, and no prefixes: what is inside of a payload inherits from that.
    if rest.startswith(declared) and wire.count(old.encode()) == 1 and b"xmlns:" not in wire and b"&#" not in wire:
        return b'%b xmlns="%b"%b' % (name, new.encode(), rest[len(declared) :])
    return serialize(_moved(parse(wire), None, old, new))


def _moved(source: Element, parent: Element | None, old: str, new: str) -> Element:
    tag = tag_of(source)
    if not tag.startswith(f"{{{old}}}"):
        copied = deepcopy(source)
        if parent is not None:
            parent.append(copied)
        return copied
    tag = f"{{{new}}}{tag[len(old) + 2 :]}"
    # RFC 6120 section 4.8.5: the content namespace has no prefix.
    nsmap = {prefix: uri for prefix, uri in source.nsmap.items() if prefix and uri not in (old, new)} | {None: new}
    attributes = dict(source.items())
    if parent is None:
        made = etree.Element(tag, attributes, nsmap=nsmap)
    else:
        made = etree.SubElement(parent, tag, attributes, nsmap=nsmap)
        made.tail = source.tail
    made.text = source.text
    for inner in source:
        _moved(inner, made, old, new)
    return made
