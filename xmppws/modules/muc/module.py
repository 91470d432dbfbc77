"""XEP-0045 Multi-User Chat: rooms at `conference.HOST`, or where [components] says.

This is the side of it that reads stanzas, sends and stores; what a room does is in `room` and the files that work on
it. Left out: invitations through the room, registration with it, requests for voice, forms of more than the settings,
and service discovery by pages.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Final

from xmppws.config import Section
from xmppws.core.events import DiscoInfoWanted, DiscoItemsWanted, RoomWanted
from xmppws.core.hooks import STOP, Phase, Verdict
from xmppws.core.host import Host
from xmppws.core.metrics import counter, gauge
from xmppws.core.module import Module, Target, Xep, iq_get, iq_set, keyvalue_store, on
from xmppws.errors import (
    BadRequest,
    ItemNotFound,
    JidMalformed,
    NotAcceptable,
    NotAllowed,
    ResourceConstraint,
    ServiceUnavailable,
)
from xmppws.jid import Jid
from xmppws.modules.muc import entry, moderation, ownership, settings, shown, talk, written
from xmppws.modules.muc.options import MucOptions
from xmppws.modules.muc.record import Record, record, restore
from xmppws.modules.muc.requests import (
    condition,
    presence_content,
    read_affiliation,
    read_changes,
    read_history,
    read_role,
)
from xmppws.modules.muc.room import Room, State
from xmppws.xml import ns
from xmppws.xml.forms import read_form, write_form
from xmppws.xml.parser import Element
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import child, element

_MOST_LISTED: Final = 1000
# Seconds that a room has, which another module wanted, until somebody is in it.
_UNUSED: Final = 30.0
# Addresses that are prepared at once: each may take milliseconds. Then others have their turn.
_AT_ONCE: Final = 10
# What an error says whose sender cannot be reached any more (section 18.1.2).
_UNREACHABLE: Final = frozenset(
    {"gone", "item-not-found", "recipient-unavailable", "redirect", "remote-server-not-found", "remote-server-timeout"}
)
# Servers say this of a client that is not there, and of messages that its user does not want.
_UNREACHABLE_ELSEWHERE: Final = _UNREACHABLE | {"service-unavailable"}
_DESTROY: Final = f"{{{ns.MUC_OWNER}}}destroy"
_FORM: Final = f"{{{ns.DATA_FORMS}}}x"


class Muc(Module):
    name = "muc"
    xeps = (Xep(45, "1.35.5"), Xep(410, "1.1.0"))
    requires = ("disco",)
    component = "conference"
    Options = MucOptions
    options: MucOptions

    # By the room's JID: it holds an "@", so that no account owns it.
    kept = keyvalue_store("rooms", Record)

    room_count = gauge("xmppws_muc_rooms", "Rooms that there are.")
    messages = counter("xmppws_muc_messages_total", "Messages to rooms.")
    copies = counter("xmppws_muc_copies_total", "Stanzas from rooms to clients.")

    def __init__(self, host: Host, options: Section) -> None:
        super().__init__(host, options)
        self.rooms: dict[Jid, Room] = {}
        self._stored: set[Jid] = set()
        self._made: Counter[Jid] = Counter()

    async def start(self) -> None:
        """Restore the rooms that are kept."""
        for text in await self.kept.owners():
            jid = Jid.prepared(text)
            found = await self.kept.get(text) if self.host.components.get(jid.domain) == self.name else None
            if found is not None:
                self._stored.add(jid)
                self._add(restore(jid, found, self.options))

    async def stop(self) -> None:
        """Tell everybody who is in a room that it is over for now."""
        for room in tuple(self.rooms.values()):
            self._send(ownership.shut_down(room))
            self._forget(room)

    def deliver(self, stanza: Stanza) -> None:
        """Take a stanza to the service, a room or an occupant."""
        to = stanza.to
        assert to is not None
        if stanza.kind == "message":
            self._message(stanza, to)
        elif stanza.kind == "presence":
            self._presence(stanza, to)
        elif to.resource and not stanza.answerable:
            self._answered(stanza, to)
        elif stanza.answerable:
            self._asked(stanza, to)

    # --- Messages, sections 7.4, 7.5 and 8.1 ---

    def _message(self, message: Stanza, to: Jid) -> None:
        assert message.sender is not None
        if message.type == "error":
            self._bounced(message, to)
            return
        room = self._room(to)
        if to.resource:
            self._send(talk.whisper(room, message.sender, to.resource, message))
            return
        if message.type != "groupchat":
            raise BadRequest("A message to a room has the type groupchat")
        before = room.subject
        copies = talk.say(room, message.sender, message, time.time())
        self.messages.inc()
        self._send(copies)
        if room.subject is not before:
            self.host.dispatch.observe(self._keep(room))

    # --- Presence, sections 7.2, 7.6, 7.7 and 7.14 ---

    def _presence(self, presence: Stanza, to: Jid) -> None:
        assert presence.sender is not None
        if presence.type == "":
            self._available(presence, to, presence.sender)
        elif presence.type == "unavailable":
            room = self.rooms.get(to.bare)
            if room is not None:
                self._done(room, entry.leave(room, presence.sender, presence_content(presence)))
        elif presence.type == "error":
            self._bounced(presence, to)
        # Section 17.3: nothing else lets anybody in or out.

    def _available(self, presence: Stanza, to: Jid, who: Jid) -> None:
        if not to.local:
            return
        if not to.resource:
            raise JidMalformed("Who enters a room says under which nickname: room@service/nickname")
        x, room = presence.child(ns.MUC, "x"), self.rooms.get(to.bare)
        if x is not None:
            self._enter(room, presence, to, x)
        elif room is not None and who in room.sessions:
            self._done(room, entry.update(room, who, to, presence_content(presence)))
        else:
            # Section 7.2.18: "responds with an explicit kick to that client".
            self._send([written.not_in_room(to, who)])

    def _enter(self, room: Room | None, presence: Stanza, to: Jid, x: Element) -> None:
        assert presence.sender is not None
        created = room is None
        room = room or self._new(to.bare, presence.sender.bare)
        effects = entry.enter(
            room,
            presence.sender,
            to,
            presence_content(presence),
            id=presence.id,
            password=x.findtext(f"{{{ns.MUC}}}password") or "",
            wanted=read_history(x, time.time()),
            created=created,
        )
        if created:
            self._add(room)
        self._send(effects)

    def _new(self, jid: Jid, creator: Jid) -> Room:
        options = self.options
        if (options.create == "local" and creator.domain != self.host.domain) or (
            options.create == "admins" and creator not in self.host.admins
        ):
            raise NotAllowed("You may not make rooms here")
        self._check_number()
        if self._made[creator] >= options.max_rooms_per_user:
            raise ResourceConstraint(f"You have made {options.max_rooms_per_user} rooms, as many as there may be")
        return Room(jid, creator, options, State.LOCKED if options.lock else State.OPEN, settings.Settings())

    @on(RoomWanted, Phase.ANSWER)
    def provide(self, event: RoomWanted) -> Verdict:
        """Make a room for another module."""
        if not self._serves(event.jid):
            return None
        if event.jid not in self.rooms:
            self._check_number()
            wanted = settings.Settings(name=event.name, non_anonymous=True, max_occupants=event.max_occupants)
            room = Room(event.jid, self.host.jid, self.options, State.OPEN, wanted)
            self._add(room)
            # Where nobody comes, nobody leaves.
            asyncio.get_running_loop().call_later(_UNUSED, self._done, room, ())
        event.found = True
        return STOP

    def _check_number(self) -> None:
        if len(self.rooms) >= self.options.max_rooms:
            raise ResourceConstraint("There are as many rooms as there may be")

    def _bounced(self, error: Stanza, to: Jid) -> None:
        """Remove a client that stanzas do not reach."""
        who, room = error.sender, self.rooms.get(to.bare)
        if who is None or room is None or who not in room.sessions:
            return
        if who.domain == self.host.domain:
            # Whether it is there is known here; other errors are about one message, or one sender.
            gone = self.host.sessions.find(who) is None or condition(error) in _UNREACHABLE
        else:
            gone = condition(error) in _UNREACHABLE_ELSEWHERE
        if gone:
            self._done(room, entry.fail(room, who))

    # --- IQ between occupants, section 17.4 ---

    def _asked(self, request: Stanza, to: Jid) -> None:
        assert request.sender is not None
        room = self.rooms.get(to.bare)
        if not to.resource or not to.local:
            raise ServiceUnavailable if room is not None or not to.local else _no_such_room()
        if room is None:
            # Not item-not-found: XEP-0410 has clients take that for a room that they are in.
            raise NotAcceptable("There is no such room")
        self._send(talk.ask(room, request.sender, to.resource, request, self.host.new_id()))

    def _answered(self, reply: Stanza, to: Jid) -> None:
        room = self.rooms.get(to.bare)
        if room is not None and reply.sender is not None:
            self._send(talk.answer(room, reply.sender, reply))

    # --- Lists of roles and affiliations, sections 8.2 to 8.5, 9 and 10.3 to 10.8 ---

    @iq_get(ns.MUC_ADMIN, "query", to=Target.COMPONENT)
    def show_list(self, iq: Stanza) -> Stanza:
        """Return who has a role or an affiliation."""
        assert iq.to is not None and iq.sender is not None and iq.payload is not None
        room, query = self._room(iq.to), element(ns.MUC_ADMIN, "query")
        asked = iq.payload.find(f"{{{ns.MUC_ADMIN}}}item")
        role, affiliation = (None, None) if asked is None else (asked.get("role"), asked.get("affiliation"))
        if affiliation is not None:
            wanted = read_affiliation(affiliation)
            for account, standing in moderation.by_affiliation(room, iq.sender.bare, wanted):
                item = child(query, ns.MUC_ADMIN, "item", {"affiliation": affiliation, "jid": account.text})
                if standing.reason:
                    child(item, ns.MUC_ADMIN, "reason", text=standing.reason)
        elif role is not None:
            for occupant in moderation.by_role(room, iq.sender, read_role(role)):
                of = room.affiliation(occupant.account).word
                attributes = {"affiliation": of, "jid": occupant.address.text, "nick": occupant.nick, "role": role}
                child(query, ns.MUC_ADMIN, "item", attributes)
        else:
            raise BadRequest("An item asks for a role or an affiliation")
        return iq.result(query)

    @iq_set(ns.MUC_ADMIN, "query", to=Target.COMPONENT)
    async def change_list(self, iq: Stanza) -> Stanza:
        """Change roles and affiliations."""
        assert iq.to is not None and iq.sender is not None and iq.payload is not None
        changes = []
        for number, change in enumerate(read_changes(iq.payload, self._room(iq.to)), 1):
            changes.append(change)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        room = self._room(iq.to)
        before = dict(room.standings)
        self._done(room, moderation.change(room, iq.sender, changes))
        if room.standings != before:
            await self._keep(room)
        return iq.result()

    # --- Settings and the end, section 10 ---

    @iq_get(ns.MUC_OWNER, "query", to=Target.COMPONENT)
    def show_settings(self, iq: Stanza) -> Stanza:
        """Return the form with the settings."""
        assert iq.to is not None and iq.sender is not None
        room = self._room(iq.to)
        room.check_owner(iq.sender.bare)
        query = element(ns.MUC_OWNER, "query")
        query.append(write_form(settings.write(room.settings, self.options.max_occupants)))
        return iq.result(query)

    @iq_set(ns.MUC_OWNER, "query", to=Target.COMPONENT)
    async def change_settings(self, iq: Stanza) -> Stanza:
        """Put settings in force, or end the room."""
        assert iq.to is not None and iq.sender is not None and iq.payload is not None
        room, account = self._room(iq.to), iq.sender.bare
        destroy, form = iq.payload.find(_DESTROY), iq.payload.find(_FORM)
        if destroy is not None:
            texts = (destroy.findtext(f"{{{ns.MUC_OWNER}}}{name}") or "" for name in ("reason", "password"))
            reason, password = texts
            self._done(room, ownership.destroy(room, account, reason, destroy.get("jid", ""), password))
        elif form is None:
            raise BadRequest("The query holds a form, or says to destroy the room")
        elif form.get("type") == "cancel":
            self._done(room, ownership.cancel(room, account))
        else:
            room.check_owner(account)
            new = settings.read(read_form(form), room.settings, self.options.max_occupants)
            self._done(room, ownership.configure(room, account, new))
        await self._keep(room)
        return iq.result()

    # --- Service discovery, sections 6.2 to 6.5 ---

    @on(DiscoInfoWanted, Phase.ANSWER)
    def info(self, event: DiscoInfoWanted) -> Verdict:
        """Say what the service is, or a room."""
        if self._serves(event.to):
            if event.to.local:
                shown.describe(self._visible(event.to, event.asker), event)
            else:
                event.identities.append(("conference", "text", self.options.name))
                event.features.update(shown.SERVICE_FEATURES)
        return None

    @on(DiscoItemsWanted, Phase.ANSWER)
    def items(self, event: DiscoItemsWanted) -> Verdict:
        """List public rooms, or who is in a room to those who are in it."""
        if not self._serves(event.to) or event.items is None:
            return None
        if event.to.local:
            present = self._visible(event.to, event.asker).occupants.values()
            # Section 6.5: "advised to turn off such information sharing by default".
            if any(occupant.account == event.asker for occupant in present):
                event.items += [(occupant.jid.text, "", "") for occupant in present]
        else:
            of_service = (room for jid, room in self.rooms.items() if jid.domain == event.to.domain)
            public = (room for room in of_service if room.settings.public and room.state is State.OPEN)
            listed = islice(public, _MOST_LISTED)
            event.items += [(room.jid.text, "", room.settings.name or room.jid.local) for room in listed]
        return None

    def _serves(self, to: Jid) -> bool:
        return self.host.components.get(to.domain) == self.name

    def _visible(self, to: Jid, asker: Jid) -> Room:
        room = self._room(to)
        if room.state is not State.OPEN and room.creator != asker:
            raise _no_such_room()
        return room

    # --- Rooms ---

    def _room(self, to: Jid) -> Room:
        room = self.rooms.get(to.bare)
        if room is None:
            raise _no_such_room()
        return room

    def _done(self, room: Room, effects: Iterable[Stanza]) -> None:
        self._send(effects)
        if room.is_over:
            self._forget(room)

    def _send(self, stanzas: Iterable[Stanza]) -> None:
        # Once for each copy of each message: it is `post` without what a copy seldom needs.
        send, observe = self.host.dispatch.send, self.host.dispatch.observe
        number = 0
        for stanza in stanzas:
            number += 1
            pending = send(stanza)
            if pending is not None:
                observe(pending)
        self.copies.inc(number)

    def _add(self, room: Room) -> None:
        self.rooms[room.jid] = room
        self._made[room.creator] += 1
        self.room_count.set(len(self.rooms))

    def _forget(self, room: Room) -> None:
        # While it was told that it is over, an answer may have come to the same end.
        if self.rooms.get(room.jid) is room:
            del self.rooms[room.jid]
            self._made[room.creator] -= 1
            if not self._made[room.creator]:
                del self._made[room.creator]
            self.room_count.set(len(self.rooms))

    async def _keep(self, room: Room) -> None:
        """Write what a room is, if it is to outlast its occupants."""
        if room.settings.persistent and room.state is not State.DESTROYED:
            self._stored.add(room.jid)
            await self.kept.set(room.jid.text, record(room))
        elif room.jid in self._stored:
            self._stored.discard(room.jid)
            await self.kept.delete(room.jid.text)


def _no_such_room() -> ItemNotFound:
    return ItemNotFound("There is no such room")
