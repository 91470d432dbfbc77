"""Rows for people."""

from __future__ import annotations

import json

import pytest

from xmppws.cli import table


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("idle_seconds", 0.0123, "12 ms"),
        ("idle_seconds", 59.94, "59.9 s"),
        ("idle_seconds", 60, "1m 0s"),
        ("uptime_seconds", 3 * 86400 + 3600 * 4 + 1, "3d 4h"),
        ("round_trip_seconds", None, "-"),
        ("queue_bytes", 0, "0 B"),
        ("memory_bytes", 5 * 1024**2, "5.0 MiB"),
        ("memory_bytes", 3 * 1024**3, "3.0 GiB"),
        ("secure", True, "yes"),
        ("listeners", ["a", "b"], "a, b"),
        ("resource", "", "-"),
        ("resource", "a\x1b[31m\u202e\n", "a\\x1b[31m\\u202e\\n"),
    ],
)
def test_cells(column: str, value: object, shown: str) -> None:
    assert table.cell(column, value) == shown


def test_a_table_is_whole_lines_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([{"user": "x" * 300, "idle_seconds": 1.0}, {"user": "[b]"}], as_json=False, none="")
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["user", "idle"]
    assert first.split() == ["x" * 300, "1.0", "s"]
    assert second.split() == ["[b]", "-"]


def test_columns_that_say_nothing_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([{"a": "", "b": None, "c": 0}, {"a": "", "b": 1, "c": 0}], as_json=False, none="")
    heading, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert heading == ["b", "c"] and rows == [["-", "0"], ["1", "0"]]


def test_no_rows_are_a_sentence_for_people_and_nothing_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([], as_json=False, none="Nobody.")
    table.show([], as_json=True, none="Nobody.")
    assert capsys.readouterr().out == "Nobody.\n"


def test_one_row_is_told_by_lines(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"uptime_seconds": 61, "sessions": {"a": 1, "b": 2}, "recent_ends": {}}
    table.show_one(row)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["uptime", "1m", "1s"], ["sessions", "a", "1"], ["sessions", "b", "2"], ["recent", "ends", "-"]]
    table.show_json([row])
    assert json.loads(capsys.readouterr().out) == row
