"""Debian's Prosody and ejabberd, each with its own directory and ports, for tests and figures beside xmppws.

Both serve the host localhost without TLS: WebSocket as xmppws does, and plain TCP streams. They have no limits of rate,
and the modules that xmppws has by default but for archives, carbons and stream management, which can be asked for. All
data, archives too, are where each keeps them unless told otherwise: Prosody in its own files, ejabberd in Mnesia.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Daemon, free_ports, package_version
from xmpp_daemons import ejabberd_daemon, prosody_daemon

PROSODY = """
run_as_root = true
daemonize = false
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
certificates = "{directory}"
log = {{ info = "{directory}/log" }}
http_interfaces = {{ "127.0.0.1" }}
http_ports = {{ {port} }}
https_ports = {{ }}
c2s_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s_port} }}
c2s_direct_tls_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
consider_websocket_secure = true
authentication = "internal_hashed"
storage = "internal"
modules_disabled = {{ "s2s" }}
modules_enabled = {{
    "roster", "saslauth", "disco", "blocklist", "private", "vcard", "lastactivity", "ping", "time", "uptime", "version",
    "adhoc", "websocket", {more}
}}
VirtualHost "localhost"
Component "conference.localhost" "muc"
"""

# With the usual backlog of 5, many who connect at the same time wait for a second until they try again.
EJABBERD = """
hosts: [localhost]
loglevel: info
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: 100
listen:
  - port: {port}
    ip: "127.0.0.1"
    backlog: 1000
    module: ejabberd_http
    request_handlers: {{/xmpp-websocket: ejabberd_http_ws}}
  - {{port: {c2s_port}, ip: "127.0.0.1", backlog: 1000, module: ejabberd_c2s}}
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_disco: {{}}
  mod_last: {{}}
  mod_muc: {{}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_private: {{}}
  mod_roster: {{versioning: true}}
  mod_time: {{}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
{more}"""
PROSODY_ARCHIVES = '"smacks", "carbons", "mam",'
EJABBERD_ARCHIVES = """\
  mod_stream_mgmt: {}
  mod_carboncopy: {}
  mod_mam: {db_type: mnesia, default: always, assume_mam_usage: true}
"""


@dataclass(frozen=True)
class Peer:
    """A running peer: its WebSocket is at `url` on `port`, its TCP streams are on `c2s_port`."""

    name: str
    version: str
    pid: int
    port: int
    c2s_port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/xmpp-websocket"


@asynccontextmanager
async def prosody(directory: Path, accounts: Mapping[str, str], *, archives: bool = False) -> AsyncIterator[Peer]:
    """Run Prosody in an empty directory, with accounts: username → password. `SkipTest` where it is not installed.

    With `archives` it has stream management and carbons, too.
    """
    port, c2s_port = free_ports(2)
    more = PROSODY_ARCHIVES if archives else ""
    configuration = PROSODY.format(directory=directory, port=port, c2s_port=c2s_port, more=more)
    async with _running(prosody_daemon(directory, configuration, accounts, "localhost")) as pid:
        yield Peer("Prosody", package_version("prosody"), pid, port, c2s_port)


@asynccontextmanager
async def ejabberd(directory: Path, accounts: Mapping[str, str], *, archives: bool = False) -> AsyncIterator[Peer]:
    """Run ejabberd as `prosody` runs Prosody."""
    port, c2s_port = free_ports(2)
    configuration = EJABBERD.format(port=port, c2s_port=c2s_port, more=EJABBERD_ARCHIVES if archives else "")
    async with _running(ejabberd_daemon(directory, configuration, accounts, "localhost")) as pid:
        yield Peer("ejabberd", package_version("ejabberd"), pid, port, c2s_port)


@asynccontextmanager
async def _running(daemon: Daemon) -> AsyncIterator[int]:
    await daemon.start()
    try:
        yield daemon.pid
    finally:
        await daemon.stop()
