"""What `python -m build` makes of the sources: complete, installable beside nothing else, and a server that runs."""

import asyncio
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import aiohttp
import pytest

from clients import logged_in
from servers import PASSWORDS, Program
from xmppws import __version__

# Packages come from an index, which may be slow.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
NOT_SOURCES = (
    ".git",
    ".venv",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "*.egg-info",
    "build",
    "dist",
    "var",
    "node_modules",
)
CONFIGURATION = """\
data_dir = "{}"
metrics.listen = []
[http]
listen = ["127.0.0.1:0"]
consider_websocket_secure = true
console = true
[hosts."localhost"]
http_host = ["localhost", "127.0.0.1"]
"""


def test_what_is_built_is_complete_and_runs(tmp_path: Path) -> None:
    # Building writes into the sources, so a copy is built.
    sources = tmp_path / "sources"
    shutil.copytree(ROOT, sources, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    run(sys.executable, "-m", "build", "--outdir", tmp_path, sources, cwd=tmp_path)
    (sdist,) = tmp_path.glob("*.tar.gz")
    (wheel,) = tmp_path.glob("*.whl")
    check_sdist(sdist, sources)
    check_wheel(wheel, sources)

    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    installed = tmp_path / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", installed / "python")
    run(*pip, "install", "--quiet", "--no-compile", wheel, cwd=tmp_path)
    assert (tmp_path / "venv" / "share" / "man" / "man1" / "xmppws.1").is_file()
    file = configured(installed / "xmppws", tmp_path)
    asyncio.run(log_in(installed / "xmppws", file))


def run(*command: str | Path, cwd: Path, stdin: str = "") -> str:
    """Run a command that has to succeed, outside the checkout, and return what it says."""
    done = subprocess.run(
        command, cwd=cwd, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files(directory: Path, *parts: str) -> set[str]:
    """Return the files in some parts of a directory, relative to it."""
    found = [path for part in parts for path in (directory / part, *(directory / part).rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)) for path in found}


def check_sdist(sdist: Path, sources: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    expected = files(sources, "xmppws", "conf", "contrib", "man", "tests", "setup.cfg", "pyproject.toml", "Makefile")
    assert expected | {"LICENSE", "README.md", "CHANGES.md"} <= names
    assert not [name for name in names if "node_modules" in name or name.startswith(("var/", ".venv/", "build/"))]


def check_wheel(wheel: Path, sources: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.startswith("xmppws/")} == files(sources, "xmppws")
    elsewhere = {name.partition("/")[0] for name in names} - {"xmppws"}
    assert elsewhere == {f"xmppws-{__version__}.data", f"xmppws-{__version__}.dist-info"}
    # The glob above could be of an empty directory.
    assert {"xmppws/py.typed", "xmppws/http/app.py", "xmppws/http/console/static/index.html"} <= names


def configured(xmppws: Path, directory: Path) -> Path:
    """Try what an installed program does without a server, and return a configuration with the account alice."""
    assert run(xmppws, "--version", cwd=directory) == f"xmppws {__version__}\n"
    assert ": ok;" in run(xmppws, "check-config", "-c", ROOT / "conf" / "demo.toml", cwd=directory)
    file = directory / "xmppws.toml"
    file.write_text(CONFIGURATION.format(directory / "data"), encoding="utf-8")
    add = (xmppws, "user", "add", "-c", file, "alice@localhost", "--password-stdin")
    assert run(*add, cwd=directory, stdin=PASSWORDS["alice"]) == "added alice@localhost\n"
    return file


async def log_in(xmppws: Path, file: Path) -> None:
    """Let an installed program serve its page, and alice log in."""
    process = await asyncio.create_subprocess_exec(
        *(xmppws, "serve", "-c", file), cwd=file.parent, stderr=asyncio.subprocess.PIPE
    )
    program = Program(process)
    try:
        program.port = int((await program.logged(r"listens on 127\.0\.0\.1:(\d+),"))[1])
        async with logged_in(program.url, "alice", PASSWORDS["alice"]) as alice:
            assert alice.jid.startswith("alice@localhost/")
        async with aiohttp.request("GET", f"http://127.0.0.1:{program.port}/") as page:
            assert (page.status, page.content_type) == (200, "text/html")
    finally:
        code = await program.stop()
    assert code == 0
