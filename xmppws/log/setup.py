"""Send log lines where the configuration says. It is the process's own doing: a server in another program leaves it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from xmppws.config import Log
from xmppws.core.audit import AUDIT
from xmppws.log.files import AuditFile, NewestErrors
from xmppws.log.formats import Json, Text


def configure(options: Log, data_dir: Path) -> None:
    """Set up logging, in place of what was set up before. Raises `LogFileError`."""
    level = logging.getLevelNamesMapping()[options.level.upper()]
    lines: logging.Handler = logging.StreamHandler(sys.stderr)
    lines.setFormatter(Json() if options.format == "json" else Text())
    lines.setLevel(level)
    handlers = [lines]
    if options.error_file:
        handlers.append(NewestErrors(data_dir / options.error_file, options.error_max_entries))
        level = min(level, logging.WARNING)
    logging.basicConfig(level=level, handlers=handlers, force=True)
    _configure_audit(data_dir / options.audit_file if options.audit_file else None)


def _configure_audit(path: Path | None) -> None:
    log = logging.getLogger(AUDIT)
    for old in tuple(log.handlers):
        log.removeHandler(old)
        old.close()
    log.propagate = False
    log.setLevel(logging.CRITICAL if path is None else logging.INFO)
    if path is not None:
        log.addHandler(AuditFile(path))
