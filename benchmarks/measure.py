"""Running a piece of work on a server again and again, and what came of it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from benchmarks.machine import Meter
from benchmarks.servers import Server


class Closes(Protocol):
    """What a client holds: a connection."""

    def close(self) -> None: ...


Connection = TypeVar("Connection", bound=Closes)
Job = Callable[[Connection], int]
"""One operation on a connection; tells how many units (instances, requests) it did. Raises OSError, ValueError."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement: `count` units in `seconds`, `cpu` seconds of the server, its `peak` memory in MiB.

    `latencies` are those of each operation in milliseconds, in ascending order. `other` is the number of cores that
    were busy with neither side.
    """

    work: str
    server: str
    count: int
    seconds: float
    cpu: float
    peak: float
    other: float
    latencies: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """The server's CPU for a unit, in milliseconds."""
        return 1000 * self.cpu / self.count

    def latency(self, share: float) -> float:
        """The quantile `share` of the latencies."""
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)] if self.latencies else 0.0


def measure(
    work: str, server: Server, jobs: Sequence[Job[Connection]], connect: Callable[[], Connection], clients: int = 1
) -> Result:
    """Do all jobs with so many clients at once, each on its own connection. Raises RuntimeError when one fails."""
    todo: Iterator[Job[Connection]] = iter(jobs)
    guard = threading.Lock()
    latencies: list[float] = []
    done: list[int] = []
    failed: list[str] = []

    def run() -> None:
        connection = connect()
        try:
            while not failed:
                with guard:
                    job = next(todo, None)
                if job is None:
                    return
                started = time.perf_counter()
                done.append(job(connection))
                latencies.append(1000 * (time.perf_counter() - started))
        except (OSError, ValueError) as error:
            failed.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=run, name=f"client-{number}") for number in range(clients)]
    with Meter(server.pids()) as meter:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failed:
        raise RuntimeError(f"{work} on {server.name} failed: {failed[0]}")
    return Result(
        work, server.name, sum(done), meter.seconds, meter.cpu, meter.peak, meter.other, tuple(sorted(latencies))
    )


def often(first: float, seconds: float, most: int, least: int = 3) -> int:
    """How many times to do what took `first` seconds once, to fill about `seconds`."""
    return max(least, min(most, int(seconds / max(first, 1e-5))))


def median(results: Sequence[Result], of: Callable[[Result], float]) -> float:
    """The median of one figure over several runs."""
    return statistics.median(map(of, results))
