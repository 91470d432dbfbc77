"""Where modules come from, and what is said of those that cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmppws.core.catalog import Catalog, ModuleError
from xmppws.modules import BUILT_IN
from xmppws.modules.ping import Ping

FILE = """
from xmppws.core.module import Module

class Mine(Module):
    name = "{name}"
    features = ("{feature}",)
"""


def test_a_file_goes_before_what_is_built_in_and_an_earlier_path_before_a_later_one(tmp_path: Path) -> None:
    for directory in ("first", "second"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "ping.py").write_text(FILE.format(name="ping", feature=directory))
    assert Catalog(BUILT_IN).find("ping") is Ping
    catalog = Catalog(BUILT_IN, [tmp_path / "first", tmp_path / "second"])
    assert catalog.find("ping").features == ("first",)
    assert set(BUILT_IN) <= set(catalog.names)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("x = (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        (FILE.format(name="other", feature=""), "defines no Module whose name is 'mine'"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_explained(tmp_path: Path, code: str, text: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(ModuleError, match="mine") as error:
        Catalog(BUILT_IN, [tmp_path]).find("mine")
    assert text in str(error.value)


def test_only_what_is_asked_for_is_imported(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    assert Catalog(BUILT_IN, [tmp_path]).find("ping") is Ping


def test_an_unknown_name_has_the_nearest_one_as_a_hint() -> None:
    with pytest.raises(ModuleError, match="did you mean 'presence'"):
        Catalog(BUILT_IN).find("presense")
    with pytest.raises(ModuleError, match="there are: adhoc, blocking"):
        Catalog(BUILT_IN).find("zzz")


def test_the_default_set_can_be_added_to() -> None:
    catalog = Catalog(BUILT_IN)
    everything = list(BUILT_IN)
    assert catalog.enabled(None, ()) == everything
    assert catalog.enabled(["mine", "default", "ping"], ["disco"]) == [
        "mine",
        *(name for name in everything if name != "disco"),
    ]
    assert catalog.enabled(["ping", "mine"], ["mine"]) == ["ping"]
    assert catalog.enabled([], ()) == []
