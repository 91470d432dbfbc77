"""The files of contrib/docker, read as Docker reads them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "contrib" / "docker"

_VARIABLE = re.compile(r"\$\{(\w+)(?::-((?:[^${}]|\$\{[^${}]*\})*))?\}")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, its lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form's entries, or the words of the shell form."""
        text = self.text.removeprefix("CMD ") if self.name == "HEALTHCHECK" else self.text
        return list(json.loads(text)) if text.startswith("[") else shlex.split(text)


def stages(text: str) -> list[list[Instruction]]:
    """Split a Dockerfile into its stages, each from FROM on."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found: list[list[Instruction]] = []
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            if name == "FROM":
                found.append([])
            found[-1].append(Instruction(name, " ".join(rest.split())))
    return found


def dockerfile() -> list[list[Instruction]]:
    return stages((DOCKER / "Dockerfile").read_text(encoding="utf-8"))


def named(stage: list[Instruction], name: str) -> list[Instruction]:
    return [instruction for instruction in stage if instruction.name == name]


def copies(stage: list[Instruction]) -> list[tuple[str, str]]:
    """Return what is copied from the sources: source and target, both as they stand there."""
    found = [each.words for each in named(stage, "COPY") if not each.text.startswith("--from=")]
    return [(source, target) for *sources, target in found for source in sources if not source.startswith("--")]


def environment(stage: list[Instruction]) -> dict[str, str]:
    """Return what ENV sets; a variable in it is not filled in."""
    return dict(word.split("=", 1) for each in named(stage, "ENV") for word in each.words)


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Tell whether a file is kept from the build: the last pattern that matches it, or a directory of it, says so."""
    ignored = False
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        if any(fnmatch(each, plain) or fnmatch(each.rpartition("/")[2], plain.removeprefix("**/")) for each in above):
            ignored = not pattern.startswith("!")
    return ignored


def ignore_patterns() -> list[str]:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return compose.yaml with variables filled in: ${NAME} and ${NAME:-default}, the default with variables too."""
    document: dict[str, Any] = _filled(yaml.safe_load((DOCKER / "compose.yaml").read_text()), variables or {})
    return document


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, variables) for each in value]
    return _expanded(value, variables) if isinstance(value, str) else value


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1]) or _expanded(match[2] or "", variables), text)
