"""Components: domains that modules serve, by default or as configured, and what comes for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from fakes import World, got
from servers import config
from xmppws.app import Server
from xmppws.cli.main import main
from xmppws.config import Component, ConfigError, Host, load
from xmppws.core.catalog import Catalog, ModuleError
from xmppws.core.component import Components, assign
from xmppws.core.events import DiscoInfoWanted
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.loader import defaults, replace
from xmppws.core.loader import load as load_modules
from xmppws.core.module import Module, Target, iq_get, on
from xmppws.errors import FeatureNotImplemented
from xmppws.jid import Jid
from xmppws.modules import BUILT_IN
from xmppws.xml.stanza import Stanza, message

Check = Callable[[str], tuple[int, list[str]]]


class Parrot(Module):
    """Says everything again, and answers what it has a handler for."""

    name = "parrot"
    component = "parrot"

    def deliver(self, stanza: Stanza) -> None:
        if stanza.kind == "message":
            self.host.dispatch.post(stanza.addressed(to=stanza.sender, sender=stanza.to))
        else:
            super().deliver(stanza)

    @iq_get("urn:both", "x", to=Target.COMPONENT)
    def own(self, iq: Stanza) -> Stanza:
        return iq.result()

    @on(DiscoInfoWanted, Phase.ANSWER)
    def info(self, event: DiscoInfoWanted) -> Verdict:
        if event.to.domain == "parrot.localhost":
            event.identities.append(("component", "generic", "Parrot"))
        return None


class Owl(Module):
    name = "owl"
    component = "owl"
    component_features = ("urn:owls",)

    @iq_get("urn:both", "x", to=Target.COMPONENT | Target.HOST)
    async def own(self, iq: Stanza) -> Stanza:
        raise FeatureNotImplemented("Owls do not")


class Everywhere(Module):
    name = "everywhere"

    @iq_get("urn:all", "x", to=Target.COMPONENT)
    def answer(self, iq: Stanza) -> Stanza:
        return iq.result()


async def asked(world: World, to: str, namespace: str) -> str:
    alice = world.session("alice@localhost/a")
    query = f"<x xmlns='{namespace}'/>"
    await world.says(alice, f"<iq xmlns='jabber:client' type='get' id='1' to='{to}'>{query}</iq>")
    return got(alice)[-1]


@pytest.mark.parametrize(
    ("to", "namespace", "answer"),
    [
        ("parrot.localhost", "urn:both", 'type="result"'),
        ("any@parrot.localhost", "urn:both", 'type="result"'),
        ("any@parrot.localhost/x", "urn:both", "<service-unavailable "),
        ("owl.localhost", "urn:both", "<feature-not-implemented "),
        ("localhost", "urn:both", "<feature-not-implemented "),
        ("conference.localhost", "urn:both", "<service-unavailable "),
        ("parrot.localhost", "urn:all", 'type="result"'),
        ("owl.localhost", "urn:all", 'type="result"'),
        ("localhost", "urn:all", "<service-unavailable "),
        ("parrot.localhost", "urn:none", "<service-unavailable "),
        ("other.localhost", "urn:both", "<remote-server-not-found "),
    ],
)
async def test_requests_to_components(to: str, namespace: str, answer: str) -> None:
    assert answer in await asked(World(Parrot, Owl, Everywhere), to, namespace)


async def test_all_else_is_for_the_module() -> None:
    world = World(Parrot, Owl)
    alice = world.session("alice@localhost/a")
    said = "<message xmlns='jabber:client' to='{}' id='1'><body>hi</body></message>"
    await world.says(alice, said.format("any@parrot.localhost/x"))
    (echo,) = got(alice)
    assert 'from="any@parrot.localhost/x"' in echo and "<body>hi</body>" in echo
    await world.says(alice, said.format("any@owl.localhost"))
    assert "<service-unavailable " in got(alice)[0]


async def test_discovery_of_components() -> None:
    world = World(Parrot, Owl)
    alice = world.session("alice@localhost/a")
    ask = (
        "<iq xmlns='jabber:client' type='get' id='1' to='{}'><query xmlns='http://jabber.org/protocol/disco#{}'/></iq>"
    )
    await world.says(alice, ask.format("localhost", "items"))
    (items,) = got(alice)
    assert '<item jid="parrot.localhost" name="Parrot"/><item jid="owl.localhost"/>' in items
    await world.says(alice, ask.format("owl.localhost", "info"))
    (info,) = got(alice)
    assert 'var="urn:owls"' in info and 'var="urn:xmpp:ping"' in info and 'type="im"' not in info


async def test_two_modules_cannot_answer_the_same_for_all_components() -> None:
    class Again(Everywhere):
        name = "again"

    with pytest.raises(ModuleError, match="COMPONENT is answered already"):
        World(Everywhere, Again)


async def test_a_component_can_be_replaced() -> None:
    world = World(Parrot, Owl)

    class Mute(Parrot):
        def deliver(self, stanza: Stanza) -> None:
            return None

    await replace(world.host, Mute, defaults)
    assert 'type="result"' in await asked(world, "parrot.localhost", "urn:both")
    alice = world.session("alice@localhost/b")
    await world.says(alice, "<message xmlns='jabber:client' to='parrot.localhost'/>")
    assert got(alice) == []


def test_domains_are_labels_of_the_host_or_as_configured() -> None:
    host = World(Parrot, Owl, built_in=False).host
    assert dict(host.components) == {"parrot.localhost": "parrot", "owl.localhost": "owl"}
    assign(host, {"bird.example": "parrot", "second.example": "parrot"}, taken=())
    assert dict(host.components) == {"bird.example": "parrot", "second.example": "parrot", "owl.localhost": "owl"}
    routes = Components([host])
    assert routes.owns(Jid.parse("x@bird.example/y")) and not routes.owns(Jid.parse("parrot.localhost"))


def test_a_default_that_is_taken_is_given_up_and_told(caplog: pytest.LogCaptureFixture) -> None:
    host = World(Parrot, built_in=False).host
    assign(host, {}, taken={"parrot.localhost"})
    assert dict(host.components) == {}
    assert "module 'parrot' has no address: set one in [components]" in caplog.text


@pytest.mark.parametrize(("name", "rule"), [("ping", "is no component"), ("owl", "is not enabled on localhost")])
def test_a_module_that_cannot_be_one_is_told(name: str, rule: str) -> None:
    world = World(Parrot, built_in=False)
    load_modules(world.host, ["ping"], Catalog(BUILT_IN))
    with pytest.raises(ModuleError, match=f"components.x.example: module '{name}' {rule}"):
        assign(world.host, {"x.example": name}, taken=())


def test_a_label_that_makes_no_domain_is_no_address(caplog: pytest.LogCaptureFixture) -> None:
    class Long(Parrot):
        component = "x" * 64

    assert dict(World(Long, built_in=False).host.components) == {}
    assert "module 'parrot' has no address" in caplog.text


async def test_a_server_serves_what_is_configured_and_defaults_elsewhere() -> None:
    hosts = {
        "a.example": Host(),
        "b.example": Host(modules_disabled=("muc",)),
        "up.example": Host(router="fakes:EchoRouter"),
    }
    settings = config(hosts=hosts)
    assert [dict(host.components) for host in Server(settings).hosts.values()] == [{"conference.a.example": "muc"}, {}]
    named = changed(settings, components={"rooms.example": Component(module="muc", host="a.example")})
    server = Server(named)
    assert dict(server.hosts["a.example"].components) == {"rooms.example": "muc"}
    server.dispatch.post(message("chat", to=Jid.parse("x@rooms.example"), sender=Jid.parse("y@a.example")))
    await server.dispatch.drain()


def read(directory: Path, text: str) -> Path:
    path = directory / "xmppws.toml"
    path.write_text(text)
    return path


def test_a_component_finds_its_host(tmp_path: Path) -> None:
    text = """
