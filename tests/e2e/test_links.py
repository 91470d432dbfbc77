"""Hosts of ours linked to Debian's Prosody and ejabberd as components, and biboumi attached to us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

import waiting
from clients import CLIENT, Client, logged_in
from processes import Daemon, installed
from servers import PASSWORDS, Running, config, running
from upstreams import Upstream, ejabberd, prosody
from xmppws.config import Component, Config, Host, Link

pytestmark = pytest.mark.e2e

INFO = "http://jabber.org/protocol/disco#info"


@pytest.fixture(params=[prosody, ejabberd], ids=["prosody", "ejabberd"])
async def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Upstream]:
    async with request.param(tmp_path) as started:
        yield started


def linked(*upstreams: Upstream) -> Config:
    hosts = {each.component: Host(http_host=("127.0.0.1",)) for each in upstreams}
    links = {
        each.component: Link(address=f"127.0.0.1:{each.ports.component_port}", secret=each.secret, queue_timeout=30.0)
        for each in upstreams
    }
    return replace(config(hosts=hosts), links=links)


async def until(server: Running, domain: str, phase: str) -> None:
    link = server.server.routes.links.by_domain[domain]
    await waiting.until(lambda: link.phase.value == phase)


@asynccontextmanager
async def theirs(upstream: Upstream, name: str = "bob") -> AsyncIterator[Client]:
    """Log somebody in at the server itself."""
    async with logged_in(
        upstream.websocket_url, name, PASSWORDS[name], domain=upstream.domain, mechanism="PLAIN"
    ) as client:
        yield client


async def presence_of(client: Client, sender: str, type: str | None = None) -> None:
    while True:
        presence = await client.receive_until("presence")
        if presence.get("from") == sender and presence.get("type") == type:
            return


async def befriend(ours: Client, other: Client) -> None:
    """Let both see each other."""
    for asker, asked in ((ours, other), (other, ours)):
        bare, to = asker.jid.partition("/")[0], asked.jid.partition("/")[0]
        await asker.send(f"<presence xmlns='jabber:client' type='subscribe' to='{to}'/>")
        await presence_of(asked, bare, "subscribe")
        await asked.send(f"<presence xmlns='jabber:client' type='subscribed' to='{bare}'/>")
        await presence_of(asker, asked.jid)


async def test_users_of_both_servers(upstream: Upstream) -> None:
    async with running(linked(upstream)) as server:
        await until(server, upstream.component, "up")
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"], domain=upstream.component) as alice,
            theirs(upstream) as bob,
        ):
            await befriend(alice, bob)
            await alice.message(bob.jid, "to theirs")
            assert await bob.body() == "to theirs"
            await bob.message(alice.jid, "to ours")
            assert await alice.body() == "to ours"
            version = await alice.iq("get", "<query xmlns='jabber:iq:version'/>", to=upstream.domain)
            assert version.get("type") == "result"
            info = await bob.iq("get", f"<query xmlns='{INFO}'/>", to=upstream.component)
            assert info.get("type") == "result"
            room = f"lobby@{upstream.rooms}"
            for client, nick in ((bob, "Bob"), (alice, "Alice")):
                await client.send(
                    f"<presence xmlns='jabber:client' to='{room}/{nick}'>"
                    "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
                )
                await presence_of(client, f"{room}/{nick}")
                if nick == "Bob":
                    form = "<x xmlns='jabber:x:data' type='submit'/>"
                    owner = "http://jabber.org/protocol/muc#owner"
                    await bob.iq("set", f"<query xmlns='{owner}'>{form}</query>", to=room)
            await alice.message(room, "in their room", type="groupchat")
            while (message := await bob.receive_until("message")).findtext(f"{CLIENT}body") != "in their room":
                pass
            assert message.get("from") == f"{room}/Alice"
            await bob.send("<presence xmlns='jabber:client' type='unavailable'/>")
            await presence_of(alice, bob.jid, "unavailable")


async def test_a_server_that_is_killed_and_comes_back(upstream: Upstream) -> None:
    async with running(linked(upstream)) as server:
        await until(server, upstream.component, "up")
        async with logged_in(server.url, "alice", PASSWORDS["alice"], domain=upstream.component) as alice:
            async with theirs(upstream) as bob:
                await befriend(alice, bob)
            await upstream.daemon.kill()
            await until(server, upstream.component, "down")
            # An account may not be there again when the link is; the server is.
            asked = f"<iq xmlns='jabber:client' type='get' id='kept' to='{upstream.domain}'>"
            await alice.send(f"{asked}<query xmlns='jabber:iq:version'/></iq>")
            await upstream.daemon.start()
            while (answer := await alice.receive_until("iq")).get("id") != "kept":
                pass
            assert answer.get("type") == "result"
            async with theirs(upstream) as bob:
                if upstream.name == "Prosody":  # The other one has lost the subscription, see tests/upstreams.py.
                    await presence_of(alice, bob.jid)
                await alice.message(bob.jid, "again")
                assert await bob.body() == "again"


async def test_two_links_to_two_servers(tmp_path: Path) -> None:
    (tmp_path / "prosody").mkdir()
    (tmp_path / "ejabberd").mkdir()
    async with (
        prosody(tmp_path / "prosody", domain="one.test") as one,
        ejabberd(tmp_path / "ejabberd", domain="two.test") as two,
        running(linked(one, two)) as server,
    ):
        for each in (one, two):
            await until(server, each.component, "up")
        async with (
            logged_in(server.url, "alice", PASSWORDS["alice"], domain=one.component) as alice,
            logged_in(server.url, "carol", PASSWORDS["carol"], domain=two.component) as carol,
            theirs(one) as bob_of_one,
            theirs(two) as bob_of_two,
        ):
            await alice.message(bob_of_one.jid, "over the first link")
            assert await bob_of_one.body() == "over the first link"
            await carol.message(bob_of_two.jid, "over the second link")
            assert await bob_of_two.body() == "over the second link"
            # Hosts of one process reach each other without any server.
            await alice.message(carol.jid, "at home")
            assert await carol.body() == "at home"


BIBOUMI = """hostname=irc.localhost
password={secret}
xmpp_server_ip=127.0.0.1
port={port}
db_name={directory}/biboumi.sqlite
log_level=0
"""


async def test_biboumi_attaches_to_us(tmp_path: Path) -> None:
    program = installed("biboumi")
    host = Host(http_host=("127.0.0.1",))
    component = Component(host="localhost", secret="irc and xmpp")
    settings = replace(
        config(hosts={"localhost": host}), components={"irc.localhost": component}, component_listen=("127.0.0.1:0",)
    )
    async with running(settings) as server:
        file = tmp_path / "biboumi.cfg"
        port = server.server.component_addresses[0].port
        file.write_text(BIBOUMI.format(secret=component.secret, port=port, directory=tmp_path))
        daemon = Daemon([program, str(file)], tmp_path / "log", ["Authenticated with the XMPP server"])
        await daemon.start()
        try:
            async with logged_in(server.url, "alice", PASSWORDS["alice"]) as alice:
                info = await alice.iq("get", f"<query xmlns='{INFO}'/>", to="irc.localhost")
                assert info[0].findall(f"{{{INFO}}}identity[@category='conference'][@type='irc']")
                node = "http://jabber.org/protocol/commands"
                items = "http://jabber.org/protocol/disco#items"
                listed = await alice.iq("get", f"<query xmlns='{items}' node='{node}'/>", to="irc.localhost")
                assert "ping" in [item.get("node") for item in listed[0]]
        finally:
            await daemon.stop()
