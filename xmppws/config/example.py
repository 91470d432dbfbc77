"""The full example of a configuration file, written from the declarations."""

import textwrap
from collections.abc import Iterator
from typing import Any

from xmppws.config.hosts import Host
from xmppws.config.neighbours import Component, Link
from xmppws.config.options import Option, Section, lists, options, sections
from xmppws.config.sections import Config

WIDTH = 100

_HEAD = """\
# All options of xmppws. A line that is commented out shows the default, or an example when it says so.
#
# Times: "500ms", "30s", "5m", "1h", "30d", or a number of seconds.
# Sizes: "16KiB", "1MiB", "64KB", or a number of bytes.
# `xmppws check-config -c FILE` tells every mistake with its line.
# This file is generated: `make docs`.
"""
_HOST_HEAD = """\
# --- Virtual hosts: one table each. Options of all hosts from above, such as `admins`, may stand here too. ---

#[hosts."example.com"]
"""
_HOST_SECTION = """\
# What a host does not set here is as in [{name}].
#[hosts."example.com".{name}]
"""
_LIST_HEAD = """\
# --- {help} One table each. ---

#[[{name}]]
"""
_COMPONENT_HEAD = """\
# --- Components: domains that modules or other programs serve, one table each. ---
# Without one, a module has LABEL.HOST on every host.

#[components."conference.example.com"]
"""
_LINK_HEAD = """\
# --- Links: hosts, or components of them, attached to other servers (XEP-0114), one table each. ---

#[links."example.com"]
"""
_MODULES = """\
# --- Modules: one table each, [modules.NAME] for all hosts or [hosts."example.com".modules.NAME] for one. ---
"""


def render_example() -> str:
    """Return the example: every option with its help, commented out."""
    return "\n".join(
        [
            *(_HEAD, *_options(Config), *_sections()),
            *(_HOST_HEAD, *_host()),
            *(_COMPONENT_HEAD, *_options(Component)),
            *(_LINK_HEAD, *_options(Link)),
            _MODULES,
        ]
    )


def _sections() -> Iterator[str]:
    for name, section in sections(Config).items():
        yield f"# --- {section.__doc__} ---\n\n[{name}]\n"
        yield from _options(section)
        for list_, entry in lists(section).items():
            yield _LIST_HEAD.format(help=entry.__doc__, name=f"{name}.{list_}")
            yield from _options(entry)


def _host() -> Iterator[str]:
    yield from _options(Host, leave=options(Config))
    for name, section in sections(Host).items():
        yield _HOST_SECTION.format(name=name)
        yield from (f"#{option.name} = {option.write(_value(option))}\n" for option in options(section).values())


def _options(section: type[Section], leave: Any = ()) -> Iterator[str]:
    for option in options(section).values():
        if option.name not in leave and option.name != "modules":
            yield f"{_help(option)}\n#{option.name} = {option.write(_value(option))}\n"


def _value(option: Option) -> Any:
    return option.default if option.opt.example is None else option.opt.example


def _help(option: Option) -> str:
    text = option.opt.help if option.opt.example is None else f"{option.opt.help} (Example.)"
    if option.bounds:
        text += f" {option.bounds[0].upper()}{option.bounds[1:]}."
    return textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
