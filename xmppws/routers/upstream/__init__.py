"""Streams that an XMPP server behind this one handles: finding it, connecting to it, knowing it for the right one."""
