"""Log lines: their formats, what strangers cannot do with them, and the files they are kept in."""

from __future__ import annotations

import json
import logging
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xmppws.config import Log
from xmppws.core.audit import AUDIT, audit
from xmppws.log.files import LogFileError, NewestErrors
from xmppws.log.formats import MAX_MESSAGE, Json, Text
from xmppws.log.setup import configure

NASTY = "a\nb\r\x1b[2J\u202ec\u2028d\x85\udcffe"


def record(message: str, *args: object, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("xmppws.test").makeRecord("xmppws.test", level, "", 0, message, args, None, extra=extra)
    made.created = 1_700_000_000.1239
    return made


def failed(message: str) -> logging.LogRecord:
    made = record("it failed")
    try:
        raise RuntimeError(message)
    except RuntimeError:
        made.exc_info = sys.exc_info()
    return made


def test_a_line_of_text() -> None:
    line = Text().format(record("id=%s hello", "7", id="7"))
    assert line == "2023-11-14T22:13:20.123Z WARNING xmppws.test: id=7 hello"


def test_a_line_of_json_has_the_fields() -> None:
    line = Json().format(record("id=%s é", "7", id="7", secure=True, lasted=1.5, user=None, address=NASTY))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "logger": "xmppws.test",
        "message": "id=7 é",
        "id": "7",
        "secure": True,
        "lasted": 1.5,
        "user": None,
        "address": NASTY,
    }


@pytest.mark.parametrize("formatter", [Text(), Json()])
def test_nothing_that_a_stranger_sends_ends_a_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%s", NASTY, user=NASTY))
    assert line.isprintable() and line.isascii()


def test_a_traceback_is_indented_or_a_field() -> None:
    forged = failed("x\n2023-11-14T22:13:20.123Z INFO xmppws: forged\x1b")
    first, *rest = Text().format(forged).split("\n")
    assert first.endswith("it failed") and rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    (line,) = Json().format(forged).splitlines()
    assert "RuntimeError: x\n2023" in json.loads(line)["traceback"]


def test_long_lines_are_cut() -> None:
    long = record("%s", "x" * 1_000_000, user="y" * 1_000_000)
    assert len(Text().format(long)) < MAX_MESSAGE + 100
    assert len(Json().format(long)) < 2 * MAX_MESSAGE


# --- the newest errors ---


def entries(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


def test_only_the_newest_errors_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "errors.log"
    kept = NewestErrors(path, 5)
    for number in range(23):
        kept.handle(record("%d", number))
        newest = [str(n) for n in range(number + 1)]
        found = entries(path)
        assert found == newest[-len(found) :] and min(5, number + 1) <= len(found) < 10
    kept.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["errors.log"]


def test_an_earlier_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "errors.log"
    first = NewestErrors(path, 3)
    for number in range(4):
        first.handle(record("%d", number))
    # No close: the process was killed. A torn line is what is left of a write that did not end.
    with path.open("ab") as file:
        file.write(b'{"time": "2023-11')
    second = NewestErrors(path, 3)
    second.handle(record("%d", 4))
    assert entries(path) == ["1", "2", "3", "4"]
    first.close()
    second.close()


def test_a_smaller_limit_cuts_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "errors.log"
    for limit, expected in ((10, 9), (2, 2)):
        kept = NewestErrors(path, limit)
        for number in range(9 if limit == 10 else 0):
            kept.handle(record("%d", number))
        kept.close()
        assert len(entries(path)) == expected


def test_a_file_that_cannot_be_written_is_said_once_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "logs" / "errors.log"
    kept = NewestErrors(path, 5)
    kept.handle(record("before"))
    path.parent.rename(tmp_path / "away")
    # Without its directory the file cannot be written anew.
    for number in range(12):
        kept.handle(record("%d", number))
    assert capsys.readouterr().err.count("log.error_file") == 1
    (tmp_path / "away").rename(path.parent)
    kept.handle(record("after"))
    kept.close()
    assert entries(path) == ["8", "9", "10", "11", "after"]


def test_an_error_file_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(LogFileError, match=r"log\.error_file: .*errors\.log cannot be used: "):
        NewestErrors(tmp_path / "logs" / "errors.log", 5)


# --- what the configuration says ---


@pytest.fixture
def restored() -> Iterator[None]:
    """Give the process its own logging back."""
    loggers = [logging.getLogger(), logging.getLogger(AUDIT)]
    before = [(log, log.handlers[:], log.level, log.propagate) for log in loggers]
    loggers[0].handlers[:] = []
    yield
    for log, handlers, level, propagate in before:
        for handler in log.handlers:
            handler.close()
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)


def configured(tmp_path: Path, **options: Any) -> None:
    configure(Log(**options), tmp_path)


@pytest.mark.usefixtures("restored")
def test_the_error_file_gets_warnings_whatever_the_level_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path, level="error", error_file="logs/errors.log")
    log = logging.getLogger("xmppws.test")
    log.info("%s", "info")
    log.warning("%s", "warning")
    log.error("%s", "error")
    assert entries(tmp_path / "logs" / "errors.log") == ["warning", "error"]
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.usefixtures("restored")
def test_the_audit_log_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path, audit_file="logs/audit.log", level="error")
    path = tmp_path / "logs" / "audit.log"
    audit("login", user="alice", address="192.0.2.1")
    (entry,) = map(json.loads, path.read_text().splitlines())
    assert (entry["action"], entry["user"], entry["address"]) == ("login", "alice", "192.0.2.1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and capsys.readouterr().err == ""
    path.rename(path.with_suffix(".1"))  # as logrotate does
    audit("login", user="bob")
    assert "bob" in path.read_text()


@pytest.mark.usefixtures("restored")
def test_there_is_no_audit_log_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path, level="debug")
    audit("login", user="alice")
    assert capsys.readouterr().err == "" and list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("restored")
def test_configuring_again_replaces_what_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        configured(tmp_path, format="json", audit_file="audit.log")
    logging.getLogger("xmppws.test").info("%s", "once")
    audit("once")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "once"
    assert len((tmp_path / "audit.log").read_text().splitlines()) == 1
