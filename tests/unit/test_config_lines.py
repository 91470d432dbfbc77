"""The line of every key, for every way that TOML has to write one."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xmppws.config.lines import Key, key_lines

SAMPLE = '''\
# [not.a.table]
top = 1
text = """
fake = 2
"""
raw = \'\'\'
[fake]\'\'\'\'
"quoted.key" = "a # b = [c]"
a.b . "c d" = 3   # comment = 4
list = [ # [x]
  1, "two = 2",
  [3,
   4],
  { in = 5, "side.way".x = 6 },
]
when = 1979-05-27 07:32:00
[table]
key = { a = 1, b = [2] }
["q[u]".\'x.y\']
\'\' = ""
[[many]]
n = 1
[many.sub]
m = 2
[[many]]
n = 3
[[many.deep]]
[[many.deep]]
last = """"two quotes""""" '''


def test_every_way_to_write_a_key() -> None:
    tomllib.loads(SAMPLE)
    lines = key_lines(SAMPLE)
    expected: dict[Key, int] = {
        ("top",): 2,
        ("text",): 3,
        ("raw",): 6,
        ("quoted.key",): 8,
        ("a", "b", "c d"): 9,
        ("list",): 10,
        ("list", 0): 11,
        ("list", 1): 11,
        ("list", 2): 12,
        ("list", 2, 1): 13,
        ("list", 3, "in"): 14,
        ("list", 3, "side.way", "x"): 14,
        ("when",): 16,
        ("table",): 17,
        ("table", "key", "b", 0): 18,
        ("q[u]", "x.y"): 19,
        ("q[u]", "x.y", ""): 20,
        ("many",): 21,
        ("many", 0, "n"): 22,
        ("many", 0, "sub"): 23,
        ("many", 0, "sub", "m"): 24,
        ("many", 1): 25,
        ("many", 1, "n"): 26,
        ("many", 1, "deep", 0): 27,
        ("many", 1, "deep", 1): 28,
        ("many", 1, "deep", 1, "last"): 29,
    }
    assert {key: lines.get(key) for key in expected} == expected
    assert not any("fake" in key for key in lines)


keys = st.text(st.sampled_from('ab.-_[]{}="#\n\\é '), max_size=4)
texts = st.text(st.sampled_from("ab \"'\n#[]{}=,\\"), max_size=6)
values = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
tables = st.dictionaries(keys, st.dictionaries(keys, values, max_size=3), max_size=3)


def written(value: Any, blank: str) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{json.dumps(key)} = {written(entry, '')}" for key, entry in value.items())
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{blank}{f', {blank}'.join(written(entry, blank) for entry in value)}{blank}]"
    return json.dumps(value)


def leaves(value: Any, at: Key = ()) -> Iterator[Key]:
    yield at
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from leaves(entry, (*at, key))


@given(tables, st.sampled_from(["", "\n", "  # ]\n"]))
def test_what_tomllib_reads_has_a_line(document: dict[str, dict[str, Any]], blank: str) -> None:
    rows: list[str] = []
    starts: dict[Key, int] = {}
    for name, table in document.items():
        rows.append(f"[{json.dumps(name)}] # {blank.strip()}")
        starts[(name,)] = len(rows)
        for key, value in table.items():
            starts[name, key] = len(rows) + 1
            rows += f"{json.dumps(key)} = {written(value, blank)}".split("\n")
    text = "\n".join(rows)
    assert tomllib.loads(text) == document
    lines = key_lines(text)
    assert set(lines) == set(leaves(document)) - {()}
    assert {key: lines[key] for key in starts} == starts
