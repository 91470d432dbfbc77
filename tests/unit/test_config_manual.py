"""The manual page is what the declarations say, and the profiles in conf/ are right."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from xmppws.cli.config_checks import check
from xmppws.config import Config, Section, load, render_manual
from xmppws.config.environment import ALIASES
from xmppws.config.options import options, sections
from xmppws.errors import Reason

ROOT = Path(__file__).parents[2]
FRAME = ROOT / "man" / "xmppws.toml.5.in"
MANUAL = ROOT / "man" / "xmppws.toml.5"


def test_the_committed_page_is_up_to_date() -> None:
    assert MANUAL.read_text() == render_manual(FRAME.read_text()), "run `make docs`"


@pytest.mark.skipif(not shutil.which("mandoc"), reason="needs mandoc: apt-get install mandoc")
def test_the_page_is_right_mdoc() -> None:
    done = subprocess.run(["mandoc", "-T", "lint", MANUAL], capture_output=True, text=True, check=False, timeout=50)
    # Pages that are not installed on this machine cannot be found.
    assert [line for line in done.stdout.splitlines() if "referenced manual not found" not in line] == []


def test_every_option_stands_in_it() -> None:
    text = MANUAL.read_text()
    declared: list[type[Section]] = [Config, *sections(Config).values()]
    for section in declared:
        for name in options(section):
            assert name == "modules" or f".It Cm {name}\n" in text


def test_every_second_name_of_a_variable_stands_in_it() -> None:
    assert set(ALIASES) == set(re.findall(r"^\.It Ev (LETSHARE_\w+)$", MANUAL.read_text(), re.MULTILINE))


def test_ends_that_it_explains_exist() -> None:
    part = MANUAL.read_text().partition(".Ss Streams that end\n")[2].partition("\n.Ss ")[0]
    explained = {
        name
        for line in re.findall(r"^\.It Cm (.+)$", part, re.MULTILINE)
        for name in re.findall("[a-z-]+-[a-z-]+|replaced", line)
    }
    assert len(explained) > 10
    assert explained <= {reason.id for reason in Reason}


def test_the_local_profile_is_for_developing_on_this_machine() -> None:
    config = load(ROOT / "conf" / "local.toml")
    assert config.log.level == "debug"
    assert config.http.listen == ("127.0.0.1:5280",)
    origins = config.hosts["localhost"].allowed_origins
    assert {"http://localhost:3000", "http://localhost:5173"} < set(origins)


def test_the_profile_for_production_lets_https_pages_in_only() -> None:
    config = load(ROOT / "conf" / "production.toml")
    assert config.log.level == "info"
    assert not config.http.consider_websocket_secure
    assert not config.http.console
    (host,) = config.hosts.values()
    assert all(origin.startswith("https://") for origin in host.allowed_origins)


def test_the_small_profile_goes_with_that_for_production(tmp_path: Path) -> None:
    file = tmp_path / "xmppws.toml"
    production = (ROOT / "conf" / "production.toml").read_text(encoding="utf-8")
    file.write_text(f'include = ["{ROOT}/conf/small.toml"]\n{production}', encoding="utf-8")
    config = load(file)
    assert list(check(config)) == []
    (host,) = config.hosts.values()
    assert config.c2s.max_connections == 2000
    assert host.c2s.max_stanza_size == config.c2s.max_stanza_size < 256 * 1024
    assert host.modules["vcard"]["max_size"] == "96KiB"


@pytest.mark.parametrize("name", ["local", "production"])
def test_a_profile_keeps_the_newest_errors(name: str) -> None:
    log = load(ROOT / "conf" / f"{name}.toml").log
    assert (log.error_file, log.error_max_entries) == ("logs/errors.log", 200)
