"""The manual of channels says what the code does: its codes, its reasons, its options, and JSON that is JSON."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from xmppws.cli.config_checks import check
from xmppws.config import load
from xmppws.config.options import options
from xmppws.errors import Reason
from xmppws.modules.channels import names, requests
from xmppws.modules.channels.options import ChannelsOptions

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "man" / "xmppws-channels.7"
SOURCES = ROOT / "xmppws" / "modules" / "channels"
# How the source writes a code: in a problem, in an answer, and in the table of what rooms refuse.
CODES = re.compile(r'(?:Problem\(|answers\.error\(|": \(|_OTHERWISE: Final = \()"([a-z-]+)", ')
SENT = {"authenticated", "subscribed", "unsubscribed", "message", "enter", "leave", "pong", "error"}


def part(title: str) -> str:
    """Return a section."""
    found = MANUAL.read_text(encoding="utf-8").partition(f"\n.Sh {title}\n")[2].partition("\n.Sh ")[0]
    assert found
    return found


def displays(text: str) -> list[str]:
    """Return the literal displays as people see them."""
    return re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", text, re.DOTALL | re.MULTILINE)


def items(text: str) -> list[str]:
    return re.findall(r"^\.It (?:Li|Cm) ([^ \n]+)$", text, re.MULTILINE)


def messages(title: str) -> list[dict[str, object]]:
    """Return the examples of a section."""
    return [json.loads(line) for display in displays(part(title)) for line in display.splitlines()]


def test_every_code_is_explained_and_no_other() -> None:
    sent = {code for file in SOURCES.glob("*.py") for code in CODES.findall(file.read_text(encoding="utf-8"))}
    assert len(sent) > 15
    explained = items(part("ERROR CODES"))
    assert sorted(explained) == sorted(sent)


def test_the_reasons_of_ends_have_the_codes_that_it_says() -> None:
    told = re.findall(r"^\.It Li ([a-z0-9-]+) Ta (\d+) Ta ", part("HOW CONNECTIONS END"), re.MULTILINE)
    known = {reason.id: str(reason.code) for reason in Reason}
    assert len(told) > 10 and [row for row in told if known.get(row[0]) != row[1]] == []
    assert {"token-invalid", "token-expired", "idle"} <= {id for id, _ in told}


def test_every_option_stands_in_it_with_default_and_bounds() -> None:
    text = part("OPTIONS").partition("Other options that hold for pages:")[0]
    assert items(text) == list(options(ChannelsOptions))
    for name, option in options(ChannelsOptions).items():
        said = text.partition(f".It Cm {name}\n")[2].partition("\n.It ")[0]
        default = option.write(option.default).replace('"', r"\(dq")
        assert f'Default:\n.Ql "{default}" .' in said
        assert option.bounds in said


def test_every_request_has_an_example_that_is_taken() -> None:
    examples = messages("REQUESTS")
    assert [type(requests.read(json.dumps(example).encode())).__name__.lower() for example in examples] == [
        "auth",
        "subscribe",
        "unsubscribe",
        "publish",
        "ping",
    ]
    assert all(names.is_name(str(example["channel"])) for example in examples if "channel" in example)


def test_every_answer_has_an_example() -> None:
    assert {example["type"] for example in messages("WHAT PAGES ARE SENT")} == SENT


def test_rooms_of_channels_are_as_it_says() -> None:
    rows = re.findall(r"^\.It Li (.+?) Ta Li (.+)@conference\.example\.com$", part("CHANNELS AND ROOMS"), re.MULTILINE)
    assert len(rows) == 3
    assert [names.to_localpart(name) for name, _ in rows] == [room for _, room in rows]


def test_the_configuration_is_right(tmp_path: Path) -> None:
    text, secret = displays(part("ENABLING"))[0], tmp_path / "jwt.secret"
    secret.write_text("Zm9ydHkgYnl0ZXMgdGhhdCBub2JvZHkgZ3Vlc3NlcywgcmVhbGx5", encoding="utf-8")
    file = tmp_path / "xmppws.toml"
    file.write_text(text.replace("/etc/xmppws/jwt.secret", str(secret)), encoding="utf-8")
    assert list(check(load(file))) == []


def test_the_page_is_right_mdoc() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is missing; on Debian: apt-get install mandoc")
    command = ["mandoc", "-T", "lint", str(MANUAL)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50).stdout
    # Pages of this package are not installed where the tests run.
    assert [line for line in said.splitlines() if "referenced manual not found" not in line] == []
