"""The core: hosts and sessions, dispatch and delivery of stanzas, hooks and modules.

And the ports to everything around it.
"""
