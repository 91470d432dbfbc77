"""XEP-0054 vcard-temp: everybody's vCard, set by its owner and open to all.

What is in it is not looked at. A vCard of the host is left out, and so are avatars in presence (XEP-0153).
"""

from __future__ import annotations

from typing import Annotated

from xmppws.config import Opt, Section, Size
from xmppws.config.kinds import KIB, MIB
from xmppws.core.module import Module, Target, Xep, iq_get, iq_set, keyvalue_store
from xmppws.errors import Forbidden, ItemNotFound, PolicyViolation, ServiceUnavailable
from xmppws.xml import ns
from xmppws.xml.stanza import Stanza
from xmppws.xml.writer import serialize


class VcardOptions(Section, frozen=True, kw_only=True):
    """Options of the module vcard."""

    # A photo of 140 KiB, in Base64 and with some text beside it, and less than c2s.max_stanza_size.
    max_size: Annotated[
        Size, Opt("Largest vCard, in bytes as written, photo included.", minimum=1 * KIB, maximum=64 * MIB)
    ] = 192 * KIB


class Vcard(Module):
    name = "vcard"
    xeps = (Xep(54, "1.3.0"),)
    features = (ns.VCARD,)
    account_features = (ns.VCARD,)
    Options = VcardOptions
    options: VcardOptions

    # As XML: it is put into the answer as it is, so that reading it costs no parse and no memory for its names.
    cards = keyvalue_store("vcard", str)

    @iq_get(ns.VCARD, "vCard", to=Target.SELF)
    async def own(self, iq: Stanza) -> Stanza:
        """Return the asker's own vCard (section 3.1)."""
        answer = await self._answer(iq)
        if answer is None:
            raise ItemNotFound("There is no vCard")
        return answer

    @iq_get(ns.VCARD, "vCard", to=Target.OTHER)
    async def other(self, iq: Stanza) -> Stanza:
        """Return somebody's vCard (section 3.3)."""
        answer = await self._answer(iq)
        if answer is None:
            # "The server MUST return the same error condition in both cases": no vCard, and no such account.
            raise ServiceUnavailable
        return answer

    @iq_set(ns.VCARD, "vCard", to=Target.SELF)
    async def set(self, iq: Stanza) -> Stanza:
        """Keep a vCard in place of the one before (section 3.2)."""
        assert iq.sender is not None and iq.payload is not None
        card = serialize(iq.payload)
        if len(card) > self.options.max_size:
            raise PolicyViolation(f"A vCard has at most {self.options.max_size} bytes, this one {len(card)}")
        await self.cards.set(iq.sender.local, card.decode())
        return iq.result()

    @iq_set(ns.VCARD, "vCard", to=Target.OTHER)
    def refuse(self, iq: Stanza) -> Stanza:
        """Keep other people's vCards from everybody (section 3.2)."""
        raise Forbidden("A vCard is changed by its owner alone")

    async def _answer(self, iq: Stanza) -> Stanza | None:
        assert iq.to is not None
        card = await self.cards.get(iq.to.local)
        return None if card is None else iq.result().plus(card.encode())
