"""XML as XMPP uses it: names, a hardened parser with a budget, a writer, stanzas. No input or output here."""
