"""The committed example is what the declarations say, and what it shows as defaults are the defaults."""

import re
from pathlib import Path

from msgspec.structs import replace

from xmppws.config import Config, Host, HostC2S, Listener, Section, load, render_example
from xmppws.config.options import options, sections

EXAMPLE = Path(__file__).parents[2] / "conf" / "xmppws.toml"


def test_the_committed_example_is_up_to_date() -> None:
    assert EXAMPLE.read_text() == render_example(), "run `make docs`"


def test_the_example_as_it_stands_changes_nothing() -> None:
    config = load(EXAMPLE)
    assert config == Config(source=config.source)


def test_every_line_that_is_commented_out_can_be_switched_on(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(re.sub(r"^#(?=\S)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    config = load(path)
    for part in ("c2s", "storage", "metrics", "data_dir", "admin_socket"):
        assert getattr(config, part) == getattr(Config(), part)
    assert replace(config.http, listeners=()) == Config().http
    assert config.http.listeners == (Listener(address="unix:/run/xmppws/http.sock"),)
    assert config.hosts["example.com"].c2s == HostC2S()
    assert list(config.hosts) == ["example.com"]


def test_every_option_has_help_and_a_default_within_its_bounds() -> None:
    declared: list[type[Section]] = [Config, Host, HostC2S, Listener, *sections(Config).values()]
    for section in declared:
        for option in options(section).values():
            assert option.opt.help.endswith(".")
            if option.opt.minimum is not None and option.opt.maximum is not None:
                assert option.opt.minimum <= option.default <= option.opt.maximum
