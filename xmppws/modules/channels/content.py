"""What a message of a channel is as a stanza: XEP-0335 JSON Containers 0.1.1, beside a body that people read.

    <message type="groupchat">
      <body>signal:all: {"from": 7}</body>
      <event xmlns="urn:xmppws:channels:0" name="signal:all"><json xmlns="urn:xmpp:json:0">{"from": 7}</json></event>
    </message>

A message with a body alone is the data `{"text": BODY}` of the event that stands for what people write.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

from xmppws.modules.channels.answers import quoted
from xmppws.modules.channels.requests import Problem, check
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.writer import child, element

MAX_EVENT: Final = 128
"""Characters of an event's name."""

_EVENT: Final = f"{{{ns.CHANNELS}}}event"
_JSON: Final = f"{{{ns.JSON}}}json"
_BODY: Final = f"{{{ns.CLIENT}}}body"
_SUBJECT: Final = f"{{{ns.CLIENT}}}subject"
_THREAD: Final = f"{{{ns.CLIENT}}}thread"
_MAX_BODY: Final = 1000
# XML 1.0 section 2.2 has no place for these, which JSON may escape.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# All of those that may stand in JSON as they are.
_NONCHARACTERS: Final = str.maketrans({"\ufffe": "\\ufffe", "\uffff": "\\uffff"})


class _Text(Struct):
    text: str


_text: Final = msgspec.json.Decoder(str | _Text).decode


def is_event(event: str) -> bool:
    """Tell whether a text can be the name of an event."""
    return 0 < len(event) <= MAX_EVENT and event.isprintable()


def write(name: str, data: bytes, id: str) -> Element:
    """Build the message in which a page sends data to those who want the event `name`. Data and id are JSON."""
    made = element(ns.CLIENT, "message", {"type": "groupchat", "id": id.translate(_NONCHARACTERS)})
    child(made, ns.CLIENT, "body", text=_NO_XML.sub("\ufffd", _readable(name, data)))
    event = child(made, ns.CHANNELS, "event", {"name": name})
    child(event, ns.JSON, "json", text=data.decode().translate(_NONCHARACTERS))
    return made


def read(message: Element, text_event: str) -> tuple[str, bytes] | None:
    """Return event and data of a message, or None for one that is not for pages."""
    if is_subject(message):
        return None
    published = message.find(_EVENT)
    if published is not None:
        event, data = published.get("name", ""), published.findtext(_JSON) or ""
        try:
            check(data)
        except Problem:
            # Its sender is no page, and what people read of it may be right.
            pass
        else:
            if is_event(event):
                return event, data.encode()
    body = message.findtext(_BODY)
    return None if not body else (text_event, quoted({"text": body}))


def is_subject(message: Element) -> bool:
    """Tell whether a message says what the room is about, whatever else is in it (XEP-0045 section 8.1)."""
    return message.find(_SUBJECT) is not None and message.find(_BODY) is None and message.find(_THREAD) is None


def _readable(event: str, data: bytes) -> str:
    try:
        found = _text(data)
    except msgspec.DecodeError:
        # No longer than what people read; the container has all of it.
        text = f"{event}: {data[: _MAX_BODY * 4].decode(errors='ignore')}"
    else:
        text = found if isinstance(found, str) else found.text
    return text if len(text) <= _MAX_BODY else text[: _MAX_BODY - 1] + "…"
