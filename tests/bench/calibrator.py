"""A program that does the same piece of work over and over, only while nobody else wants its core.

This keeps the core from falling asleep, from which it would wake slowly, and the time that a piece takes tells how fast
the core is.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Final

COUNTER: Final = 8
_SIZE: Final = 400


def work() -> int:
    """A unit of work: some tens of microseconds."""
    return sum(number * number % 7 for number in range(_SIZE))


def main(path: str) -> None:
    """Count the units done, as a native integer in a file, until the process that started this ends it or has ended."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    parent = os.getppid()
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), COUNTER) as counter:
        done = 0
        while done % 10_000 or os.getppid() == parent:
            work()
            done += 1
            counter[:] = done.to_bytes(COUNTER, sys.byteorder)


if __name__ == "__main__":
    main(sys.argv[1])
