"""The manual page xmppws.toml(5): a hand-written frame in mdoc, with the options put in from the declarations."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator

from xmppws.config.environment import settable, variable
from xmppws.config.hosts import Host, HostOptions
from xmppws.config.kinds import TABLES
from xmppws.config.lines import Key
from xmppws.config.neighbours import Component, Link
from xmppws.config.options import Option, Section, lists, options, sections
from xmppws.config.sections import Config

MARK = '.\\" OPTIONS\n'
"""The line of the frame that the options replace."""

_HEAD = '.\\" This file is generated from xmppws.toml.5.in and the declarations of the options: `make docs`.\n'
_WIDTH = 79
_HOST = '[hosts."example.com"]'
_LINK = '[links."example.com"]'
_COMPONENT = '[components."conference.example.com"]'
_DEFAULT_COMPONENTS = (
    "Without any for a module that is a component, it is one on every host that has it enabled: muc as conference.HOST."
)

_sentence_end = re.compile(r"(?<=[A-Za-z0-9)\]\"]\.) (?=[A-Z\"\[])")


def render_manual(frame: str) -> str:
    """Return the page: `frame` with all options in place of `MARK`."""
    before, _, after = frame.partition(MARK)
    return "\n".join([_HEAD + before.rstrip("\n"), *_lines(), after])


def _lines() -> Iterator[str]:
    yield from _section("Top level", "Options of the server as a whole, and those that hosts may have of their own.")
    yield from _list(Config, ())
    for name, section in sections(Config).items():
        yield from _section(f"[{name}]", section.__doc__)
        yield from _list(section, (name,))
        for list_, entry in lists(section).items():
            yield from _section(f"[[{name}.{list_}]]", f"{entry.__doc__} One table each, in files only.")
            yield from _list(entry, ())
    yield from _host()
    yield from _section(_COMPONENT, f"{Component.__doc__} One table each, in files only. {_DEFAULT_COMPONENTS}")
    yield from _list(Component, ())
    yield from _section(_LINK, f"{Link.__doc__} One table each, in files only.")
    yield from _list(Link, ())


def _host() -> Iterator[str]:
    yield from _section(_HOST, "A virtual host: one table each, in files only.")
    yield from _list(Host, (), leave=options(HostOptions))
    inherited = [f".Cm {name}" for name in options(HostOptions)]
    limits = [f".Cm {name}.{option}" for name, section in sections(Host).items() for option in options(section)]
    yield "A host may also set these for itself; what it does not set is as above:"
    yield " ,\n".join([*inherited, *limits]) + " ."


def _section(title: str, text: str | None) -> Iterator[str]:
    yield f'.Ss {_argument(title)[:-1]}\\&"'  # What ends in a bracket would look like punctuation.
    yield from _sentences(text or "")


def _list(section: type[Section], at: Key, leave: Collection[str] = ()) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for name, option in options(section).items():
        if name not in leave and option.kind is not TABLES:
            yield from _option(option, variable((*at, name)) if _has_variable(section, option) else "")
    yield ".El"


def _has_variable(section: type[Section], option: Option) -> bool:
    return settable(option) and (section is Config or section in sections(Config).values())


def _option(option: Option, variable: str) -> Iterator[str]:
    yield f".It Cm {option.name}"
    yield from _sentences(option.opt.help)
    yield ".Pp"
    yield _kind(option)
    if option.default is not None:
        yield f"Default:\n.Ql {_argument(option.write(option.default))} ."
    if option.opt.example is not None:
        yield f"Example:\n.Ql {_argument(option.write(option.opt.example))} ."
    if variable:
        yield f"Environment:\n.Ev {variable} ."


def _kind(option: Option) -> str:
    name = "path" if option.opt.relative else option.kind.name
    kind = f"list of {name}" if option.many else name
    kind += ", or { file = ... }" if option.opt.secret else ""
    kind += f"; {option.bounds}" if option.bounds else ""
    return f"{kind[0].upper()}{kind[1:]}."


def _sentences(text: str) -> Iterator[str]:
    """Begin each sentence on a line of its own, as mdoc wants it."""
    for sentence in _sentence_end.split(" ".join(text.split())):
        yield from map(_escaped, textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _argument(text: str) -> str:
    return '"' + text.replace("\\", "\\e").replace('"', "\\(dq") + '"'
