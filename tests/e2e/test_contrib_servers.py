"""The files of contrib/ for other XMPP servers and for gateways, run by Debian's Prosody, ejabberd and biboumi.

Addresses, ports, paths and secrets are replaced, and stand for nothing else: each has to be in its file.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import aiohttp
import pytest
import trustme
from slixmpp import JID
from slixmpp.clientxmpp import ClientXMPP
from slixmpp.stanza import Message

from clients import Client, connected, logged_in
from nameserver import name_server
from processes import Daemon, free_ports, installed
from servers import PASSWORDS, Running, running
from waiting import until
from xmpp_daemons import ejabberd_daemon, prosody_daemon
from xmppws.config import Config, load

pytestmark = pytest.mark.e2e

CONTRIB = Path(__file__).parents[2] / "contrib"
DOMAIN = "example.com"
WEB = f"web.{DOMAIN}"
ADDRESS = "203.0.113.7"
# What a proxy says of a browser.
PROXIED = {"X-Forwarded-Proto": "https", "X-Forwarded-For": ADDRESS}
SECRET = "of the link"
LIFETIME = timedelta(days=30)
# What the files name, and Prosody's HTTP.
PORTS = ("5222", "5223", "5225", "5226", "5280", "5290", "5347", "5348", "8080")
NOTHING: Mapping[str, str] = MappingProxyType({})
INFO = "{http://jabber.org/protocol/disco#info}"

# What stands in the global section of Debian's file, and may be in the way.
PROSODY = """
run_as_root = true
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
certificates = "{directory}"
log = {{ info = "{directory}/log" }}
interfaces = {{ "127.0.0.1" }}
http_ports = {{ 8080 }}
https_ports = {{ }}
c2s_ports = {{ 5222 }}
c2s_direct_tls_ports = {{ 5223 }}
component_ports = {{ 5347 }}
s2s_ports = {{ }}
limits = {{ c2s = {{ rate = "10kb/s" }} }}
authentication = "internal_hashed"
modules_enabled = {{
    "disco", "roster", "saslauth", "tls", "blocklist", "carbons", "limits", "private", "smacks", "ping", "register",
    "time", "uptime", "version", "posix", "bosh", "websocket",
}}
{lines}
VirtualHost "{domain}"
Component "conference.{domain}" "muc"
{drop_in}
"""
EJABBERD = """
hosts: ["{domain}"]
loglevel: info
certfiles: ["{directory}/{domain}.crt", "{directory}/{domain}.key"]
auth_password_format: scram
s2s_access: none
acme: {{auto: false}}
access_rules:
  c2s:
    deny: blocked
    allow: all
shaper:
  normal: {{rate: 3000, burst_size: 20000}}
shaper_rules:
  max_user_sessions: 10
  c2s_shaper:
    normal: all
listen:
  - {{port: 5222, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true}}
  - {{port: 5223, ip: "127.0.0.1", module: ejabberd_c2s, tls: true}}
modules:
  mod_adhoc: {{}}
  mod_disco: {{}}
  mod_fail2ban: {{}}
  mod_last: {{}}
  mod_muc: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
  mod_version: {{}}
