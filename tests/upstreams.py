"""Debian's Prosody and ejabberd as the servers that accounts are on, with TLS, for what runs in front of them.

Both serve one domain with rooms, archives, carbons and stream management, and log in over TLS only, but for the
WebSocket port: that is for what stands beside us, not behind. Neither talks to other servers.

                         Prosody 0.12                        ejabberd 23.01
    SASL2, Bind 2, FAST  no                                  no
    channel binding      no                                  SCRAM-SHA-1-PLUS, over both kinds of TLS
    PROXY protocol       no: mod_net_proxy is not packaged   v1 and v2, on `proxy_port`
    after `kill`         all that it had confirmed is there  what it stored in the last seconds is lost
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from processes import Daemon, free_ports, package_version
from servers import PASSWORDS
from xmpp_daemons import ejabberd_daemon, prosody_daemon

DOMAIN = "example.test"
SECRET = "of the gateways"
LIFETIME = timedelta(days=30)

PROSODY = """
run_as_root = true
daemonize = false
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
certificates = "{directory}"
log = {{ info = "{directory}/log" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s_port} }}
c2s_direct_tls_ports = {{ {tls_port} }}
http_ports = {{ {websocket_port} }}
https_ports = {{ }}
component_ports = {{ {component_port} }}
c2s_require_encryption = true
consider_websocket_secure = true
http_default_host = "{domain}"
authentication = "internal_hashed"
storage = "internal"
smacks_hibernation_time = 300
modules_disabled = {{ "s2s" }}
modules_enabled = {{
    "roster", "saslauth", "tls", "disco", "blocklist", "private", "vcard", "lastactivity", "ping", "time", "uptime",
    "version", "adhoc", "carbons", "mam", "smacks", "csi_simple", "websocket",
}}
VirtualHost "{domain}"
Component "conference.{domain}" "muc"
    modules_enabled = {{ "muc_mam" }}
Component "gateway.{domain}"
    component_secret = "{secret}"
"""
PROSODY_SERVICES = ("c2s", "c2s_direct_tls", "component", "http")

EJABBERD = """
hosts: ["{domain}"]
loglevel: info
certfiles: ["{directory}/{domain}.crt", "{directory}/{domain}.key"]
ca_file: "{directory}/ca.pem"
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha
s2s_access: none
acme: {{auto: false}}
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: 100
listen:
  - {{port: {c2s_port}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true}}
  - {{port: {tls_port}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true}}
  - {{port: {proxy_port}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true, use_proxy_protocol: true}}
  - port: {websocket_port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers: {{/xmpp-websocket: ejabberd_http_ws}}
  - port: {component_port}
    ip: "127.0.0.1"
    module: ejabberd_service
    hosts: {{"gateway.{domain}": {{password: "{secret}"}}}}
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
  mod_last: {{}}
  mod_mam: {{default: always}}
  mod_muc: {{default_room_options: {{mam: true}}}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_private: {{}}
  mod_roster: {{versioning: true}}
  mod_stream_mgmt: {{resume_timeout: 300}}
  mod_time: {{}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
"""


@dataclass(frozen=True)
class Ports:
    """Ports of 127.0.0.1: streams with STARTTLS, with TLS from the first byte, and with a PROXY header before."""

    c2s_port: int
    tls_port: int
    websocket_port: int
    component_port: int
    proxy_port: int

    @classmethod
    def free(cls) -> Ports:
        return cls(*free_ports(5))


@dataclass(frozen=True)
class Upstream:
    """A running server. `ca` is the file of the authority that its certificate is from.

    `daemon` stops it, kills it, and starts it again on the same ports with the same data. `component` is the domain
    that who knows `secret` may serve; rooms are at `rooms`.
    """

    name: str
    version: str
    domain: str
    directory: Path
    ports: Ports
    daemon: Daemon
    passwords: Mapping[str, str]
    secret: str = SECRET

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def rooms(self) -> str:
        return f"conference.{self.domain}"

    @property
    def component(self) -> str:
        return f"gateway.{self.domain}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.ports.websocket_port}/xmpp-websocket"


@asynccontextmanager
async def prosody(
    directory: Path, *, domain: str = DOMAIN, leaf: trustme.LeafCert | None = None
) -> AsyncIterator[Upstream]:
    """Run Prosody in an empty directory, with the accounts of `PASSWORDS`. `SkipTest` where it is not installed.

    `leaf` is a certificate to show in place of the right one.
    """
    ports = Ports.free()
    _certify(directory, domain, leaf)
    configuration = PROSODY.format(directory=directory, domain=domain, secret=SECRET, **vars(ports))
    daemon = prosody_daemon(directory, configuration, PASSWORDS, domain, PROSODY_SERVICES)
    async with _running("Prosody", domain, directory, ports, daemon) as upstream:
        yield upstream


@asynccontextmanager
async def ejabberd(
    directory: Path, *, domain: str = DOMAIN, leaf: trustme.LeafCert | None = None
) -> AsyncIterator[Upstream]:
    """Run ejabberd as `prosody` runs Prosody."""
    ports = Ports.free()
    _certify(directory, domain, leaf)
    configuration = EJABBERD.format(directory=directory, domain=domain, secret=SECRET, **vars(ports))
    daemon = ejabberd_daemon(directory, configuration, PASSWORDS, domain)
    async with _running("ejabberd", domain, directory, ports, daemon) as upstream:
        yield upstream


def _certify(directory: Path, domain: str, leaf: trustme.LeafCert | None) -> None:
    """Write the certificate and its key under the names that Prosody looks for, and the authority beside them."""
    authority = trustme.CA()
    # ejabberd sets a timer for its expiry, and gives all certificates up where that is too far away.
    leaf = leaf or authority.issue_cert(domain, f"conference.{domain}", not_after=datetime.now(UTC) + LIFETIME)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    leaf.private_key_pem.write_to_path(directory / f"{domain}.key")
    (directory / f"{domain}.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


@asynccontextmanager
async def _running(name: str, domain: str, directory: Path, ports: Ports, daemon: Daemon) -> AsyncIterator[Upstream]:
    await daemon.start()
    try:
        version = package_version(name.lower())
        yield Upstream(name, version, domain, directory, ports, daemon, PASSWORDS)
    finally:
        await daemon.stop()
