"""What processes and the machine use while something is measured, from /proc."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.parts.machine import family, memory

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Seconds of CPU of a process, in user and system mode, with those of children that it has waited for; 0 once it
    has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICK


class Meter:
    """A context that measures `pids` and what they started: `seconds` of wall time, `cpu` in seconds, `peak` in MiB.

    Memory that processes share counts once for each. `other` says how many cores were kept busy by what is neither of
    these processes nor this one: a measurement with much of it is worth little.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = list(pids)
        self.seconds = self.cpu = self.peak = self.other = 0.0

    def __enter__(self) -> Meter:
        self._before: dict[int, float] = {}
        for pid in self._processes():
            with suppress(FileNotFoundError, ProcessLookupError):  # it may have ended
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            self._before[pid] = cpu(pid)
        self._client, self._busy, self._started = _client(), _busy(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._started
        busy = _busy() - self._busy
        self.cpu = sum(cpu(pid) - self._before.get(pid, 0.0) for pid in self._processes())
        self.peak = sum(memory(root, "VmHWM") for root in self._roots) / (1 << 20)
        self.other = max(0.0, busy - self.cpu - (_client() - self._client)) / self.seconds

    def _processes(self) -> list[int]:
        return sorted({pid for root in self._roots for pid in family(root)})


def _client() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _busy() -> float:
    """Seconds of CPU that the machine has used since it started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def described() -> str:
    """The machine in one line: processor, cores, memory, system."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "processor")
    total = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    system = os.uname()
    return f"{model}, {os.cpu_count()} cores, {total:.0f} GiB of memory, {system.sysname} {system.release}"
