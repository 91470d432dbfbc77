"""XEP-0054 and XEP-0049: what an account keeps on the server, for all or for itself."""

from __future__ import annotations

import asyncio

import pytest

from fakes import World, got
from xmppws.core.loader import replace
from xmppws.core.session import Session
from xmppws.core.stores import Map
from xmppws.modules.private import Private, PrivateOptions
from xmppws.modules.vcard import Vcard, VcardOptions
from xmppws.xml import ns

VCARD = "<vCard xmlns='vcard-temp'>{}</vCard>"
QUERY = "<query xmlns='jabber:iq:private'>{}</query>"


def stanza(type: str, payload: str, to: str = "", more: str = "") -> str:
    address = f" to='{to}'" if to else ""
    return f"<iq xmlns='jabber:client' type='{type}' id='1'{address}{more}>{payload}</iq>"


async def ask(world: World, session: Session, type: str, payload: str, to: str = "", more: str = "") -> str:
    await world.says(session, stanza(type, payload, to, more))
    (answer,) = got(session)
    # Whatever was put in as bytes is still well-formed for the one who gets it.
    world.parse(answer)
    return answer


async def test_a_vcard_is_set_by_its_owner_and_read_by_all() -> None:
    world = World()
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b")
    assert "<item-not-found " in await ask(world, alice, "get", VCARD.format(""))
    for text in ("Alïce &lt; Bob &amp; 'Co' &quot;", "Alice"):
        content = f"<FN>{text}</FN><PHOTO><BINVAL>AAAA</BINVAL></PHOTO>"
        set = await ask(world, alice, "set", VCARD.format(content))
        assert set.endswith('type="result" id="1"/>')
        for asker in (alice, bob):
            answer = world.parse(await ask(world, asker, "get", VCARD.format(""), "alice@localhost"))
            assert (answer.get("from"), answer.get("to"), answer.get("id"), answer.get("type")) == (
                *("alice@localhost", asker.jid.text, "1", "result"),
            )
            (card,) = answer
            expected = world.parse(VCARD.format(content))
            assert [(each.tag, each.text) for each in card.iter()] == [
                (each.tag, each.text) for each in expected.iter()
            ]


async def test_a_vcard_without_content_is_one() -> None:
    world = World()
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b")
    await ask(world, alice, "set", VCARD.format(""))
    assert '<vCard xmlns="vcard-temp"/></iq>' in await ask(world, bob, "get", VCARD.format(""), "alice@localhost")


async def test_other_peoples_vcards_tell_nothing_of_accounts() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    none, nobody = [
        await ask(world, alice, "get", VCARD.format(""), to) for to in ("bob@localhost", "nobody@localhost")
    ]
    assert "<service-unavailable " in none and nobody.replace("nobody@", "bob@") == none
    refused = [
        await ask(world, alice, "set", VCARD.format("<FN>x</FN>"), to) for to in ("bob@localhost", "nobody@localhost")
    ]
    assert "<forbidden " in refused[0] and refused[1].replace("nobody@", "bob@") == refused[0]
    assert "<service-unavailable " in await ask(world, alice, "get", VCARD.format(""), "bob@localhost")


async def test_a_vcard_keeps_the_prefixes_that_it_needs() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    card = "<v:vCard><v:FN e:lang='x'>A</v:FN><FN/></v:vCard>"
    await ask(world, alice, "set", card, more=" xmlns:v='vcard-temp' xmlns:e='urn:e'")
    (kept,) = world.parse(await ask(world, alice, "get", VCARD.format("")))
    assert [(each.tag, dict(each.attrib)) for each in kept.iter()] == [
        (f"{{{ns.VCARD}}}vCard", {}),
        (f"{{{ns.VCARD}}}FN", {"{urn:e}lang": "x"}),
        (f"{{{ns.CLIENT}}}FN", {}),
    ]


async def test_the_size_of_a_vcard_is_bounded() -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    await replace(world.host, Vcard, lambda name, section: VcardOptions(max_size=1024))
    await ask(world, alice, "set", VCARD.format("<FN>old</FN>"))
    size = len(VCARD.format("<FN></FN>"))
    assert 'type="result"' in await ask(world, alice, "set", VCARD.format(f"<FN>{'x' * (1024 - size)}</FN>"))
    refused = await ask(world, alice, "set", VCARD.format(f"<FN>{'y' * (1025 - size)}</FN>"))
    assert "<policy-violation " in refused and "at most 1024 bytes, this one 1025" in refused
    assert "<FN>xxx" in await ask(world, alice, "get", VCARD.format(""))


PREFS = "<exodus xmlns='exodus:prefs'>{}</exodus>"


