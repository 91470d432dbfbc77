"""Scripts of tests/e2e/js under Node.js."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from lines import Script, started

SCRIPTS = Path(__file__).parent / "e2e" / "js"


def script(name: str, *args: str, env: Mapping[str, str] | None = None) -> AbstractAsyncContextManager[Script]:
    """Run a script until the block ends; skip the test where it cannot run."""
    return started(node(), str(SCRIPTS / name), *args, name=name, env=env)


def node() -> str:
    """Return the program; skip the test where scripts cannot run."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is missing; to run this test: apt-get install -y --no-install-recommends nodejs npm")
    if not (SCRIPTS / "node_modules").is_dir():
        pytest.skip("tests/e2e/js/node_modules is missing; to run this test: cd tests/e2e/js && npm ci")
    return program
