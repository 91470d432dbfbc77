"""XEP-0050 Ad-Hoc Commands: lists and runs the commands that modules declare with `core.adhoc.adhoc`.

A command is a form that is filled in and sent, or nothing to fill in at all. `prev` and `next` are left out: there is
one form at a time, and `execute` and `complete` both send it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator

from xmppws.core.adhoc import AdhocCommand, Call, Done
from xmppws.core.declare import Binding
from xmppws.core.events import DiscoItemsWanted
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.module import Module, Target, Xep, iq_set, on
from xmppws.errors import BadRequest, Forbidden, ItemNotFound
from xmppws.jid import Jid
from xmppws.xml import ns
from xmppws.xml.forms import Form, read_form, write_form
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import child, element


class Adhoc(Module):
    name = "adhoc"
    xeps = (Xep(50, "1.3.0"), Xep(4, "2.13.1"))
    requires = ("disco",)
    features = (ns.COMMANDS, ns.DATA_FORMS)

    @on(DiscoItemsWanted, Phase.ANSWER)
    def items(self, event: DiscoItemsWanted) -> Verdict:
        """List the commands that the asker may run (section 2.2)."""
        if event.node != ns.COMMANDS or event.to != self.host.jid:
            return None
        event.items = [(self.host.domain, command.node, command.title) for command, _ in self._commands(event.asker)]
        return STOP

    @iq_set(ns.COMMANDS, "command", to=Target.HOST)
    async def run(self, iq: Stanza) -> Stanza | None:
        """Run one step of a command (sections 2.4 and 2.5)."""
        request = iq.payload
        assert request is not None and iq.sender is not None
        node, action = request.get("node", ""), request.get("action", "execute")
        if action not in ("execute", "complete", "cancel"):
            raise BadRequest("The action is execute, complete or cancel")
        command, binding = self._find(node, iq.sender.bare)
        session = request.get("sessionid") or self.host.new_id()
        if action == "cancel":
            return iq.result(_command(command, session, "canceled"))
        submitted = request.find(f"{{{ns.DATA_FORMS}}}x")
        outcome = binding.method(Call(iq.sender.bare, None if submitted is None else read_form(submitted)))
        if isinstance(outcome, Awaitable):
            outcome = await outcome
        return iq.result(_answer(command, session, outcome))

    def _commands(self, user: Jid) -> Iterator[tuple[AdhocCommand, Binding]]:
        for binding in self.host.bindings:
            command = binding.declaration
            if isinstance(command, AdhocCommand) and (not command.admins_only or user in self.host.admins):
                yield command, binding

    def _find(self, node: str, user: Jid) -> tuple[AdhocCommand, Binding]:
        for command, binding in self._commands(user):
            if command.node == node:
                return command, binding
        if any(isinstance(b.declaration, AdhocCommand) and b.declaration.node == node for b in self.host.bindings):
            raise Forbidden("This command is for admins")
        raise ItemNotFound("There is no such command")


def _command(command: AdhocCommand, session: str, status: str) -> Element:
    return element(ns.COMMANDS, "command", {"node": command.node, "sessionid": session, "status": status})


def _answer(command: AdhocCommand, session: str, outcome: Form | Done) -> Element:
    if isinstance(outcome, Form):
        made = _command(command, session, "executing")
        actions = child(made, ns.COMMANDS, "actions", {"execute": "complete"})
        child(actions, ns.COMMANDS, "complete")
        made.append(write_form(outcome))
        return made
    made = _command(command, session, "completed")
    if outcome.note:
        child(made, ns.COMMANDS, "note", {"type": "info"}, outcome.note)
    if outcome.form is not None:
        made.append(write_form(outcome.form))
    return made
