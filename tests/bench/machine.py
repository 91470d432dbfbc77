"""What the kernel says about processes, which cores they run on, and how fast the server's core is just now."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import calibrator

# Of the 2,000 sessions of `idle` and some more, at both ends.
FILES = 4096


def processes(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def cpu_us(pid: int) -> float:
    """Microseconds that all threads of a process and of its descendants have run."""
    tasks = (task for process in processes(pid) for task in Path(f"/proc/{process}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


def pss_kib(pid: int) -> int:
    """Memory of a process and its descendants in KiB, what they share divided among those who share it."""
    rollups = (Path(f"/proc/{process}/smaps_rollup").read_text().splitlines() for process in processes(pid))
    return sum(int(line.split()[1]) for lines in rollups for line in lines if line.startswith("Pss:"))


def anonymous_kib(pid: int) -> int:
    """Memory of one process in KiB without files, whose pages may be shared: what it has asked for itself."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


@dataclass(frozen=True)
class Cores:
    """One core for the server, one for the load."""

    server: int
    load: int

    @contextmanager
    def starting_server(self) -> Iterator[None]:
        """Let processes that are started now have the server's core, with all their threads."""
        os.sched_setaffinity(0, {self.server})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.load})


def cores() -> Cores:
    """Choose two cores; `SystemExit` where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise SystemExit("The figures need two cores: one for the server, one for the load. Here is one.")
    return Cores(*available[:2])


def allow_many_files() -> None:
    """Raise the limit of open files, which servers inherit; `SystemExit` where it cannot be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES:
        raise SystemExit(f"At most {most} files may be open, {FILES} are needed: ulimit -Hn {FILES}, as root")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(FILES, min(most, 65_536)), most))


class Calibrator:
    """Measures the core that it runs on, by the time a fixed piece of work takes there when nobody else wants it."""

    def __init__(self, pid: int, file: Path) -> None:
        self._pid = pid
        self._file = file

    def reading(self) -> tuple[int, float]:
        """Units of work done so far, and the CPU time that they took, in microseconds."""
        return int.from_bytes(self._file.read_bytes(), sys.byteorder), cpu_us(self._pid)


@contextmanager
def calibrator_on(where: Cores) -> Iterator[Calibrator]:
    """Run a calibrator on the server's core."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(calibrator.COUNTER))
        file.flush()
        with where.starting_server():
            process = subprocess.Popen((sys.executable, calibrator.__file__, file.name), stdin=subprocess.DEVNULL)
        try:
            yield Calibrator(process.pid, Path(file.name))
        finally:
            process.kill()
            process.wait()
