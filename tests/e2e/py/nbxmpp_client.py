"""nbxmpp as a client, in the words of tests/libraries.py. Arguments: the endpoint, the JID, the password.

Runs under the system's Python, where Debian installs nbxmpp and GLib.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gi.repository import Gio, GLib  # type: ignore[import-not-found]
from nbxmpp.client import Client  # type: ignore[import-not-found]
from nbxmpp.const import ConnectionProtocol, ConnectionType, StreamError  # type: ignore[import-not-found]
from nbxmpp.errors import StanzaError  # type: ignore[import-not-found]
from nbxmpp.modules.vcard_temp import VCard  # type: ignore[import-not-found]
from nbxmpp.namespaces import Namespace  # type: ignore[import-not-found]
from nbxmpp.protocol import JID, Iq, Message  # type: ignore[import-not-found]
from nbxmpp.structs import StanzaHandler  # type: ignore[import-not-found]

UNKNOWN = "urn:example:unknown"


def tell(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def done(result: Any = None) -> None:
    tell("done", result=result)


def contact(item: Any) -> dict[str, str]:
    return {
        "jid": str(item.jid),
        "name": item.name or "",
        "subscription": item.subscription or "none",
        "ask": item.ask or "",
    }


def contacts(roster: Any) -> list[dict[str, str]]:
    return [contact(item) for item in roster.items or ()]


class Person:
    """One client: what the library tells goes out, `actions` are what may be asked of it."""

    def __init__(self, url: str, jid: str, password: str) -> None:
        self.leaving = False
        address = JID.from_string(jid)
        self.client = client = Client()
        client.set_username(address.localpart)
        client.set_domain(address.domain)
        client.set_resource(address.resource)
        client.set_password(password)
        client.set_custom_host(url, ConnectionProtocol.WEBSOCKET, ConnectionType.PLAIN)
        for signal in ("connected", "disconnected", "connection-failed"):
            client.subscribe(signal, getattr(self, "_" + signal.replace("-", "_")))
        for name, callback in (("message", self._message), ("presence", self._presence)):
            client.register_handler(StanzaHandler(name=name, callback=callback, priority=90))
        client.register_handler(StanzaHandler("iq", self._push, typ="set", ns=Namespace.ROSTER, priority=90))
        client.connect()

    def actions(self) -> dict[str, Callable[..., None]]:
        """Return what may be asked. Every action tells "done" or "failed"."""
        module = self.client.get_module
        roster, presence, blocking = module("Roster"), module("BasePresence"), module("Blocking")
        return {
            "roster": lambda: self._ask(roster.request_roster(), contacts),
            "set": lambda jid, name: self._ask(roster.set_item(jid, name)),
            "remove": lambda jid: self._ask(roster.delete_item(jid)),
            "subscribe": lambda jid: done(presence.subscribe(jid)),
            "unsubscribe": lambda jid: done(presence.unsubscribe(jid)),
            "approve": lambda jid: done(presence.subscribed(jid)),
            "deny": lambda jid: done(presence.unsubscribed(jid)),
            "presence": lambda **facts: done(presence.send(**facts)),
            "message": lambda to, body, kind: done(self.client.send_stanza(Message(to, body, typ=kind))),
            "unknown": self._unknown,
            "block": lambda jid: self._ask(blocking.block([jid])),
            "unblock": lambda jid: self._ask(blocking.unblock([jid])),
            "blocked": lambda: self._ask(blocking.request_blocking_list(), lambda jids: [str(jid) for jid in jids]),
            "set-vcard": lambda name: self._ask(module("VCardTemp").set_vcard(VCard({"FN": name}))),
            "vcard": lambda jid: self._ask(module("VCardTemp").request_vcard(jid), lambda vcard: vcard.data["FN"]),
            "disco": lambda jid: self._ask(module("Discovery").disco_info(jid), self._disco_info),
            "ping": lambda: self._ask(module("Ping").ping(self.client.domain)),
            "leave": self._leave,
        }

    def _ask(self, task: Any, convert: Callable[[Any], Any] = lambda _: None) -> None:
        def answered(task: Any) -> None:
            try:
                done(convert(task.finish()))
            except StanzaError as error:
                tell("failed", condition=error.condition)

        task.add_done_callback(answered, weak=False)

    def _unknown(self, jid: str) -> None:
        def answered(_client: Any, answer: Any, **_: Any) -> None:
            tell("failed", condition=answer.getError()) if answer.isError() else done()

        self.client.send_stanza(Iq("get", queryNS=UNKNOWN, to=jid), callback=answered)

    def _leave(self) -> None:
        self.leaving = True
        self.client.disconnect()
        done()

    @staticmethod
    def _disco_info(info: Any) -> dict[str, list[str]]:
        identities = [f"{identity.category}/{identity.type}" for identity in info.identities]
        return {"features": list(info.features), "identities": identities}

    def _connected(self, *_: Any) -> None:
        def answered(task: Any) -> None:
            roster = contacts(task.finish())
            self.client.get_module("BasePresence").send()
            tell("online", jid=str(self.client.get_bound_jid()), roster=roster)

        self.client.get_module("Roster").request_roster().add_done_callback(answered, weak=False)

    def _disconnected(self, *_: Any) -> None:
        domain, error, _text = self.client.get_error()
        if domain is StreamError.SASL:
            tell("refused", condition=error)
            return
        tell("offline")
        if not self.leaving:
            GLib.idle_add(self.client.connect)

    def _connection_failed(self, *_: Any) -> None:
        tell("unreachable", why=str(self.client.get_error()))

    def _message(self, _client: Any, _stanza: Any, message: Any) -> None:
        sender = str(message.jid)
        if message.type.is_error:
            tell("undelivered", **{"from": sender}, id=message.id, condition=message.error.condition)
            return
        delay = datetime.fromtimestamp(message.timestamp, UTC).isoformat() if message.has_server_delay else None
        tell("message", **{"from": sender}, kind=message.type.value, body=message.body, delay=delay)

    def _presence(self, _client: Any, _stanza: Any, presence: Any) -> None:
        show = "" if presence.show.is_online else presence.show.value
        facts = {"from": str(presence.jid), "type": presence.type.value or "available", "show": show}
        tell("presence", **facts, status=presence.status or "", priority=presence.priority)

    def _push(self, _client: Any, _stanza: Any, iq: Any) -> None:
        tell("contact", **contact(iq.roster.item))


def main() -> None:
    loop = GLib.MainLoop()
    person = Person(*sys.argv[1:])
    actions = person.actions()
    lines = Gio.DataInputStream.new(Gio.UnixInputStream.new(sys.stdin.fileno(), False))

    def read() -> None:
        lines.read_line_async(GLib.PRIORITY_DEFAULT, None, on_line)

    def on_line(_lines: Any, result: Any) -> None:
        line, _size = lines.read_line_finish_utf8(result)
        if line is None:
            loop.quit()
            return
        request = json.loads(line)
        actions[request.pop("do")](**request)
        read()

    read()
    loop.run()


main()
