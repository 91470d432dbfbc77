"""Which messages of an account are wanted in its archive, known at once while it has sessions."""

from __future__ import annotations

from typing import Final

from xmppws.core.events import RosterWanted
from xmppws.core.host import Host
from xmppws.core.stores import KeyValue
from xmppws.core.turns import Turns
from xmppws.jid import Jid
from xmppws.modules.mam.preferences import Policy, Preferences


class Wishes:
    """The preferences of all accounts of a host, `default` where an account has none.

    `turns` are taken by who waits for them: so messages are archived in the order in which they came.
    """

    def __init__(self, host: Host, store: KeyValue[Preferences], default: Policy) -> None:
        self.turns: Final = Turns()
        self._host = host
        self._store = store
        self._default = Preferences(default)
        # Of accounts with sessions: every message asks for it.
        self._known: dict[Jid, Preferences] = {}

    def policy(self, account: Jid, other: Jid) -> Policy | None:
        """Return what holds between an account and somebody else: ALWAYS, NEVER, or None if `are` has to tell."""
        known = self._known.get(account)
        if known is None:
            return None
        policy = known.policy(other)
        return None if policy is Policy.ROSTER else policy

    async def are(self, account: Jid, other: Jid) -> bool:
        """Tell whether an account wants what goes between it and somebody else."""
        policy = (await self.of(account)).policy(other)
        if policy is not Policy.ROSTER:
            return policy is Policy.ALWAYS
        roster = RosterWanted(account)
        await self._host.hooks.finish(roster)
        # XEP-0441 section 2.3.1: "the comparison MUST use the bare target JID".
        item = (roster.items or {}).get(other.bare)
        return item is not None and item.listed

    async def of(self, account: Jid) -> Preferences:
        """Return an account's preferences."""
        known = self._known.get(account)
        if known is not None:
            return known
        stored = await self._store.get(account.local) or self._default
        if account not in self._known:
            self._remember(account, stored)
        return self._known.get(account, stored)

    async def set(self, account: Jid, preferences: Preferences) -> None:
        """Keep an account's preferences."""
        async with self.turns.of(account):
            await self._store.set(account.local, preferences)
            self._remember(account, preferences)

    def forget(self, account: Jid) -> None:
        """Forget what is stored, for an account without sessions."""
        self._known.pop(account, None)

    def _remember(self, account: Jid, preferences: Preferences) -> None:
        if self._host.sessions.of(account):
            self._known[account] = preferences
