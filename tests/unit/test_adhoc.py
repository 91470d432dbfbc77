"""XEP-0050: commands that modules declare are listed, filled in, run, and kept from those who may not."""

from __future__ import annotations

from fakes import World, got
from xmppws.core.adhoc import Call, Done, adhoc
from xmppws.core.module import Module
from xmppws.errors import NotAcceptable
from xmppws.jid import Jid
from xmppws.xml.forms import Field, Form

ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>"
COMMAND = "<command xmlns='http://jabber.org/protocol/commands' node='{}' action='{}'>{}</command>"
SUBMIT = "<x xmlns='jabber:x:data' type='submit'><field var='name'><value>{}</value></field></x>"


class Greets(Module):
    name = "greets"

    @adhoc("greet", "Greet somebody")
    def greet(self, call: Call) -> Form | Done:
        if call.form is None:
            return Form((Field("name", label="Whom?", required=True),), title="Greeting")
        if not call.form.get("name"):
            raise NotAcceptable("Name somebody")
        return Done(f"{call.user} greets {call.form.get('name')}")

    @adhoc("shut", "Shut the shop", admins_only=True)
    async def shut(self, call: Call) -> Done:
        return Done(form=Form((Field("done", ("yes",)),), "result"))


async def ask(world: World, session, type: str, payload: str) -> str:  # type: ignore[no-untyped-def]
    await world.says(session, f"<iq xmlns='jabber:client' type='{type}' id='1' to='localhost'>{payload}</iq>")
    (answer,) = got(session)
    return answer


async def test_commands() -> None:
    world = World(Greets)
    world.host.admins = frozenset({Jid.parse("bob@localhost")})
    alice, bob = world.session("alice@localhost/a"), world.session("bob@localhost/b")
    listed = await ask(world, alice, "get", ITEMS)
    assert 'node="greet" name="Greet somebody"' in listed and "shut" not in listed
    assert 'node="shut"' in await ask(world, bob, "get", ITEMS)

    form = await ask(world, alice, "set", COMMAND.format("greet", "execute", ""))
    assert 'status="executing"' in form and "<required/>" in form and "sessionid=" in form
    done = await ask(world, alice, "set", COMMAND.format("greet", "complete", SUBMIT.format("Bob")))
    assert 'status="completed"' in done and "alice@localhost greets Bob" in done
    assert "Name somebody" in await ask(world, alice, "set", COMMAND.format("greet", "complete", SUBMIT.format("")))
    assert 'status="canceled"' in await ask(world, alice, "set", COMMAND.format("greet", "cancel", ""))

    assert "<forbidden " in await ask(world, alice, "set", COMMAND.format("shut", "execute", ""))
    assert "<value>yes</value>" in await ask(world, bob, "set", COMMAND.format("shut", "execute", ""))
    assert "<item-not-found " in await ask(world, alice, "set", COMMAND.format("none", "execute", ""))
    assert "<bad-request " in await ask(world, alice, "set", COMMAND.format("greet", "jump", ""))
