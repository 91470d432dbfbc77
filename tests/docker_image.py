"""What the image of contrib/docker would run, below a directory and without Docker: the image itself is not built."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from docker_files import ROOT, compose, copies, dockerfile, environment, named
from proxies import Edit, free_port, replaced
from servers import Program

BUILD, FINAL = dockerfile()


@dataclass(frozen=True)
class Image:
    """What the image would have in it, below a directory, and where its server is to listen."""

    root: Path
    port: int

    def moved(self, text: str) -> str:
        """Move the image's paths below the directory."""
        for path in ("/opt/xmppws", "/etc/xmppws", "/var/lib/xmppws"):
            text = text.replace(path, f"{self.root}{path}")
        return text

    def environment(self, mode: str, **variables: str) -> dict[str, str]:
        """Return the variables of the image, and those that compose.yaml has beside it."""
        given = compose({"MODE": mode})["services"]["xmppws"]["environment"]
        own = {name: self.moved(value) for name, value in environment(FINAL).items()}
        return {
            **own,
            **{name: value for name, value in given.items() if value is not None},
            "PATH": own["PATH"].replace("$PATH", os.environ["PATH"]),
            # nginx comes from here, and the test's machine has these ports and paths once only.
            "XMPPWS_HTTP_TRUSTED_PROXIES": "127.0.0.1",
            "XMPPWS_METRICS_LISTEN": "",
            "XMPPWS_ADMIN_SOCKET": "",
            "LETSHARE_SERVER_PORT": str(self.port),
            **variables,
        }

    def command(self, name: str) -> list[str]:
        (instruction,) = named(FINAL, name)
        text = instruction.text.partition("CMD ")[2] if name == "HEALTHCHECK" else instruction.text
        return [str(word) for word in json.loads(self.moved(text))]

    @asynccontextmanager
    async def running(self, variables: Mapping[str, str]) -> AsyncIterator[Program]:
        """Run what the image runs."""
        process = await asyncio.create_subprocess_exec(
            *(*self.command("ENTRYPOINT"), *self.command("CMD")),
            cwd=self.moved("/var/lib/xmppws"),
            env=variables,
            stderr=asyncio.subprocess.PIPE,
        )
        program = Program(process)
        try:
            await program.logged(rf"listens on 127\.0\.0\.1:{self.port},")
            yield program
        finally:
            assert await program.stop() == 0

    async def health(self, variables: Mapping[str, str]) -> tuple[int, str]:
        """Run the health check; return its exit code and what it says."""
        return await _ended(self.command("HEALTHCHECK"), variables)

    async def entrypoint(self, *arguments: str, variables: Mapping[str, str], stdin: str = "") -> tuple[int, str]:
        """Run another command in the image; return its exit code and what it says."""
        return await _ended([*self.command("ENTRYPOINT"), *arguments], variables, stdin)


async def _ended(command: list[str], variables: Mapping[str, str], stdin: str = "") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=variables,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, output.decode()


def built(root: Path) -> Image:
    """Do what the Dockerfile says, as far as it needs no Docker."""
    image = Image(root, free_port())
    sources = root / "sources"
    for source, target in copies(BUILD):
        _copy(ROOT / source, sources / target / (source if target == "./" else ""))
    (run,) = named(BUILD, "RUN")
    # With the packages that are there from other runs.
    _shell(replaced(" --no-cache-dir", "")(image.moved(run.text)), sources)
    for source, target in copies(FINAL):
        _copy(ROOT / source, Path(image.moved(target)) / (Path(source).name if target.endswith("/") else ""))
    Path(image.moved("/var/lib/xmppws")).mkdir(parents=True)
    program = Path(image.moved("/opt/xmppws/bin/xmppws-run"))
    program.chmod(0o755)
    edited(
        program,
        replaced("#!/opt", f"#!{root}/opt"),
        replaced('"/etc/xmppws"', f'"{root}/etc/xmppws"'),
        # Other machines have no business with a test.
        replaced('f"0.0.0.0:', 'f"127.0.0.1:'),
    )
    return image


def edited(file: Path, *edits: Edit) -> None:
    text = file.read_text(encoding="utf-8")
    for edit in edits:
        text = edit(text)
    file.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def _shell(text: str, directory: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-euc", text],
        cwd=directory,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
