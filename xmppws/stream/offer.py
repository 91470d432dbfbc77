"""What a host offers every client, written once: mechanisms and features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xmppws.stream import framing, sasl2, sm
from xmppws.stream.sasl.scram import offer_digests
from xmppws.xml import ns

_BIND: Final = f'<bind xmlns="{ns.BIND}"/>'.encode()


@dataclass(frozen=True, slots=True)
class Offer:
    """Mechanisms for passwords and the like, those for tokens, and the features at each stage, as messages.

    `before` log-in, `after` it, when a resource is `bound` with it, and when its stanzas are `counted`, too. `upgrades`
    are the mechanisms for which some accounts lack keys; `digests` say by SCRAM mechanism what was offered.
    """

    domain: str
    mechanisms: tuple[str, ...]
    tokens: tuple[str, ...]
    upgrades: tuple[str, ...]
    before: bytes
    after: bytes
    bound: bytes
    counted: bytes
    digests: dict[str, str]
    max_attempts: int

    @classmethod
    def of(
        cls,
        domain: str,
        mechanisms: tuple[str, ...],
        *,
        features: bytes,
        inline: tuple[str, ...] = (),
        tokens: tuple[str, ...] = (),
        upgrades: tuple[str, ...] = (),
        max_attempts: int,
    ) -> Offer:
        """Write them.

        `features` are what is there after log-in besides resources and stream management, `inline` those of them that a
        client can ask for while it binds.
        """
        names = b"".join(b"<mechanism>%b</mechanism>" % name.encode() for name in mechanisms)
        offered = b'<mechanisms xmlns="%b">%b</mechanisms>' % (ns.SASL.encode(), names)
        return cls(
            domain,
            mechanisms,
            tokens,
            upgrades,
            # XEP-0388: it "MUST NOT be offered if not at least one mechanism can be provided".
            framing.features(offered + (sasl2.feature(mechanisms, inline, tokens, upgrades) if mechanisms else b"")),
            framing.features(_BIND + sm.FEATURE + features),
            framing.features(sm.FEATURE + features),
            framing.features(features),
            offer_digests(mechanisms),
            max_attempts,
        )
