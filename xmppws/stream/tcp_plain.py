"""Recognise stanzas that come as nearly all do: alone, and plain.

Theory of operation. Bytes that begin with `<message ` and end with `</message>`, have no other `<message` and
`</message`, do not close their first tag with "/>" and hold no CDATA are one stanza and nothing else, if expat finds
them well-formed: the last tag ends what the first began, and no tag between them can. So a few searches and one run
through expat are enough. Whatever is not as expected may still be a stanza, and the general way finds out what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from xmppws.stream.tcp_check import Check

_ENDS: Final[Mapping[bytes, bytes]] = MappingProxyType(
    {b"<message": b"</message", b"<presence": b"</presence", b"<iq": b"</iq"}
)
_GREATER_THAN: Final = ord(">")
_SLASH: Final = ord("/")


def first_tag(data: bytes) -> int:
    """Return where the first tag of a plain stanza ends, if that is well-formed; 0 for what is none.

    The tag holds only one kind of quotes. So `name="x` in it begins an attribute: if that quote ended a value, no
    letter could follow.
    """
    # `find`, because `in` is slow when it is given bytes.
    beginning = data[: data.find(b" ")]
    if (ending := _ENDS.get(beginning)) is None or data[-1] != _GREATER_THAN or data.find(beginning, 1) >= 0:
        return 0
    end = data.find(ending)
    if end < 0 or end + len(ending) + 1 != len(data) or data.find(b"<!") >= 0:
        return 0
    inside = data.find(b">") + 1
    if data[inside - 2] == _SLASH:
        return 0
    quotes, others = data.count(b'"', 0, inside), data.count(b"'", 0, inside)
    # With an odd number the '>' is in a value.
    return 0 if (quotes and others) or (quotes + others) % 2 else inside


def declares_default(data: bytes, inside: int) -> bool:
    """Return whether the first tag of a plain stanza, which ends at `inside`, declares the default namespace.

    False also if it is hard to say.
    """
    found = data.find(b" xmlns=", 0, inside)
    # With an odd number of quotes before it, it is in a value.
    return found >= 0 and (data.count(b'"', 0, found) + data.count(b"'", 0, found)) % 2 == 0


class Plain:
    """Recognises what a client may send as it is: plain stanzas that stand on their own (RFC 7395 section 3.3.3).

    `max_depth` is that of elements.
    """

    __slots__ = ("_check", "_max_tags")

    def __init__(self, max_depth: int) -> None:
        # With no more tags it is not too deep.
        self._max_tags = max_depth
        # Declares nothing: a message of RFC 7395 has to do that itself.
        self._check = Check(b"<stream>")

    def is_stanza(self, message: bytes) -> bool:
        """Return whether this is one well-formed stanza of `jabber:client` for sure. Its size is bounded before."""
        inside = first_tag(message)
        if not inside or message.count(b"<") > self._max_tags or message.find(b"xml:") >= 0:
            return False
        is_ours = (
            message.find(b' xmlns="jabber:client"', 0, inside) >= 0
            or message.find(b" xmlns='jabber:client'", 0, inside) >= 0
        )
        return is_ours and self._check.read(message)
