"""What is wrong with a configuration, told so that the line can be found and put right."""

from dataclasses import dataclass

MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to put right.

    `line` counts from 1, 0 when there is none; `key` is dotted; `value` is what stands there, cut, "" when that tells
    nothing; `rule` says what would be right; `hint` is "" or the nearest known name.
    """

    file: str
    line: int
    key: str
    value: str
    rule: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = _cut(self.key)
        what = f"{key} = {self.value}: " if self.value else f"{key}: " if key else ""
        return f"{where}: {what}{self.rule}{f'; did you mean {self.hint}?' if self.hint else ''}"


class ConfigError(Exception):
    """A configuration that cannot be used; `mistakes` holds all that is wrong with it, in the order of the file."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


def shown(value: object) -> str:
    """Return a value of a TOML file as text for a message, cut when it is long."""
    text = ("false", "true")[value] if isinstance(value, bool) else _quoted(value)
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _quoted(value: object) -> str:
    # A message is one line on a terminal: control characters stay escaped.
    return '"' + repr(value)[1:-1].replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)