include_config_file: ["{directory}/xmppws.yml"]
"""


@dataclass(frozen=True)
class Place:
    """Where one test runs what: a directory, and free ports for those that the files name."""

    directory: Path
    ports: Mapping[str, int]

    def file(self, path: str, edits: Mapping[str, str] = NOTHING) -> str:
        """Return a file of contrib/ with texts replaced, and its ports."""
        return self.edited((CONTRIB / path).read_text(encoding="utf-8"), edits)

    def edited(self, text: str, edits: Mapping[str, str]) -> str:
        """Return a text with others replaced, all of which have to be there, and free ports."""
        for old, new in edits.items():
            assert old in text, f"there is no {old!r} any more in:\n{text}"
            text = text.replace(old, new)
        return self.moved(text)

    def moved(self, text: str) -> str:
        """Return a configuration with free ports."""
        return re.sub(r"\b[0-9]{4,5}\b", lambda found: str(self.ports.get(found[0], found[0])), text)

    def settings(self, path: str, edits: Mapping[str, str] = NOTHING) -> Config:
        """Load an xmppws.toml of contrib/."""
        return self.loaded(self.file(path, edits))

    def loaded(self, text: str) -> Config:
        """Load a configuration, with data in memory."""
        file = self.directory / "xmppws.toml"
        head = 'storage.url = "memory:"\nmetrics.listen = []\nadmin_socket = ""\n'
        file.write_text(head + text, encoding="utf-8")
        return load(file)

    def secret(self, path: str) -> dict[str, str]:
        """Write a secret that a file names, and return what to replace there."""
        file = self.directory / Path(path).name
        file.write_text(f"{SECRET}\n", encoding="utf-8")
        return {path: str(file)}

    @property
    def trust(self) -> dict[str, str]:
        """What to replace so that the server's certificate is trusted: the line is there, as a comment."""
        return {'# ca_file = "/etc/xmppws/ca.pem"': f'ca_file = "{self.directory / "ca.pem"}"'}

    def certify(self) -> None:
        """Write a certificate under the names that Prosody looks for, and its authority."""
        authority = trustme.CA()
        # ejabberd sets a timer for its expiry, and gives all certificates up where that is too far away.
        leaf = authority.issue_cert(DOMAIN, not_after=datetime.now(UTC) + LIFETIME)
        authority.cert_pem.write_to_path(self.directory / "ca.pem")
        leaf.private_key_pem.write_to_path(self.directory / f"{DOMAIN}.key")
        (self.directory / f"{DOMAIN}.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    @asynccontextmanager
    async def prosody(self, lines: str = "", drop_in: str = "") -> AsyncIterator[Daemon]:
        """Run Prosody with lines in the global section, and others where Debian includes files."""
        self.certify()
        named = {"directory": self.directory, "domain": DOMAIN, "lines": lines, "drop_in": drop_in}
        text = self.moved(without_doubles(PROSODY, lines)).format(**named)
        services = ("c2s", "c2s_direct_tls", *(["component"] if drop_in else []))
        async with ended(prosody_daemon(self.directory, text, PASSWORDS, DOMAIN, services)) as daemon:
            yield daemon

    @asynccontextmanager
    async def ejabberd(self, included: str = "{}") -> AsyncIterator[Daemon]:
        """Run ejabberd with a file that it includes."""
        self.certify()
        (self.directory / "xmppws.yml").write_text(included, encoding="utf-8")
        text = self.moved(EJABBERD).format(directory=self.directory, domain=DOMAIN)
        async with ended(ejabberd_daemon(self.directory, text, PASSWORDS, DOMAIN)) as daemon:
            yield daemon


def without_doubles(configuration: str, lines: str) -> str:
    """Return a configuration of Prosody's without the options that other lines set: one of them is to be there."""
    options = {line.partition(" =")[0] for line in lines.splitlines()}
    return "\n".join(line for line in configuration.splitlines() if line.partition(" =")[0] not in options - {""})


@asynccontextmanager
async def ended(daemon: Daemon) -> AsyncIterator[Daemon]:
    """Run a program until the block ends."""
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))


def browser(server: Running, name: str, domain: str = DOMAIN, **options: str) -> AbstractAsyncContextManager[Client]:
    """Log in as a browser does, through a proxy."""
    headers = {**PROXIED, "Host": domain}
    return logged_in(server.url, name, PASSWORDS[name], domain=domain, headers=headers, **options)


async def chat(one: Client, other: Client) -> None:
    for sender, reader in ((one, other), (other, one)):
        await sender.message(reader.jid, f"from {sender.jid}")
        assert await reader.body() == f"from {sender.jid}"


async def assert_web_users_chat(settings: Config) -> None:
    """Let two browsers chat, by the mechanisms that are there with and without TLS behind."""
    async with running(settings) as server:
        async with (
            browser(server, "alice", mechanism="SCRAM-SHA-1") as alice,
            browser(server, "bob", mechanism="PLAIN") as bob,
        ):
            await chat(alice, bob)
        headers = {**PROXIED, "Host": DOMAIN}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{server.http}/.well-known/host-meta.json") as answer,
        ):
            told = await answer.json()
        assert [link["href"] for link in told["links"]] == [f"wss://chat.{DOMAIN}/xmpp-websocket"]


@pytest.mark.parametrize("kind", ["upstream", "upstream-plain"])
async def test_in_front_of_prosody(place: Place, kind: str) -> None:
    trust = {} if kind == "upstream-plain" else place.trust
    async with place.prosody(place.file(f"prosody/{kind}.cfg.lua")):
        await assert_web_users_chat(place.settings(f"prosody/{kind}.toml", trust))
        # Without a WebSocket there is nothing that it would serve by HTTP.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", place.ports["8080"])


