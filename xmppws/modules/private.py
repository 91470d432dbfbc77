"""XEP-0049 Private XML Storage: what clients keep for themselves, one element for each name.

Namespaces of XMPP itself are refused, as section 2.3 allows.
"""

from __future__ import annotations

from typing import Annotated, Final

from xmppws.config import Opt, Section, Size
from xmppws.config.kinds import KIB, MIB
from xmppws.core.host import Host
from xmppws.core.module import Module, Target, Xep, iq_get, iq_set, map_store
from xmppws.core.turns import Turns
from xmppws.errors import BadRequest, Forbidden, NotAcceptable, ResourceConstraint
from xmppws.xml import ns
from xmppws.xml.parser import Element, tag_of
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import element, serialize

_QUERY: Final = f'<query xmlns="{ns.PRIVATE}">%s</query>'
_RESERVED: Final = ("jabber:", "http://jabber.org/")


class PrivateOptions(Section, frozen=True, kw_only=True):
    """Options of the module private."""

    max_elements: Annotated[int, Opt("Elements that an account may keep.", minimum=1, maximum=10_000)] = 100
    max_size: Annotated[
        Size, Opt("Bytes of all elements of an account together.", minimum=1 * KIB, maximum=64 * MIB)
    ] = 256 * KIB


class Private(Module):
    name = "private"
    xeps = (Xep(49, "1.2"),)
    features = (ns.PRIVATE,)
    account_features = (ns.PRIVATE,)
    Options = PrivateOptions
    options: PrivateOptions

    # Each as XML, by its name as `{namespace}name`: it is put into the answer as it is, and never parsed again.
    elements = map_store("private", str)

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        # A change reads, checks and writes: one after the other for each account.
        self._turns = Turns()

    @iq_get(ns.PRIVATE, "query", to=Target.SELF)
    async def get(self, iq: Stanza) -> Stanza:
        """Return the element of a name, or one without content."""
        assert iq.sender is not None
        asked = _elements(iq)
        if len(asked) != 1:
            raise BadRequest("One element is asked for at a time")
        tag = tag_of(asked[0])
        kept = await self.elements.get(iq.sender.local, tag)
        if kept is None:
            kept = serialize(element(*_split(tag))).decode()
        return iq.result().plus((_QUERY % kept).encode())

    @iq_set(ns.PRIVATE, "query", to=Target.SELF)
    async def set(self, iq: Stanza) -> Stanza:
        """Keep elements in place of those of the same names."""
        assert iq.sender is not None
        given = _elements(iq)
        # One without content is what is answered for none.
        new = {tag_of(each): serialize(each).decode() if _has_content(each) else "" for each in given}
        if len(new) != len(given):
            raise BadRequest("Two elements have the same name")
        owner = iq.sender.local
        async with self._turns.of(owner):
            self._check(await self.elements.all(owner) | new)
            for tag, text in new.items():
                if text:
                    await self.elements.set(owner, tag, text)
                else:
                    await self.elements.delete(owner, tag)
        return iq.result()

    @iq_get(ns.PRIVATE, "query", to=Target.OTHER)
    @iq_set(ns.PRIVATE, "query", to=Target.OTHER)
    def refuse(self, iq: Stanza) -> Stanza:
        """Keep what is private from everybody else (section 2.3)."""
        raise Forbidden("What is private is its owner's alone")

    def _check(self, elements: dict[str, str]) -> None:
        texts = [text.encode() for text in elements.values() if text]
        if len(texts) > self.options.max_elements:
            raise ResourceConstraint(f"An account keeps at most {self.options.max_elements} elements")
        if sum(map(len, texts)) > self.options.max_size:
            raise ResourceConstraint(f"The elements of an account have at most {self.options.max_size} bytes together")


def _elements(iq: Stanza) -> list[Element]:
    assert iq.payload is not None
    elements = list(iq.payload)
    # Section 2.3: "At least one child element with a proper namespace MUST be included; otherwise the server MUST
    # respond with a "Not Acceptable" error".
    if not elements:
        raise NotAcceptable("The query holds no element")
    for each in elements:
        namespace, _ = _split(tag_of(each))
        if not namespace or namespace == ns.VCARD or namespace.startswith(_RESERVED):
            raise NotAcceptable("Private elements have a namespace of their own, not one of XMPP")
    return elements


def _has_content(each: Element) -> bool:
    return len(each) > 0 or bool(each.text) or bool(each.attrib)


def _split(tag: str) -> tuple[str, str]:
    namespace, _, name = tag.rpartition("}")
    return namespace.removeprefix("{"), name
