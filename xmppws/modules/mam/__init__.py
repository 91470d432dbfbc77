"""XEP-0313 Message Archive Management for accounts: `module` archives and answers, the others each know one thing."""

from xmppws.modules.mam.module import Mam

__all__ = ["Mam"]
