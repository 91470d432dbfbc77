"""package.json and package-lock.json of the end-to-end tests."""

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "e2e" / "js"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return found


def test_versions_are_exact_and_locked() -> None:
    wanted = read("package.json")["dependencies"]
    locked = read("package-lock.json")["packages"]
    assert locked[""]["dependencies"] == wanted
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert locked[f"node_modules/{name}"]["version"] == version


def test_the_lock_says_what_but_not_from_where() -> None:
    # Everybody has a registry of their own; that it gives the same packages is what `integrity` is for.
    packages = read("package-lock.json")["packages"]
    packages.pop("")
    assert all("integrity" in package for package in packages.values())
    assert "://" not in (FOLDER / "package-lock.json").read_text()
