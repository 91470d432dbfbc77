"""The rules about who may import whom; CONTRIBUTING.md tells them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "xmppws"

# A part may import what stands on a later line, and nothing else on its own line.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"process", "mount"},
    {"app"},
    {"http", "admin"},
    {"routers", "routes", "modules", "storage", "auth", "log"},
    {"core"},
    {"stream", "config"},
    {"xml"},
    {"jid", "errors"},
    {"__init__"},
]
RANKS = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
PURE = ("xml", "stream")
IMPURE = frozenset({"asyncio", "aiohttp", "random", "time"})
MAY_USE_AIOHTTP = ("http", "auth", "cli", "mount", "app", "core.web", "modules.colibri.outgoing")
# `xmppws.attach` is the front door; what stands behind it is imported when somebody opens it.
FRONT_DOOR = ("__init__", "mount")


@dataclass(frozen=True)
class Import:
    """One import: both names without the leading `xmppws.`, unless the target is of somebody else."""

    importer: str
    target: str
    own: bool
    typing_only: bool


def modules() -> dict[str, str]:
    """Return the source of every module by its name, such as `core.host`; a package is named like a module."""
    sources = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        sources[name] = path.read_text()
    return sources


def imports(importer: str, source: str, known: frozenset[str]) -> Iterator[Import]:
    tree = ast.parse(source)
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for target in _targets(node, known):
            own = target == "xmppws" or target.startswith("xmppws.")
            name = target.removeprefix("xmppws").removeprefix(".") or "__init__" if own else target
            yield Import(importer, name, own, node in typing_only)


def _targets(node: ast.AST, known: frozenset[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name the whole path"
        assert node.module is not None
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule.removeprefix("xmppws.") in known else node.module


def is_in(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def feature(module: str) -> str:
    """Return which of the modules something belongs to: a package is one of them."""
    return ".".join(module.split(".")[:2])


def wrong(found: Import) -> str | None:
    """Return the rule that an import breaks."""
    if not found.own:
        root = found.target.partition(".")[0]
        if root in IMPURE and any(is_in(found.importer, part) for part in PURE):
            return f"xml and stream import no {root}"
        if root == "aiohttp" and not any(is_in(found.importer, part) for part in MAY_USE_AIOHTTP):
            return "aiohttp belongs in " + ", ".join(MAY_USE_AIOHTTP)
        return None
    if (found.importer, found.target) == FRONT_DOOR and found.typing_only:
        return None
    importer, target = found.importer.partition(".")[0], found.target.partition(".")[0]
    if importer == target:
        if importer == "modules" and found.importer != "modules" and feature(found.importer) != feature(found.target):
            return "one module never imports another"
        return None
    if importer not in RANKS or target not in RANKS:
        return "the part has no layer"
    if RANKS[importer] >= RANKS[target]:
        return "imports go one way"
    return None


def all_imports() -> list[Import]:
    sources = modules()
    known = frozenset(sources)
    return [found for name, source in sources.items() for found in imports(name, source, known)]


def test_no_import_is_wrong() -> None:
    found = all_imports()
    assert len(found) > 100
    assert [(each.importer, each.target, rule) for each in found if (rule := wrong(each))] == []


def test_no_cycles() -> None:
    # An import for types only may close one, as it never happens.
    graph: dict[str, set[str]] = {}
    for found in all_imports():
        if found.own and not found.typing_only:
            graph.setdefault(found.importer, set()).add(found.target)
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("importer", "source", "rule"),
    [
        ("xml.parser", "import xmppws.stream.frames", "imports go one way"),
        ("jid", "from xmppws.errors import XmppError", "imports go one way"),
        ("storage.sqlite", "from xmppws.auth.internal import Internal", "imports go one way"),
        ("core.host", "def late():\n    from xmppws import app", "imports go one way"),
        ("http.endpoint", "from xmppws.admin.socket import Socket", "imports go one way"),
        ("core.host", "import xmppws.somewhere.deep", "the part has no layer"),
        ("modules.roster", "from xmppws.modules.presence import Presence", "one module never imports another"),
        ("modules.roster", "from xmppws.modules import presence", "one module never imports another"),
        ("modules.muc.room", "from xmppws.modules.presence import Presence", "one module never imports another"),
        (
            "core.host",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from xmppws.http import app",
            "imports go one way",
        ),
        ("stream.c2s", "import asyncio.events", "xml and stream import no asyncio"),
        ("xml.parser", "from time import monotonic", "xml and stream import no time"),
        ("core.dispatch", "from aiohttp import web", "aiohttp belongs in"),
        ("core.webs", "import aiohttp", "aiohttp belongs in"),
    ],
)
def test_wrong_imports_are_found(importer: str, source: str, rule: str) -> None:
    known = frozenset({"app", "modules.presence", "xml.ns"})
    rules = [wrong(found) for found in imports(importer, source, known)]
    assert any(each is not None and each.startswith(rule) for each in rules)


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("core.host", "import asyncio\nfrom xmppws.core.hooks import Hooks\nfrom xmppws import __version__"),
        ("core.web", "from aiohttp import web"),
        ("modules", "from xmppws.modules.presence import Presence"),
        ("modules.muc.room", "from xmppws.modules.muc.occupant import Occupant"),
        ("core.host", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from xmppws.core.router import Stream"),
    ],
)
def test_right_imports_pass(importer: str, source: str) -> None:
    assert {wrong(found) for found in imports(importer, source, frozenset())} == {None}


def test_xml_and_stream_bring_in_no_loop_and_no_chance() -> None:
    pure = [f"xmppws.{name}" for name in modules() if any(is_in(name, part) for part in PURE)]
    # `time` is left out: the interpreter itself imports it.
    code = f"import sys, {', '.join(pure)}; print(*({{'asyncio', 'aiohttp', 'random'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.split() == []
