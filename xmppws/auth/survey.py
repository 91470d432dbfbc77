"""What keys the accounts of a host have: which mechanisms all of them can use, and how their salts look.

Accounts are counted at start, on reload, and when the last one that lacked keys may have got them.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Final, NamedTuple

from xmppws.auth.account import HASH_NAMES, Account
from xmppws.core.stores import KeyValue
from xmppws.stream.sasl.keys import ITERATIONS, SALT_LENGTH, ScramKeys
from xmppws.stream.sasl.scram import HASHES

# Accounts that are counted while nothing else goes on: a millisecond or two.
_PAGE: Final = 200
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID_LENGTH: Final = 36


class Shape(NamedTuple):
    """What everybody can see of an account's keys who tries to log in; Prosody's salts are UUIDs."""

    iterations: int = ITERATIONS
    salt_length: int = SALT_LENGTH
    is_uuid: bool = False

    @classmethod
    def of(cls, keys: ScramKeys) -> Shape:
        """Return the shape of keys."""
        length = len(keys.salt)
        return cls(keys.iterations, length, length == _UUID_LENGTH and _UUID.fullmatch(keys.salt) is not None)


OURS: Final = Shape()
"""The shape of keys that are made here."""


class _Count:
    """What one look through the accounts has found so far."""

    def __init__(self) -> None:
        self.without_keys = 0
        self.lacking = Counter[str]()
        self.shapes: dict[str, Counter[Shape]] = {name: Counter() for name in HASH_NAMES}

    def add(self, account: Account) -> None:
        if lacking := account.lacking:
            self.without_keys += not account.keys
            self.lacking.update(lacking)
        for name, keys in account.keys.items():
            self.shapes[name][Shape.of(keys)] += 1


class Survey:
    """The accounts of one host, as of the last look.

    `mechanisms` are those of SCRAM that all can use, `without_keys` is how many can use none, and `lacking` how many
    have no keys for a hash, by its name.
    """

    def __init__(self, accounts: KeyValue[Account]) -> None:
        self._accounts = accounts
        self._lock = asyncio.Lock()
        self._shapes: dict[str, _Shapes] = {}
        # How many lack keys at least, now; and how many got some since a look began.
        self._left = Counter[str]()
        self._completed = Counter[str]()
        self.without_keys = 0
        self.lacking = Counter[str]()
        self.mechanisms = frozenset(HASHES)

    async def look(self) -> None:
        """Look through all accounts."""
        async with self._lock:
            await self._look()
            await self._look_again()

    async def completed(self, hash_names: Iterable[str]) -> None:
        """Note that an account that lacked keys for these hashes has them now, or is gone."""
        names = tuple(hash_names)
        self._left.subtract(names)
        self._completed.update(names)
        if self._is_in_doubt():
            async with self._lock:
                await self._look_again()

    def shape(self, hash_name: str, place: float) -> Shape:
        """Return a shape that keys have: over all places from 0 to 1, each as often as accounts have it."""
        shapes = self._shapes.get(hash_name)
        return OURS if shapes is None else shapes.at(place)

    async def _look_again(self) -> None:
        while self._is_in_doubt():
            await self._look()

    def _is_in_doubt(self) -> bool:
        """Tell whether no account may lack some keys that one lacked before."""
        return any(self.lacking[name] and self._left[name] <= 0 for name in HASH_NAMES)

    async def _look(self) -> None:
        self._completed.clear()
        count = _Count()
        page = await self._accounts.page(None, _PAGE)
        while page:
            for account in page.values():
                count.add(account)
            page = await self._accounts.page(max(page), _PAGE)
        self.without_keys, self.lacking = count.without_keys, count.lacking
        self.mechanisms = frozenset(name for name, hash_name in HASHES.items() if not count.lacking[hash_name])
        self._shapes = {name: _Shapes(shapes) for name, shapes in count.shapes.items() if shapes}
        # Those who got keys meanwhile were counted with them or without.
        self._left = Counter(count.lacking)
        self._left.subtract(self._completed)


class _Shapes:
    """How often there is which shape; ours stands last: as accounts get keys of it, places go over to it, none back."""

    def __init__(self, shapes: Counter[Shape]) -> None:
        self._shapes = sorted(shapes, key=lambda shape: (shape == OURS, shape))
        self._ends = list(accumulate(shapes[shape] for shape in self._shapes))

    def at(self, place: float) -> Shape:
        return self._shapes[bisect_right(self._ends, place * self._ends[-1])]
