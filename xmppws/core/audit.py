"""The audit log: who logged in, who tried to, and what admins did. It is written where `log.audit_file` is set."""

from __future__ import annotations

import logging
from typing import Final

AUDIT: Final = "xmppws.audit"

log = logging.getLogger(AUDIT)


def audit(action: str, **fields: object) -> None:
    """Note an action, such as `audit("kick", admin=..., user=...)`. Passwords, tokens and bodies never stand in it."""
    if log.isEnabledFor(logging.INFO):
        log.info("%s", action, extra={"action": action, **fields})
