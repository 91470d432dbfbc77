"""XEP-0030, 0115, 0128 and 0157: what the host and accounts say of themselves, and to whom."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from fakes import World, got
from xmppws.config import Config, ConfigError, Host, module_options
from xmppws.core.events import DiscoInfoWanted, DiscoItemsWanted
from xmppws.core.hooks import Phase, Verdict
from xmppws.core.loader import defaults, replace
from xmppws.core.module import Module, on
from xmppws.core.roster import RosterItem, Subscription
from xmppws.core.session import Session
from xmppws.jid import Jid
from xmppws.modules.contact_addresses import ContactAddresses, ContactOptions
from xmppws.modules.ping import Ping
from xmppws.xml.caps import verification_string
from xmppws.xml.forms import Field, Form

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"


async def ask(world: World, session: Session, namespace: str, to: str, node: str = "") -> str:
    query = f"<query xmlns='{namespace}'{f' node={node!r}' if node else ''}/>"
    await world.says(session, f"<iq xmlns='jabber:client' type='get' id='1' to='{to}'>{query}</iq>")
    return got(session)[-1]


async def allow(world: World, owner: str, contact: str) -> None:
    await world.host.stores.map("roster", RosterItem).set(owner, contact, RosterItem(subscription=Subscription.FROM))


def features(answer: str) -> list[str]:
    return re.findall(r'<feature var="([^"]*)"/>', answer)


class Tells(Module):
    name = "tells"
    features = ("urn:b", "urn:xmpp:ping")
    account_features = ("urn:of-accounts",)

    @on(DiscoInfoWanted, Phase.ANSWER)
    def info(self, event: DiscoInfoWanted) -> Verdict:
        event.features.add("urn:a")
        if not event.to.local:
            event.identities.append(("gateway", "x", "Gate & Co"))
            fields = (Field("FORM_TYPE", ("urn:tells",), "hidden"), Field("y", ("2", "1")))
            event.forms.append(Form(fields, "result"))
        return None

    @on(DiscoItemsWanted, Phase.ANSWER)
    def items(self, event: DiscoItemsWanted) -> Verdict:
        if event.to == self.host.jid and event.items is not None:
            event.items.append(("rooms.localhost", "", "Rooms"))
        elif event.node == "mine":
            event.items = [("localhost", "deeper", "")]
        return None


class Waits(Module):
    name = "waits"

    @on(DiscoInfoWanted, Phase.ANSWER)
    async def info(self, event: DiscoInfoWanted) -> Verdict:
        event.features.add("urn:late")
        return None


async def test_the_host_says_what_its_modules_declare_and_add() -> None:
    world = World(Tells, Waits)
    answer = await ask(world, world.session("alice@localhost/a"), INFO, "localhost")
    assert '<identity category="server" type="im" name="xmppws"/>' in answer
    assert '<identity category="gateway" type="x" name="Gate &amp; Co"/>' in answer
    listed = features(answer)
    assert listed == sorted(set(listed))
    assert {INFO, ITEMS, "urn:a", "urn:b", "urn:late", "urn:xmpp:ping"} <= set(listed)
    assert 'var="FORM_TYPE"><value>urn:tells</value>' in answer and "urn:of-accounts" not in listed


async def test_items_of_the_host() -> None:
    world = World(Tells)
    alice = world.session("alice@localhost/a")
    assert '<item jid="rooms.localhost" name="Rooms"/></query>' in await ask(world, alice, ITEMS, "localhost")
    deeper = await ask(world, alice, ITEMS, "localhost", "mine")
    assert f'<query xmlns="{ITEMS}" node="mine"><item jid="localhost" node="deeper"/></query>' in deeper
    for namespace in (INFO, ITEMS):
        assert "<item-not-found " in await ask(world, alice, namespace, "localhost", "other")


async def test_an_account_is_seen_by_itself_and_by_those_who_may_see_its_presence() -> None:
    world = World(Tells)
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b", priority=0)
    await world.dispatch.drain()
    world.session("bob@localhost/hidden")
    await allow(world, "bob", "alice@localhost")
    got(bob)
    for asker in (alice, bob):
        info = await ask(world, asker, INFO, "bob@localhost")
        assert '<identity category="account" type="registered"/>' in info
        assert {"urn:a", "urn:of-accounts", INFO} <= set(features(info))
        items = await ask(world, asker, ITEMS, "bob@localhost")
        assert re.findall(r"<item [^>]*>", items) == ['<item jid="bob@localhost/b"/>']
        for namespace in (INFO, ITEMS):
            assert "<item-not-found " in await ask(world, asker, namespace, "bob@localhost", "x")


@pytest.mark.parametrize("node", ["", "x"])
async def test_to_others_an_account_looks_like_none(node: str) -> None:
    world = World()
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b", priority=0)
    await world.dispatch.drain()
    await allow(world, "alice", "bob@localhost")
    info, items = (
        await ask(world, alice, INFO, "bob@localhost", node),
        await ask(world, alice, ITEMS, "bob@localhost", node),
    )
    assert "<service-unavailable " in info
    # Section 8: "the server MUST return an empty result set".
    assert 'type="result"' in items and "<item" not in items
    for namespace, answer in ((INFO, info), (ITEMS, items)):
        nobody = await ask(world, alice, namespace, "nobody@localhost", node)
        assert nobody.replace("nobody@", "bob@") == answer
    assert bob.presence is not None


def capabilities(world: World) -> tuple[str, str]:
    feature = world.host.modules["caps"].stream_features.decode()
    match = re.fullmatch(
        r'<c xmlns="http://jabber\.org/protocol/caps" hash="sha-1" node="([^"#]+)" ver="([^"]+)"/>', feature
    )
    assert match is not None
    return match[1], match[2]


async def test_the_capabilities_of_the_host_can_be_asked_for_and_checked() -> None:
    world = World(Tells)
    alice = world.session("alice@localhost/a")
    node, ver = capabilities(world)
    answer = await ask(world, alice, INFO, "localhost", f"{node}#{ver}")
    assert f'<query xmlns="{INFO}" node="{node}#{ver}">' in answer
    identities = [
        (category, type, "", name.replace("&amp;", "&"))
        for category, type, name in re.findall(r'<identity category="(.*?)" type="(.*?)" name="(.*?)"/>', answer)
    ]
    forms = [Form((Field("FORM_TYPE", ("urn:tells",), "hidden"), Field("y", ("2", "1"))))]
    assert len(identities) == 2 and verification_string(identities, features(answer), forms) == ver
    assert "http://jabber.org/protocol/caps" in features(answer)
    for wrong in (f"{node}#x", node, f"other#{ver}"):
        assert "<item-not-found " in await ask(world, alice, INFO, "localhost", wrong)


async def test_capabilities_follow_a_module_that_is_replaced() -> None:
    world = World()
    node, before = capabilities(world)
    changed = type("Changed", (Ping,), {"features": ("urn:new",)})
    await replace(world.host, changed, defaults)
    _, after = capabilities(world)
    assert after != before
    alice = world.session("alice@localhost/a")
    assert "urn:new" in features(await ask(world, alice, INFO, "localhost", f"{node}#{after}"))
    assert "<item-not-found " in await ask(world, alice, INFO, "localhost", f"{node}#{before}")


async def test_a_host_whose_modules_wait_says_nothing_of_its_capabilities() -> None:
    world = World(Waits)
    assert world.host.modules["caps"].stream_features == b""
    await world.dispatch.drain()


def contacts(answer: str) -> dict[str, list[str]]:
    fields = re.findall(r'<field type="list-multi" var="([a-z-]+)">(.*?)</field>', answer)
    return {var: re.findall("<value>(.*?)</value>", values) for var, values in fields}


async def test_contact_addresses_are_the_admins_unless_configured() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    assert "serverinfo" not in await ask(world, alice, INFO, "localhost")
    world.host.admins = frozenset(map(Jid.parse, ("zoë@localhost", "a#b@localhost")))
    answer = await ask(world, alice, INFO, "localhost")
    assert '<field type="hidden" var="FORM_TYPE"><value>http://jabber.org/network/serverinfo</value></field>' in answer
    assert contacts(answer) == {"admin-addresses": ["xmpp:a%23b@localhost", "xmpp:zo%C3%AB@localhost"]}
    assert "serverinfo" not in await ask(world, alice, INFO, "alice@localhost")

    abuse = ("mailto:abuse@example.com", "https://example.com/?abuse")
    options = ContactOptions(abuse=abuse, status=("xmpp:x.example",))
    await replace(world.host, ContactAddresses, lambda name, section: options)
    assert contacts(await ask(world, alice, INFO, "localhost")) == {
        "abuse-addresses": list(abuse),
        "status-addresses": ["xmpp:x.example"],
    }


def configured(*uris: str) -> ContactOptions:
    host = Host(modules={"contact_addresses": {"abuse": list(uris)}})
    return module_options(Config(hosts={"a.example": host}), "a.example", "contact_addresses", ContactOptions)


def test_contact_addresses_are_uris() -> None:
    right = ("mailto:a@b.example", "xmpp:a@b.example?message", "xmpp:zo%C3%AB@b.example", "https://b.example/x?y#z")
    assert configured(*right).abuse == right
    assert structs.asdict(configured()) == structs.asdict(ContactOptions())


@pytest.mark.parametrize(
    "uri",
    [
        "a@b.example",
        "mailto:b.example",
        "xmpp:",
        "xmpp:a@b@c",
        "xmpp:%FF@b.example",
        "xmpp://a@b.example",
        "https:/b.example",
        "https://[b",
        "http://b.example",
        "javascript:alert(1)",
        "mailto:a@b.example x",
        "mailto:a@b.example\n",
        "https://b.example/ä",
    ],
)
def test_other_contact_addresses_are_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="must be a URI such as"):
        configured(uri)
