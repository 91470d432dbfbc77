"""XEP-0441: what a user wants to be archived."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Final

from msgspec import Struct

from xmppws.errors import BadRequest, JidMalformed, ResourceConstraint
from xmppws.jid import InvalidJid, Jid
from xmppws.xml import ns
from xmppws.xml.parser import Element
from xmppws.xml.writer import child, element

_JID: Final = f"{{{ns.MAM}}}jid"
# Addresses that are prepared at once: each may take milliseconds. Then others have their turn.
_AT_ONCE: Final = 10


class Policy(StrEnum):
    """Whether messages to and from an address are archived (XEP-0441 section 2.1.1)."""

    ALWAYS = "always"
    NEVER = "never"
    ROSTER = "roster"
    """If the user's roster has it."""


class Preferences(Struct, frozen=True):
    """What holds for all addresses, and those for which something else does."""

    default: Policy = Policy.ALWAYS
    always: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()

    def policy(self, address: Jid) -> Policy:
        """Return what holds for an address."""
        if self._lists(self.never, address):
            return Policy.NEVER
        return Policy.ALWAYS if self._lists(self.always, address) else self.default

    @staticmethod
    def _lists(addresses: frozenset[str], address: Jid) -> bool:
        # Section 2.3.1: an entry with a resource is that resource, one without is all of them.
        return bool(addresses) and (address.text in addresses or address.bare.text in addresses)


async def read_preferences(root: Element, max_addresses: int) -> Preferences:
    """Read the `<prefs/>` of a client. Raises `StanzaError`."""
    try:
        default = Policy(root.get("default", ""))
    except ValueError:
        raise BadRequest("The default is always, never or roster") from None
    listed = {name: root.findall(f"{{{ns.MAM}}}{name}/{_JID}") for name in ("always", "never")}
    if sum(map(len, listed.values())) > max_addresses:
        raise ResourceConstraint(f"The preferences name at most {max_addresses} addresses")
    return Preferences(default, await _addresses(listed["always"]), await _addresses(listed["never"]))


async def _addresses(elements: list[Element]) -> frozenset[str]:
    addresses = set()
    for number, each in enumerate(elements, 1):
        try:
            addresses.add(Jid.parse(each.text or "").text)
        except InvalidJid as error:
            raise JidMalformed(str(error)) from None
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return frozenset(addresses)


def write_preferences(preferences: Preferences) -> Element:
    """Build the `<prefs/>` that tells a client what holds."""
    made = element(ns.MAM, "prefs", {"default": preferences.default})
    # Section 2.1: both lists "MUST also be present (even if empty)".
    for name, addresses in (("always", preferences.always), ("never", preferences.never)):
        of_it = child(made, ns.MAM, name)
        for address in sorted(addresses):
            child(of_it, ns.MAM, "jid", text=address)
    return made