@pytest.mark.parametrize("kind", ["upstream", "upstream-plain", "upstream-remote"])
async def test_in_front_of_ejabberd(place: Place, kind: str) -> None:
    listening, edits = {}, {} if kind == "upstream-plain" else place.trust
    if kind == "upstream-remote":
        listening = {'ip: "192.0.2.20"': 'ip: "127.0.0.1"'}
        # The first is down.
        edits = {**edits, "192.0.2.20:": "127.0.0.2:", "192.0.2.21:": "127.0.0.1:"}
    async with place.ejabberd(place.file(f"ejabberd/{kind}.yml", listening)) as daemon:
        settings = place.settings(f"ejabberd/{kind}.toml", edits)
        await assert_web_users_chat(settings)
        await daemon.logged(f"for alice@{DOMAIN} by mnesia backend from {ADDRESS}")
        await assert_wrong_passwords_hurt_nobody_else(settings)


async def assert_wrong_passwords_hurt_nobody_else(settings: Config) -> None:
    """mod_fail2ban shuts an address out after 20 of them."""
    async with running(settings) as server:
        for _ in range(7):
            async with connected(server.url, DOMAIN, headers={**PROXIED, "X-Forwarded-For": "203.0.113.66"}) as guesser:
                await guesser.open()
                for _ in range(3):
                    await guesser.authenticate("alice", "wrong", "PLAIN")
        async with browser(server, "alice", mechanism="PLAIN"):
            pass


@pytest.mark.parametrize("which", ["prosody", "ejabberd"])
@pytest.mark.parametrize(("service", "port"), [("_xmpp-client", "5222"), ("_xmpps-client", "5223")])
async def test_found_by_srv_records(place: Place, which: str, service: str, port: str) -> None:
    starting = place.prosody() if which == "prosody" else place.ejabberd()
    async with name_server() as names, starting:
        names.add(f"{service}._tcp.{DOMAIN}", "SRV", f"5 0 {place.ports[port]} xmpp.{DOMAIN}.")
        names.add(f"xmpp.{DOMAIN}", "A", "127.0.0.1")
        dns = {"# [dns]": "[dns]", '# nameservers = ["127.0.0.1"]': f'nameservers = ["{names.address}"]'}
        await assert_web_users_chat(place.settings("prosody/upstream-srv.toml", {**place.trust, **dns}))


@pytest.mark.parametrize("which", ["prosody", "ejabberd"])
async def test_linked(place: Place, which: str) -> None:
    secret = {"CHANGE-ME": SECRET}
    starting = (
        place.prosody(drop_in=place.file("prosody/link.cfg.lua", secret))
        if which == "prosody"
        else place.ejabberd(place.file("ejabberd/link.yml", secret))
    )
    settings = place.settings(f"{which}/link.toml", place.secret("/etc/xmppws/link.secret"))
    async with starting, running(settings) as server:
        links = server.server.routes.links.by_domain
        await until(lambda: {link.phase.value for link in links.values()} == {"up"})
        bob = Native(f"bob@{DOMAIN}", PASSWORDS["bob"], place.directory / "ca.pem")
        async with bob.logged_in(place.ports["5222"]), browser(server, "alice", WEB) as alice:
            # Whatever takes the other domain's link is lost.
            for number in range(10):
                bob.send_message(mto=JID(alice.jid), mbody=f"to the web {number}", mtype="chat")
                assert await alice.body() == f"to the web {number}"
            await alice.message(bob.boundjid.full, "from the web")
            assert await bob.received.get() == ("chat", "from the web")
            room = f"lobby@conference.{WEB}"
            await enter(alice, room)
            await asyncio.wait_for(bob.plugin["xep_0045"].join_muc_wait(JID(room), "Bob"), 20)
            await alice.message(room, "in our room", type="groupchat")
            assert await bob.received.get() == ("groupchat", "in our room")
            await enter(alice, f"hall@conference.{DOMAIN}")


