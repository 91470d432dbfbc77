"""Reading the configuration again: what differs, what is applied, and what has to wait."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from servers import config
from xmppws.config import Config, ConfigError, Host, Log, Mistake, load
from xmppws.core.admin import AdminError
from xmppws.core.reload import Applier, Reload, changes

BASE = config(hosts={"a.example": Host()})


class Loader:
    """Returns `config`, or raises it."""

    def __init__(self, config: Config | Exception) -> None:
        self.config = config

    def __call__(self) -> Config:
        if isinstance(self.config, Exception):
            raise self.config
        return self.config


def test_changes_are_told_by_their_dotted_keys() -> None:
    new = config(hosts={"b.example": Host(http_host=("b",))}, ping_interval=5.0)
    found = changes(BASE, replace(new, log=Log(level="debug")))
    assert {'hosts."a.example".http_host', 'hosts."b.example".http_host', "c2s.ping_interval", "log.level"} <= set(
        found
    )
    assert changes(BASE, BASE) == []


def test_where_options_stand_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('log.level = "debug"\n')
    first = load(file)
    file.write_text('\n\nlog.level = "debug"\n')
    assert changes(first, load(file)) == []


def test_covered_options_are_applied_once_and_others_told_until_a_restart() -> None:
    applied: list[str] = []
    loader = Loader(BASE)
    reload = Reload(BASE, loader, [Applier(re.compile(r"log\..+"), lambda new: applied.append(new.log.level))])
    assert reload()[1] == [] and applied == []
    loader.config = replace(BASE, log=Log(level="debug"), data_dir=Path("/other"))
    waiting = {"option": "data_dir", "outcome": "needs a restart"}
    assert reload()[1] == [waiting, {"option": "log.level", "outcome": "applied"}]
    assert reload()[1] == [waiting]
    loader.config = BASE
    assert reload()[1] == [{"option": "log.level", "outcome": "applied"}]
    assert applied == ["debug", "info"]


def test_options_of_modules_say_how_they_are_applied() -> None:
    new = config(hosts={"a.example": Host(modules={"mam": {"expire_after": "1d"}})})
    _, rows = Reload(BASE, Loader(replace(new, modules={"roster": {"x": 1}})), [])()
    assert {row["outcome"] for row in rows} == {"needs `xmppws reload mam`", "needs `xmppws reload roster`"}


def test_mistakes_change_nothing() -> None:
    loader = Loader(ConfigError((Mistake("f", 1, "log.level", "x", "must be better"),)))
    reload = Reload(BASE, loader, [Applier(re.compile(".*"), lambda new: pytest.fail("applied"))])
    with pytest.raises(AdminError, match=r"stays as it was.*must be better"):
        reload()
    loader.config = PermissionError(13, "Permission denied", "/some/file")
    with pytest.raises(AdminError, match="/some/file: Permission denied"):
        reload()
