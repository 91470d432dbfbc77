"""The `xmppws` command."""
