"""Stanzas from a seed: right, nearly right and nonsense, for everything that the server has a handler for."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final
from xml.sax.saxutils import quoteattr

KINDS: Final = ("message", "presence", "iq")
TYPES: Final = {
    "message": ("", "chat", "normal", "headline", "groupchat", "error", "get", "💬"),
    "presence": (
        *("", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error", "set"),
        "subscribe ",
    ),
    "iq": ("get", "set", "get", "set", "result", "error", "", "chat"),
}
ROOM: Final = "room@conference.localhost"
ADDRESSES: Final = (
    *("", "", "alice@localhost", "bob@localhost", "carol@localhost", "localhost", "alice@localhost/one"),
    *("bob@localhost/one", "bob@localhost/gone", "nobody@localhost", "localhost/resource", "elsewhere.example"),
    *("user@elsewhere.example/x", "ALICE@LOCALHOST/one", "al ice@localhost", "@localhost", "alice@", "a@b@c/d", "/"),
    *(
        ROOM,
        ROOM,
        f"{ROOM}/Alice",
        f"{ROOM}/Alice",
        f"{ROOM}/👋",
        "conference.localhost",
        "none@conference.localhost/x",
    ),
    *("alice@localhost/", "ǆ@localhost", "alice@localhost/\u202e", "x" * 1100 + "@localhost", "bob@xn--a"),
)
TEXTS: Final = (
    "",
    "x",
    "Grüße & <mehr>",
    "👋" * 50,
    "y" * 3000,
    "\t\n ",
    "-129",
    "127",
    "true",
    "2026-13-45T99:99:99Z",
)
PAYLOADS: Final = (
    *(("jabber:iq:roster", "query", "item"), ("vcard-temp", "vCard", "PHOTO"), ("jabber:iq:private", "query", "x")),
    *(("jabber:iq:last", "query", ""), ("jabber:iq:version", "query", ""), ("urn:xmpp:time", "time", "utc")),
    *(("urn:xmpp:ping", "ping", ""), ("urn:xmpp:blocking", "block", "item"), ("urn:xmpp:blocking", "unblock", "item")),
    *(("urn:xmpp:blocking", "blocklist", ""), ("http://jabber.org/protocol/disco#info", "query", "")),
    *(("http://jabber.org/protocol/disco#items", "query", ""), ("urn:ietf:params:xml:ns:xmpp-session", "x", "")),
    *(
        ("http://jabber.org/protocol/commands", "command", "x"),
        ("urn:ietf:params:xml:ns:xmpp-bind", "bind", "resource"),
    ),
    *(("jabber:x:data", "x", "field"), ("urn:xmpp:delay", "delay", ""), ("urn:xmpp:hints", "no-store", "")),
    *(("http://jabber.org/protocol/muc", "x", "history"), ("http://jabber.org/protocol/muc", "x", "password")),
    *(("http://jabber.org/protocol/muc#user", "x", "status"), ("http://jabber.org/protocol/muc#user", "x", "invite")),
    *(("http://jabber.org/protocol/muc#admin", "query", "item"),) * 2,
    *(("http://jabber.org/protocol/muc#owner", "query", name) for name in ("destroy", "")),
    *(("jabber:client", "subject", ""), ("jabber:client", "error", "x")),
    *(("jabber:client", "body", ""), ("jabber:client", "priority", ""), ("jabber:client", "show", "")),
    *(("http://jabber.org/protocol/chatstates", "active", ""), ("urn:unknown", "unknown", "unknown")),
)
MUC_VALUES: Final = ("Alice", "one", "outcast", "member", "admin", "owner", "visitor", "participant", "moderator", "7")
ATTRIBUTES: Final = (
    "jid",
    "name",
    "node",
    "ver",
    "subscription",
    "ask",
    "approved",
    "action",
    "sessionid",
    "var",
    "type",
    *("nick", "role", "affiliation", "maxstanzas", "maxchars", "seconds", "since", "code"),
)
WORDS: Final = ("remove", "both", "none", "true", "submit", "execute", "cancel", "uptime")
VALUES: Final = (*ADDRESSES, *TEXTS, *WORDS, *MUC_VALUES)


def stanza(random: Random) -> str:
    """Return a stanza; it is well-formed."""
    kind = random.choice(KINDS)
    attributes = {
        "type": random.choice(TYPES[kind]),
        "to": random.choice(ADDRESSES),
        "id": random.choice(("", "1", "id", "👋", "z" * 200)),
    }
    if random.random() < 0.2:
        attributes["xml:lang"] = random.choice(("en", "", "de-CH-1996"))
    children = "".join(_payload(random) for _ in range(random.choice((0, 1, 1, 1, 1, 2, 5))))
    return _element(kind, "jabber:client", {name: value for name, value in attributes.items() if value}, children)


def _payload(random: Random) -> str:
    namespace, name, child = random.choice(PAYLOADS)
    makes: tuple[Callable[[], str], ...] = (
        lambda: "",
        lambda: _escaped(random.choice(TEXTS)),
        lambda: _element(child or "x", namespace, _attributes(random), _escaped(random.choice(TEXTS))),
        lambda: "".join(_element(child or "x", namespace, _attributes(random), _nested(random)) for _ in range(3)),
        lambda: _payload(random),
    )
    return _element(name, namespace, _attributes(random), random.choice(makes)())


def _nested(random: Random) -> str:
    text = _escaped(random.choice(TEXTS))
    for name in random.choices(("group", "value", "field", "item", "x"), k=random.randrange(4)):
        text = f"<{name}>{text}</{name}>"
    return text


def _attributes(random: Random) -> dict[str, str]:
    return {random.choice(ATTRIBUTES): random.choice(VALUES) for _ in range(random.randrange(4))}


def _element(name: str, namespace: str, attributes: dict[str, str], content: str) -> str:
    written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    return f'<{name} xmlns="{namespace}"{written}>{content}</{name}>'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