async def test_the_mixed_deployment_of_the_manual(place: Place) -> None:
    manual = (CONTRIB.parent / "man" / "xmppws-servers.7").read_text(encoding="utf-8")
    (example,) = re.findall(r"^(component_listen.*?)^\.Ed", manual, re.DOTALL | re.MULTILINE)
    secrets = place.secret("/etc/xmppws/link.secret") | place.secret("/etc/xmppws/echo.secret")
    trust = {"/etc/xmppws/ca.pem": str(place.directory / "ca.pem")}
    lines = place.file("prosody/link.cfg.lua", {"CHANGE-ME": SECRET})
    settings = place.loaded(place.edited(example, {**secrets, **trust}))
    async with place.prosody(drop_in=lines), running(settings) as server:
        await until(lambda: server.server.routes.links.by_domain[WEB].phase.value == "up")
        async with (
            browser(server, "bob", mechanism="PLAIN") as there,
            browser(server, "alice", WEB) as linked,
            browser(server, "carol", f"staff.{DOMAIN}") as staff,
        ):
            await chat(linked, there)
            await chat(linked, staff)
            await staff.message(there.jid, "no way")
            error = await staff.receive_until("message")
            assert error.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}remote-server-not-found") is not None


async def enter(client: Client, room: str) -> None:
    """Enter a room, and make it where there is none."""
    muc = "<x xmlns='http://jabber.org/protocol/muc'/>"
    await client.send(f"<presence xmlns='jabber:client' to='{room}/Alice'>{muc}</presence>")
    while (presence := await client.receive_until("presence")).get("from") != f"{room}/Alice":
        pass
    assert presence.get("type") is None
    form = "<x xmlns='jabber:x:data' type='submit'/>"
    made = await client.iq("set", f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>", to=room)
    assert made.get("type") == "result"


class Native(ClientXMPP):
    """Somebody of the other server, at its own port."""

    def __init__(self, jid: str, password: str, ca: Path) -> None:
        super().__init__(jid, password)
        self.ca_certs = ca
        self.register_plugin("xep_0045")
        self.started = asyncio.Event()
        self.received: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.add_event_handler("session_start", lambda event: self.started.set())
        self.add_event_handler("message", self._take)

    def _take(self, message: Message) -> None:
        if message["body"]:
            self.received.put_nowait((message["type"], message["body"]))

    @asynccontextmanager
    async def logged_in(self, port: int) -> AsyncIterator[None]:
        self.connect("127.0.0.1", port)
        try:
            async with asyncio.timeout(20):
                await self.started.wait()
            self.send_presence()
            yield
        finally:
            await self.disconnect()


async def test_gateways(place: Place) -> None:
    """biboumi and the bot attach, and serve who asks them."""
    biboumi = installed("biboumi")
    secrets = place.secret("/etc/xmppws/irc.secret") | place.secret("/etc/xmppws/echo.secret")
    settings = place.settings("gateways/xmppws.toml", secrets)
    file = place.directory / "biboumi.cfg"
    database = str(place.directory / "biboumi.sqlite")
    edits = {"CHANGE-ME": SECRET, "/var/lib/biboumi/biboumi.sqlite": database, "log_level=1": "log_level=0"}
    file.write_text(place.file("gateways/biboumi.cfg", edits), encoding="utf-8")
    bot = (sys.executable, str(CONTRIB / "gateways" / "bot.py"), f"echo.{DOMAIN}")
    where = (secrets["/etc/xmppws/echo.secret"], "127.0.0.1", str(place.ports["5347"]))
    async with (
        running(settings) as server,
        ended(Daemon([biboumi, str(file)], place.directory / "irc.log", ["Authenticated with the XMPP server"])),
        ended(Daemon([*bot, *where], place.directory / "bot.log", [])),
    ):
        await until(lambda: server.server.routes.gateways.connected == (f"echo.{DOMAIN}", f"irc.{DOMAIN}"))
        async with browser(server, "alice") as alice:
            info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
            answer = await alice.iq("get", info, to=f"irc.{DOMAIN}")
            assert answer[0].find(f"{INFO}identity[@category='conference'][@type='irc']") is not None
            await alice.message(f"hello@echo.{DOMAIN}", "is there an echo?")
            assert await alice.body() == "is there an echo?"


def test_every_configuration_is_sound(place: Place) -> None:
    """Those that no server here can go with, too."""
    secrets = {name: place.secret(f"/etc/xmppws/{name}.secret") for name in ("link", "irc", "echo")}
    for folder in ("prosody", "ejabberd", "openfire", "gateways"):
        for file in sorted((CONTRIB / folder).glob("*.toml")):
            text = file.read_text(encoding="utf-8")
            edits = {old: new for each in secrets.values() for old, new in each.items() if old in text}
            assert place.settings(f"{folder}/{file.name}", edits).hosts
