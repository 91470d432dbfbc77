"""The committed example is what the declarations say, and what it shows as defaults are the defaults."""

import re
from pathlib import Path

from xmppws.config import Config, Host, Section, load, render_example
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
    assert (config.http, config.c2s, config.storage, config.log) == (
        Config().http,
        Config().c2s,
        Config().storage,
        Config().log,
    )
    assert config.data_dir == Config().data_dir
    assert list(config.hosts) == ["example.com"]


def test_every_option_has_help_and_a_default_within_its_bounds() -> None:
    declared: list[type[Section]] = [Config, Host, *sections(Config).values()]
    for section in declared:
        for option in options(section).values():
            assert option.opt.help.endswith(".")
            if option.opt.minimum is not None and option.opt.maximum is not None:
                assert option.opt.minimum <= option.default <= option.opt.maximum
