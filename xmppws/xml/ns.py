"""XML namespaces, named after the protocol that owns them."""

from typing import Final

XML: Final = "http://www.w3.org/XML/1998/namespace"
FRAMING: Final = "urn:ietf:params:xml:ns:xmpp-framing"
STREAM: Final = "http://etherx.jabber.org/streams"
STREAM_ERRORS: Final = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
CLIENT: Final = "jabber:client"
SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION: Final = "urn:ietf:params:xml:ns:xmpp-session"
ROSTER: Final = "jabber:iq:roster"
PING: Final = "urn:xmpp:ping"
DISCO_INFO: Final = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS: Final = "http://jabber.org/protocol/disco#items"
VERSION: Final = "jabber:iq:version"
TIME: Final = "urn:xmpp:time"
DATA_FORMS: Final = "jabber:x:data"
COMMANDS: Final = "http://jabber.org/protocol/commands"

LANG: Final = f"{{{XML}}}lang"
