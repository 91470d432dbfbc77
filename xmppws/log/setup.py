"""Send log lines where the configuration says. It is the process's own doing: a server in another program leaves it."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

from xmppws.config import Config, Log
from xmppws.core.admin import AdminError
from xmppws.core.audit import AUDIT
from xmppws.core.reload import Applier
from xmppws.log.files import AuditFile, LogFileError, NewestErrors
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
    _spare_what_no_line_shows()
    _configure_audit(data_dir / options.audit_file if options.audit_file else None)


def _spare_what_no_line_shows() -> None:
    # "Optimization" in the logging HOWTO: thread, process and calling line are looked up for each record otherwise.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None


def applier(data_dir: Path) -> Applier:
    """Return what sets up logging again when its options have changed."""

    def apply(config: Config) -> None:
        try:
            configure(config.log, data_dir)
        except LogFileError as error:
            raise AdminError(str(error)) from None

    return Applier(re.compile(r"log\..+"), apply)


def _configure_audit(path: Path | None) -> None:
    log = logging.getLogger(AUDIT)
    for old in tuple(log.handlers):
        log.removeHandler(old)
        old.close()
    log.propagate = False
    log.setLevel(logging.CRITICAL if path is None else logging.INFO)
    if path is not None:
        log.addHandler(AuditFile(path))
