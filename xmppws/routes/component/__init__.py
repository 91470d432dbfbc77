"""XEP-0114 Jabber Component Protocol 1.6.1, both sides: components that attach to us, and links by which we attach."""
