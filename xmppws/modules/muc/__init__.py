"""XEP-0045 Multi-User Chat: the room is pure (`room` and what stands around it), `module` does the rest."""

from xmppws.modules.muc.module import Muc

__all__ = ["Muc"]