[hosts."example.com"]
[hosts."chat.example.com"]
[components."rooms.chat.example.com"]
module = "muc"
[components."Rooms.example.com"]
module = "muc"
[components."elsewhere.org"]
module = "muc"
host = "example.com"
"""
    served = load(read(tmp_path, text)).components
    assert {domain: component.host for domain, component in served.items()} == {
        "rooms.chat.example.com": "chat.example.com",
        "rooms.example.com": "example.com",
        "elsewhere.org": "example.com",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[components."x.a.b"]',
            '2: components."x.a.b": must name its module, such as module = "muc", '
            "or the secret of the program that serves it",
        ),
        ('[components."a.b"]\nmodule = "muc"', '2: components."a.b": has the name of a virtual host'),
        (
            '[components."c.d"]\nmodule = "muc"',
            '2: components."c.d": ends in the name of no virtual host, so it must say which one it belongs to: host',
        ),
        (
            '[components."c.d"]\nmodule = "muc"\nhost = "e.f"',
            '4: components."c.d".host = "e.f": must be one of the hosts',
        ),
        (
            '[components."x.a.b"]\nmodule = "muc"\n[components."X.a.b"]\nmodule = "muc"',
            '4: components."X.a.b": is the same component as another one',
        ),
        (
            '[components."x@a.b"]\nmodule = "muc"',
            '2: components."x@a.b": must be a domain name, without user and resource',
        ),
        (
            '[components."x.a.b"]\nmodul = "muc"',
            '3: components."x.a.b".modul = "muc": is not known; did you mean components."x.a.b".module?',
        ),
        (
            "[components]\nx = 1",
            "3: components.x = 1: must be a table, [components.x]",
        ),
        (
            "components = 1",
            '2: components = 1: must hold one table for each, such as [components."conference.example.com"]',
        ),
        (
            '[components."x.up.b"]\nmodule = "muc"\n[hosts."up.b"]\nrouter = "x:Y"',
            '2: components."x.up.b": belongs to up.b, which has no modules: its router is not "local"',
        ),
    ],
)
def test_mistakes_are_told_with_their_lines(text: str, told: str, tmp_path: Path) -> None:
    is_top_level = text.startswith("components =")
    path = read(tmp_path, f'#\n{text}\n[hosts."a.b"]' if is_top_level else f'[hosts."a.b"]\n{text}')
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert [str(mistake).removeprefix(f"{path}:") for mistake in raised.value.mistakes] == [told]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run `xmppws check-config` on a text; return its exit status and its lines."""

    def run(text: str) -> tuple[int, list[str]]:
        path = read(tmp_path, text)
        status = main(["check-config", "-c", str(path)])
        return status, [line.removeprefix(f"{path}:") for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.mark.parametrize(
    ("module", "rule"),
    [
        ("mucc", "there is no module 'mucc'; did you mean 'muc'?"),
        ("roster", "module 'roster' is no component"),
        ("muc", "module 'muc' is not enabled on a.b"),
    ],
)
def test_modules_of_components_are_looked_up(module: str, rule: str, check: Check) -> None:
    disabled = 'modules_disabled = ["muc"]' if module == "muc" else ""
    text = f'[hosts."a.b"]\n{disabled}\n[components."x.a.b"]\nmodule = "{module}"'
    assert check(text) == (1, [f'4: components."x.a.b".module: {rule}'])


def test_modules_shows_what_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = read(tmp_path, f'data_dir = "{tmp_path}"\n[hosts."a.b"]\n[components."x.a.b"]\nmodule = "muc"')
    assert main(["modules", "-c", str(path)]) == 0
    assert "  x.a.b is served by muc" in capsys.readouterr().out.splitlines()
