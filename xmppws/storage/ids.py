"""Ids of archive entries: 24 hexadecimal digits that sort by code point as their times do.

The first 11 are the time in milliseconds (44 bits, until the year 2527), 5 count within the millisecond, 8 are random,
so that two processes that write to one archive do not collide.
"""

import secrets
import struct
from collections.abc import Iterator

LENGTH = 24
_TIME_LENGTH = 11
_TIME_BITS = 44
_COUNTER_BITS = 20
_SALT_BITS = 32
# Drawn at once: asking the system for each costs more than all the rest.
_SALTS = struct.Struct("256I")


class ArchiveIds:
    """Makes ids that are greater than those it made for the same millisecond."""

    def __init__(self) -> None:
        self._latest = 0
        self._count = 0
        self._salts: Iterator[int] = iter(())

    def next(self, when: float) -> str:
        """Return a fresh id for a time in seconds."""
        time = _milliseconds(when)
        # Starts anew only when the clock has advanced: older times come too, and in between.
        self._count = 0 if time > self._latest else self._count + 1
        self._latest = max(self._latest, time)
        stamp = time << _COUNTER_BITS | self._count % (1 << _COUNTER_BITS)
        return f"{stamp << _SALT_BITS | self._salt():0{LENGTH}x}"

    def _salt(self) -> int:
        salt = next(self._salts, None)
        if salt is None:
            salt, *rest = _SALTS.unpack(secrets.token_bytes(_SALTS.size))
            self._salts = iter(rest)
        return salt


def first_id(when: float) -> str:
    """Return what is not greater than any id of that time, and greater than any older one."""
    return f"{_milliseconds(when):0{_TIME_LENGTH}x}"


def first_id_after(when: float) -> str:
    """Return what is greater than any id of that time, and not greater than any later one."""
    return f"{_milliseconds(when) + 1:0{_TIME_LENGTH}x}"


def time_of(id: str) -> float:
    """Return the time of an id in seconds."""
    return int(id[:_TIME_LENGTH], 16) / 1000


def check(id: str, when: float) -> None:
    """Raise `ValueError` if an id was not made for that time."""
    if len(id) != LENGTH or not id.startswith(first_id(when)):
        raise ValueError(f"the archive id {id[:40]!a} was not made by next_id({when})")


def _milliseconds(when: float) -> int:
    milliseconds = round(when * 1000)
    # The last one is left out for first_id_after to fit.
    if not 0 <= milliseconds < (1 << _TIME_BITS) - 1:
        raise ValueError(f"the time {when} is not between the years 1970 and 2527")
    return milliseconds
