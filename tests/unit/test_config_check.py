"""`xmppws check-config` looks at what the configuration names: modules, routers, certificates."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from xmppws.cli.main import main

MODULE = """\
from typing import Annotated

from xmppws.config import Opt, Section
from xmppws.core.module import Module


class Options(Section, frozen=True, kw_only=True):
    limit: Annotated[int, Opt("How many.", minimum=1)] = 5


class Counting(Module):
    name = "counting"
    Options = Options
    requires = ("roster",)
"""

Check = Callable[[str], tuple[int, list[str]]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run the command on a text; return its exit status and its lines."""
    path = tmp_path / "xmppws.toml"

    def run(text: str) -> tuple[int, list[str]]:
        path.write_text(text)
        status = main(["check-config", "-c", str(path)])
        return status, [line.removeprefix(f"{path}:") for line in capsys.readouterr().out.splitlines()]

    return run


def test_what_is_right_passes(check: Check) -> None:
    assert check('[hosts."example.com"]') == (0, [" ok; virtual hosts: example.com"])


def test_modules_are_looked_up(check: Check) -> None:
    text = """\
modules_enabled = ["websocket", "disco", "rooster"]
[modules.pong]
[hosts."a.example"]
[hosts."b.example"]
modules_enabled = ["presence"]
modules_disabled = ["no_such_thing_at_all"]
"""
    status, lines = check(text)
    assert status == 1
    assert lines[:3] == [
        "1: modules_enabled: there is no module 'rooster'; did you mean 'roster'?",
        "2: modules.pong: there is no module 'pong'; did you mean 'ping'?",
        "5: hosts.\"b.example\".modules_enabled: module 'presence' requires 'roster', which is not enabled",
    ]
    assert lines[3].startswith("6: hosts.\"b.example\".modules_disabled: there is no module 'no_such_thing_at_all'")
    assert len(lines) == 4


def test_options_of_modules_are_read_as_they_declare_them(check: Check, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counting.py").write_text(MODULE)
    text = """\
plugin_paths = ["plugins"]
[modules.counting]
limit = 0
[hosts."a.example".modules.counting]
limt = 3
[hosts."b.example"]
"""
    assert check(text) == (
        1,
        [
            "3: modules.counting.limit = 0: must be at least 1",
            '5: hosts."a.example".modules.counting.limt = 3: is not known; '
            'did you mean hosts."a.example".modules.counting.limit?',
        ],
    )


def test_a_plugin_that_does_not_load_is_named(check: Check, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    text = 'plugin_paths = [".", "absent"]\nmodules_enabled = ["broken"]\nmodules.broken.x = 1\n[hosts."a.example"]'
    status, lines = check(text)
    assert status == 1
    assert lines[0].startswith('1: plugin_paths[1] = "/') and lines[0].endswith("is no directory")
    assert lines[1].startswith("2: modules_enabled: module 'broken' cannot be imported: ZeroDivisionError")


def test_a_router_that_cannot_be_imported_is_named(check: Check) -> None:
    status, lines = check('hosts.a.router = "no.such:Router"\nhosts.b.router = "elsewhere"')
    assert status == 1
    assert lines[0].startswith("1: hosts.a.router: router 'no.such:Router' cannot be imported")
    assert lines[1].startswith("2: hosts.b.router: there is no router 'elsewhere'")


def test_certificates_are_tried(check: Check, tmp_path: Path) -> None:
    authority = trustme.CA()
    one, other = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    one.private_key_and_cert_chain_pem.write_to_path(tmp_path / "whole.pem")
    one.cert_chain_pems[0].write_to_path(tmp_path / "one.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.key")
    text = """\
[[http.listeners]]
address = "unix:/run/xmppws"
tls = true
certificate = "one.pem"
key = "other.key"
[hosts."a.example"]
certificate = "whole.pem"
[hosts."b.example"]
certificate = "none.pem"
key = "."
[hosts."c.example"]
certificate = "one.pem"
"""
    assert check(text) == (
        1,
        [
            f'4: http.listeners[0].certificate = "{tmp_path}/one.pem": does not belong to the key',
            f'9: hosts."b.example".certificate = "{tmp_path}/none.pem": cannot be read: No such file or directory',
            f'10: hosts."b.example".key = "{tmp_path}": cannot be read: Is a directory',
            f'12: hosts."c.example".certificate = "{tmp_path}/one.pem": must hold a certificate and its key '
            "(or `key` must), in PEM, and the key without a password",
        ],
    )


def test_mistakes_in_the_file_and_beyond_it_come_together(check: Check) -> None:
    status, lines = check('log.level = "loud"\nhosts.a.router = "no.such:Router"\nx = 1')
    assert status == 1
    assert [line.partition(":")[0] for line in lines] == ["1", "2", "3"]


def test_the_environment_is_checked(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMPPWS_LOG_LEVEL", "loud")
    assert check("")[1] == ['environment: XMPPWS_LOG_LEVEL = "loud": must be "debug" or "info" or "warning" or "error"']
