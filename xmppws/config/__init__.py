"""The configuration: options declared once, read strictly, rendered as the example file."""

from xmppws.config.checks import Address, address
from xmppws.config.demo import demo_config
from xmppws.config.example import render_example
from xmppws.config.hosts import Host, HostC2S, Jwt
from xmppws.config.kinds import Duration, Size
from xmppws.config.loader import load, module_options
from xmppws.config.loader import read as read_config
from xmppws.config.manual import render_manual
from xmppws.config.mistakes import ConfigError, Mistake
from xmppws.config.neighbours import Component, Link
from xmppws.config.options import Opt, Section
from xmppws.config.sections import C2S, Config, Http, Listener, Log, Metrics, Pace, Storage

__all__ = [
    "C2S",
    "Address",
    "Component",
    "Config",
    "ConfigError",
    "Duration",
    "Host",
    "HostC2S",
    "Http",
    "Jwt",
    "Link",
    "Listener",
    "Log",
    "Metrics",
    "Mistake",
    "Opt",
    "Pace",
    "Section",
    "Size",
    "Storage",
    "address",
    "demo_config",
    "load",
    "module_options",
    "read_config",
    "render_example",
    "render_manual",
]