async def test_private_elements_are_kept_by_name() -> None:
    world = World()
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b")
    empty = '<query xmlns="jabber:iq:private"><exodus xmlns="exodus:prefs"/></query>'
    assert empty in await ask(world, alice, "get", QUERY.format(PREFS.format("<x/>")))
    other = "<other xmlns='exodus:prefs' a='1'/><storage xmlns='storage:bookmarks'>b</storage>"
    both = QUERY.format(PREFS.format("<nick>Hamlet &amp; Co</nick>") + other)
    assert (await ask(world, alice, "set", both)).endswith('type="result" id="1"/>')
    kept = '<query xmlns="jabber:iq:private"><exodus xmlns="exodus:prefs"><nick>Hamlet &amp; Co</nick></exodus></query>'
    assert kept in await ask(world, alice, "get", QUERY.format(PREFS.format("")))
    assert '<other xmlns="exodus:prefs" a="1"/>' in await ask(
        world, alice, "get", QUERY.format("<other xmlns='exodus:prefs'/>"), "alice@localhost"
    )
    assert empty in await ask(world, bob, "get", QUERY.format(PREFS.format("")))

    await ask(world, alice, "set", QUERY.format(PREFS.format("")))
    assert empty in await ask(world, alice, "get", QUERY.format(PREFS.format("")))
    assert list(await world.host.stores.map("private", str).all("alice")) == [
        "{exodus:prefs}other",
        "{storage:bookmarks}storage",
    ]


@pytest.mark.parametrize("type", ["get", "set"])
async def test_what_is_private_is_nobody_elses(type: str) -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    answers = [
        await ask(world, alice, type, QUERY.format(PREFS.format("x")), f"{name}@localhost") for name in ("bob", "none")
    ]
    assert "<forbidden " in answers[0] and answers[1].replace("none@", "bob@") == answers[0]


@pytest.mark.parametrize(
    ("type", "content", "error"),
    [
        ("get", "", "not-acceptable"),
        ("set", "", "not-acceptable"),
        ("get", "<inherits/>", "not-acceptable"),
        ("set", "<none xmlns=''>x</none>", "not-acceptable"),
        ("set", "<vCard xmlns='vcard-temp'>x</vCard>", "not-acceptable"),
        ("set", "<query xmlns='jabber:iq:roster'>x</query>", "not-acceptable"),
        ("set", "<x xmlns='http://jabber.org/protocol/x'>x</x>", "not-acceptable"),
        ("get", "<a xmlns='urn:a'/><b xmlns='urn:a'/>", "bad-request"),
        ("set", "<a xmlns='urn:a'>1</a><a xmlns='urn:a'>2</a>", "bad-request"),
    ],
)
async def test_private_mistakes(type: str, content: str, error: str) -> None:
    world = World()
    alice = world.session("alice@localhost/a")
    assert f"<{error} " in await ask(world, alice, type, QUERY.format(content))
    assert await world.host.stores.map("private", str).all("alice") == {}


class SlowMap:
    """A store that lets others run before it does anything, as a database does."""

    def __init__(self, elements: Map[str]) -> None:
        self._elements = elements

    async def all(self, owner: str) -> dict[str, str]:
        await asyncio.sleep(0)
        return await self._elements.all(owner)

    async def set(self, owner: str, key: str, value: str) -> None:
        await asyncio.sleep(0)
        await self._elements.set(owner, key, value)

    async def delete(self, owner: str, key: str) -> bool:
        await asyncio.sleep(0)
        return await self._elements.delete(owner, key)


async def test_the_private_elements_of_an_account_are_bounded() -> None:
    world = World()
    alice, desk = world.session("alice@localhost/a"), world.session("alice@localhost/desk")
    await replace(world.host, Private, lambda name, section: PrivateOptions(max_elements=2, max_size=1024))

    def set_(name: str, size: int = 1) -> str:
        return stanza("set", QUERY.format(f"<{name} xmlns='urn:x'>{'x' * size}</{name}>"))

    # Two sessions at once are no way around, where reading and writing take a while.
    module = world.host.modules["private"]
    assert isinstance(module, Private)
    vars(module)["elements"] = SlowMap(module.elements)
    await asyncio.gather(*(world.says(alice if turn % 2 else desk, set_(f"n{turn}")) for turn in range(4)))
    answers = got(alice) + got(desk)
    assert len(answers) == 4 and sum("<resource-constraint " in answer for answer in answers) == 2
    kept = await world.host.stores.map("private", str).all("alice")
    assert len(kept) == 2
    name = next(iter(kept)).partition("}")[2]
    await world.says(alice, set_(name, 1100))
    assert "at most 1024 bytes" in got(alice)[0]
    await world.says(alice, set_(name, 900))
    assert 'type="result"' in got(alice)[0]
    # What is taken away makes room.
    await world.says(alice, stanza("set", QUERY.format(f"<{name} xmlns='urn:x'/>")))
    await world.says(alice, set_("another"))
    assert all('type="result"' in answer for answer in got(alice))
